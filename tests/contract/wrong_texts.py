"""Backends that keep something other than they were given: short, stripped, parsed or rounded."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable

from attrs import evolve

from pyxqueue.backends.memory.entry import Entry
from pyxqueue.backends.memory.group import Group
from pyxqueue.message import Extension, Failure, LeaseStatus, Message, Progress, Record, Settlement

from .wrong import Collection

COLLECTION = Collection()
breaks = COLLECTION.breaks


@breaks("B10")
class NothingOfNothingHasNoTotal(Group):
    def extend(self, extension: Extension, now: int) -> LeaseStatus:
        progress = extension.progress
        if progress is not None:
            progress = evolve(progress, total=progress.total or None)
        return super().extend(evolve(extension, progress=progress), now)


@breaks("B10")
class ProgressInSinglePrecision(Group):
    def extend(self, extension: Extension, now: int) -> LeaseStatus:
        progress = extension.progress
        if progress is not None:
            [done] = struct.unpack("f", struct.pack("f", progress.done))
            progress = Progress(done, progress.total, progress.message)
        return super().extend(evolve(extension, progress=progress), now)


@breaks("B7")
class ReasonsAreShort(Group):
    def apply(self, entry: Entry, settlement: Settlement, now: int) -> None:
        super().apply(entry, settlement, now)
        entry.reason = entry.reason[:255]


@breaks("B7")
class ReasonsEndAtANul(Group):
    def apply(self, entry: Entry, settlement: Settlement, now: int) -> None:
        super().apply(entry, settlement, now)
        entry.reason = entry.reason.partition("\0")[0]


class Keeping(Group):
    """Keeps a message other than it was given."""

    @staticmethod
    def keep(message: Message) -> Message:
        return message

    def add(self, message: Message, now: int) -> None:
        super().add(self.keep(message), now)


def with_headers(
    message: Message, name_of: Callable[[str], str] = str, value_of: Callable[[str], str] = str
) -> Message:
    return evolve(message, headers={name_of(name): value_of(value) for name, value in message.headers.items()})


@breaks("B12")
class HeaderNamesInLowerCase(Keeping):
    @staticmethod
    def keep(message: Message) -> Message:
        return with_headers(message, name_of=str.lower)


@breaks("B12")
class HeaderNamesWithoutDots(Keeping):
    @staticmethod
    def keep(message: Message) -> Message:
        return with_headers(message, name_of=lambda name: name.replace(".", "/"))


@breaks("B12")
class HeadersAreNumbers(Keeping):
    @staticmethod
    def keep(message: Message) -> Message:
        return with_headers(message, value_of=lambda value: str(int(value)) if value.isdecimal() else value)


@breaks("B12")
class HeadersEndAtANul(Keeping):
    @staticmethod
    def keep(message: Message) -> Message:
        return with_headers(message, value_of=lambda value: value.partition("\0")[0])


@breaks("B12")
class HeadersAreShort(Keeping):
    @staticmethod
    def keep(message: Message) -> Message:
        return with_headers(message, value_of=lambda value: value[:65_535])


@breaks("B12")
class NamesAreNumbers(Keeping):
    @staticmethod
    def keep(message: Message) -> Message:
        return evolve(message, name=re.sub(r"^(\d+\.\d*?)0+$", r"\1", message.name))


@breaks("B12")
class PriorityIn32Bits(Keeping):
    @staticmethod
    def keep(message: Message) -> Message:
        return evolve(message, priority=max(-(2**31), message.priority))


@breaks("B12")
class BodiesAreStripped(Keeping):
    @staticmethod
    def keep(message: Message) -> Message:
        return evolve(message, body=message.body.rstrip(b" "))


@breaks("B12")
class BodiesWithoutTheirMark(Keeping):
    @staticmethod
    def keep(message: Message) -> Message:
        return evolve(message, body=message.body.removeprefix(b"\xef\xbb\xbf"))


@breaks("B12")
class BodiesAreUnescaped(Keeping):
    @staticmethod
    def keep(message: Message) -> Message:
        return evolve(message, body=message.body.replace(b"''", b"'"))


@breaks("B12")
class ExpiresInSeconds(Keeping):
    @staticmethod
    def keep(message: Message) -> Message:
        return evolve(message, expires_ms=message.expires_ms // 1000 * 1000)


class Recording(Group):
    """Keeps a record other than it was given."""

    @staticmethod
    def keep(record: Record) -> Record:
        return record

    def put(self, record: Record, now: int) -> None:
        super().put(self.keep(record), now)


@breaks("R5")
class NothingDoneIsNoProgress(Recording):
    @staticmethod
    def keep(record: Record) -> Record:
        return evolve(record, progress=record.progress if record.progress and record.progress.done else None)


@breaks("R5")
class WorkersAreShort(Recording):
    @staticmethod
    def keep(record: Record) -> Record:
        return evolve(record, worker=record.worker[:64])


@breaks("R5")
class FailuresNeedAText(Recording):
    @staticmethod
    def keep(record: Record) -> Record:
        return evolve(record, error=record.error if record.error and record.error.message else None)


@breaks("R5")
class SettledFailuresEndAtANul(Group):
    def apply(self, entry: Entry, settlement: Settlement, now: int) -> None:
        record = settlement.record
        if record is not None and record.error is not None:
            error = Failure(record.error.type, record.error.message.partition("\0")[0], record.error.traceback)
            record = evolve(record, error=error)
        super().apply(entry, evolve(settlement, record=record), now)
