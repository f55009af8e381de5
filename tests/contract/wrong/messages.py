"""Backends that break B7 and B12, each in one small way."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

from pyxqueue.model.message import evolve

from .prelude import READY, Entry, Group, Place, Turn, breaks, m, records, stores


@breaks("B7")
class DropsTheUnreadable(Group):
    def claim(self, consumer: str, limit: int, turn: Turn, now: int) -> tuple[list[m.Delivery], Turn]:
        for entry in [entry for place in READY for entry in self.lines[place].values()]:
            if isinstance(entry.message, m.Unreadable):
                self.remove(entry)
        return super().claim(consumer, limit, turn, now)


@breaks("B7")
class UnreadableLosesBytesAtFailure(Group):
    def _apply(self, entry: Entry, settlement: m.Settlement, now: int) -> None:
        if isinstance(entry.message, m.Unreadable) and isinstance(settlement.verdict, m.Fail):
            text = {name: value.decode(errors="replace").encode() for name, value in entry.message.fields.items()}
            entry.message = evolve(entry.message, fields=text)
        super()._apply(entry, settlement, now)


@breaks("B7")
class WantsAnIdInEveryEntry(Group):
    def insert(self, entry: Entry, due: int, now: int) -> None:
        if entry.id.startswith("raw-") and isinstance(entry.message, m.Message):
            entry.message = m.Unreadable(entry.id, {b"name": entry.message.name.encode()}, "it has no id")
        super().insert(entry, due, now)


@breaks("B7")
class LosesTheReason(Group):
    def _apply(self, entry: Entry, settlement: m.Settlement, now: int) -> None:
        super()._apply(entry, settlement, now)
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
class ReasonsAreShort(Group):
    def _apply(self, entry: Entry, settlement: m.Settlement, now: int) -> None:
        super()._apply(entry, settlement, now)
        entry.reason = entry.reason[:255]


@breaks("B7")
class ReasonsEndAtANul(Group):
    def _apply(self, entry: Entry, settlement: m.Settlement, now: int) -> None:
        super()._apply(entry, settlement, now)
        entry.reason = entry.reason.partition("\0")[0]


@breaks("B12")
@stores
def body_is_decoded(message: m.Message) -> m.Message:
    return evolve(message, body=message.body.decode(errors="replace").encode())


@breaks("B12")
class BodyIsMangledAtFailure(Group):
    def _apply(self, entry: Entry, settlement: m.Settlement, now: int) -> None:
        if isinstance(entry.message, m.Message) and isinstance(settlement.verdict, m.Fail):
            entry.alter(body=entry.message.body.decode(errors="replace").encode())
        super()._apply(entry, settlement, now)


@breaks("B12")
class HeadersGoWithARetry(Group):
    def _put_back(self, entry: Entry, delay: int, now: int) -> None:
        entry.alter(headers={})
        super()._put_back(entry, delay, now)


@breaks("B12")
class SealIsLostInADelay(Group):
    def _line_up(self, entry: Entry, line: Place, due: int, now: int) -> None:
        if due > now:
            entry.alter(seal="")
        super()._line_up(entry, line, due, now)


@breaks("B12")
@records
def value_is_decoded(record: m.Record) -> m.Record:
    return evolve(record, value=record.value.decode(errors="ignore").encode())


@breaks("B12")
@stores
def nothing_gets_a_default(message: m.Message) -> m.Message:
    return evolve(message, body=message.body or b"[[],{}]")


@breaks("B12")
@stores
def large_bodies_are_cut(message: m.Message) -> m.Message:
    return evolve(message, body=message.body[:1_000_000])


@breaks("B12")
@records
def large_values_are_cut(record: m.Record) -> m.Record:
    return evolve(record, value=record.value[:1_000_000])


@breaks("B12")
@stores
def text_is_normalised(message: m.Message) -> m.Message:
    headers = {name: unicodedata.normalize("NFC", value) for name, value in message.headers.items()}
    return evolve(message, headers=headers)


@breaks("B12")
@stores
def headers_are_stripped(message: m.Message) -> m.Message:
    return evolve(message, headers={name.strip(): value for name, value in message.headers.items()})


def with_headers(
    message: m.Message, name_of: Callable[[str], str] = str, value_of: Callable[[str], str] = str
) -> m.Message:
    return evolve(message, headers={name_of(name): value_of(value) for name, value in message.headers.items()})


@breaks("B12")
@stores
def header_names_in_lower_case(message: m.Message) -> m.Message:
    return with_headers(message, name_of=str.lower)


@breaks("B12")
@stores
def header_names_without_dots(message: m.Message) -> m.Message:
    return with_headers(message, name_of=lambda name: name.replace(".", "/"))


@breaks("B12")
@stores
def headers_are_numbers(message: m.Message) -> m.Message:
    return with_headers(message, value_of=lambda value: str(int(value)) if value.isdecimal() else value)


@breaks("B12")
@stores
def headers_end_at_a_nul(message: m.Message) -> m.Message:
    return with_headers(message, value_of=lambda value: value.partition("\0")[0])


@breaks("B12")
@stores
def headers_are_short(message: m.Message) -> m.Message:
    return with_headers(message, value_of=lambda value: value[:65_535])


@breaks("B12")
@stores
def names_are_numbers(message: m.Message) -> m.Message:
    return evolve(message, name=re.sub(r"^(\d+\.\d*?)0+$", r"\1", message.name))


@breaks("B12")
@stores
def priority_in_32bits(message: m.Message) -> m.Message:
    return evolve(message, priority=max(-(2**31), message.priority))


@breaks("B12")
@stores
def bodies_are_stripped(message: m.Message) -> m.Message:
    return evolve(message, body=message.body.rstrip(b" "))


@breaks("B12")
@stores
def bodies_without_their_mark(message: m.Message) -> m.Message:
    return evolve(message, body=message.body.removeprefix(b"\xef\xbb\xbf"))


@breaks("B12")
@stores
def bodies_are_unescaped(message: m.Message) -> m.Message:
    return evolve(message, body=message.body.replace(b"''", b"'"))


@breaks("B12")
@stores
def expires_in_seconds(message: m.Message) -> m.Message:
    return evolve(message, expires_ms=message.expires_ms // 1000 * 1000)
