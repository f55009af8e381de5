"""Backends that break B7 and B12, each in one small way."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

from attrs import evolve

from .prelude import Entry, Group, Place, breaks, m


@breaks("B7")
class DropsTheUnreadable(Group):
    def claim(self, consumer: str, limit: int, now: int) -> list[m.Delivery]:
        for entry in list(self.lines[Place.READY].values()):
            if isinstance(entry.message, m.Unreadable):
                self.remove(entry)
        return super().claim(consumer, limit, now)


@breaks("B7")
class UnreadableLosesBytesAtFailure(Group):
    def apply(self, entry: Entry, settlement: m.Settlement, now: int) -> None:
        if isinstance(entry.message, m.Unreadable) and isinstance(settlement.verdict, m.Fail):
            text = {name: value.decode(errors="replace").encode() for name, value in entry.message.fields.items()}
            entry.message = evolve(entry.message, fields=text)
        super().apply(entry, settlement, now)


@breaks("B7")
class WantsAnIdInEveryEntry(Group):
    def insert(self, entry: Entry, due: int, now: int) -> None:
        if entry.id.startswith("raw-") and isinstance(entry.message, m.Message):
            entry.message = m.Unreadable(entry.id, {b"name": entry.message.name.encode()}, "it has no id")
        super().insert(entry, due, now)


@breaks("B7")
class LosesTheReason(Group):
    def apply(self, entry: Entry, settlement: m.Settlement, now: int) -> None:
        super().apply(entry, settlement, now)
        entry.reason = ""


@breaks("B7")
class CapsTheFailed(Group):
    def trim(self, limit: int, now: int) -> int:
        failed = list(self.lines[Place.FAILED].values())
        for entry in failed[: max(0, len(failed) - limit)]:
            self.remove(entry)
        return super().trim(limit, now)


@breaks("B7")
class FailedGoWithTheirRecord(Group):
    def sweep(self, now: int) -> None:
        for entry in list(self.lines[Place.FAILED].values()):
            if entry.readable(now) is None:
                self.remove(entry)
        super().sweep(now)


@breaks("B7")
class FailedIsNotRequeued(Group):
    def requeue(self, task_id: str, now: int) -> bool:
        return task_id not in self.lines[Place.FAILED] and super().requeue(task_id, now)


@breaks("B7")
class ExpiredIsDropped(Group):
    """A column `expires` that the engine itself acts upon."""

    def claim(self, consumer: str, limit: int, now: int) -> list[m.Delivery]:
        for entry in list(self.lines[Place.READY].values()):
            if isinstance(entry.message, m.Message) and 0 < entry.message.expires_ms <= now:
                self.remove(entry)
        return super().claim(consumer, limit, now)


@breaks("B7")
class ReasonsAreShort(Group):
    def apply(self, entry: Entry, settlement: m.Settlement, now: int) -> None:
        super().apply(entry, settlement, now)
        entry.reason = entry.reason[:255]


@breaks("B7")
class ReasonsEndAtANul(Group):
    def apply(self, entry: Entry, settlement: m.Settlement, now: int) -> None:
        super().apply(entry, settlement, now)
        entry.reason = entry.reason.partition("\0")[0]


@breaks("B12")
class BodyIsDecoded(Group):
    def add(self, message: m.Message, now: int) -> None:
        super().add(evolve(message, body=message.body.decode(errors="replace").encode()), now)


@breaks("B12")
class BodyIsMangledAtFailure(Group):
    def apply(self, entry: Entry, settlement: m.Settlement, now: int) -> None:
        if isinstance(entry.message, m.Message) and isinstance(settlement.verdict, m.Fail):
            entry.alter(body=entry.message.body.decode(errors="replace").encode())
        super().apply(entry, settlement, now)


@breaks("B12")
class HeadersGoWithARetry(Group):
    def put_back(self, entry: Entry, delay: int, now: int) -> None:
        entry.alter(headers={})
        super().put_back(entry, delay, now)


@breaks("B12")
class SealIsLostInADelay(Group):
    def line_up(self, entry: Entry, due: int, now: int) -> None:
        if due > now:
            entry.alter(seal="")
        super().line_up(entry, due, now)


@breaks("B12")
class ValueIsDecoded(Group):
    def end(self, entry: Entry, place: Place, record: m.Record, now: int) -> None:
        super().end(entry, place, evolve(record, value=record.value.decode(errors="ignore").encode()), now)


@breaks("B12")
class NothingGetsADefault(Group):
    def add(self, message: m.Message, now: int) -> None:
        super().add(evolve(message, body=message.body or b"[[],{}]"), now)


@breaks("B12")
class LargeBodiesAreCut(Group):
    def add(self, message: m.Message, now: int) -> None:
        super().add(evolve(message, body=message.body[:1_000_000]), now)


@breaks("B12")
class LargeValuesAreCut(Group):
    def end(self, entry: Entry, place: Place, record: m.Record, now: int) -> None:
        super().end(entry, place, evolve(record, value=record.value[:1_000_000]), now)


@breaks("B12")
class TextIsNormalised(Group):
    def add(self, message: m.Message, now: int) -> None:
        headers = {name: unicodedata.normalize("NFC", value) for name, value in message.headers.items()}
        super().add(evolve(message, headers=headers), now)


@breaks("B12")
class HeadersAreStripped(Group):
    def add(self, message: m.Message, now: int) -> None:
        super().add(evolve(message, headers={name.strip(): value for name, value in message.headers.items()}), now)


class Keeping(Group):
    """Keeps a message other than it was given."""

    @staticmethod
    def keep(message: m.Message) -> m.Message:
        return message

    def add(self, message: m.Message, now: int) -> None:
        super().add(self.keep(message), now)


def with_headers(
    message: m.Message, name_of: Callable[[str], str] = str, value_of: Callable[[str], str] = str
) -> m.Message:
    return evolve(message, headers={name_of(name): value_of(value) for name, value in message.headers.items()})


@breaks("B12")
class HeaderNamesInLowerCase(Keeping):
    @staticmethod
    def keep(message: m.Message) -> m.Message:
        return with_headers(message, name_of=str.lower)


@breaks("B12")
class HeaderNamesWithoutDots(Keeping):
    @staticmethod
    def keep(message: m.Message) -> m.Message:
        return with_headers(message, name_of=lambda name: name.replace(".", "/"))


@breaks("B12")
class HeadersAreNumbers(Keeping):
    @staticmethod
    def keep(message: m.Message) -> m.Message:
        return with_headers(message, value_of=lambda value: str(int(value)) if value.isdecimal() else value)


@breaks("B12")
class HeadersEndAtANul(Keeping):
    @staticmethod
    def keep(message: m.Message) -> m.Message:
        return with_headers(message, value_of=lambda value: value.partition("\0")[0])


@breaks("B12")
class HeadersAreShort(Keeping):
    @staticmethod
    def keep(message: m.Message) -> m.Message:
        return with_headers(message, value_of=lambda value: value[:65_535])


@breaks("B12")
class NamesAreNumbers(Keeping):
    @staticmethod
    def keep(message: m.Message) -> m.Message:
        return evolve(message, name=re.sub(r"^(\d+\.\d*?)0+$", r"\1", message.name))


@breaks("B12")
class PriorityIn32Bits(Keeping):
    @staticmethod
    def keep(message: m.Message) -> m.Message:
        return evolve(message, priority=max(-(2**31), message.priority))


@breaks("B12")
class BodiesAreStripped(Keeping):
    @staticmethod
    def keep(message: m.Message) -> m.Message:
        return evolve(message, body=message.body.rstrip(b" "))


@breaks("B12")
class BodiesWithoutTheirMark(Keeping):
    @staticmethod
    def keep(message: m.Message) -> m.Message:
        return evolve(message, body=message.body.removeprefix(b"\xef\xbb\xbf"))


@breaks("B12")
class BodiesAreUnescaped(Keeping):
    @staticmethod
    def keep(message: m.Message) -> m.Message:
        return evolve(message, body=message.body.replace(b"''", b"'"))


@breaks("B12")
class ExpiresInSeconds(Keeping):
    @staticmethod
    def keep(message: m.Message) -> m.Message:
        return evolve(message, expires_ms=message.expires_ms // 1000 * 1000)
