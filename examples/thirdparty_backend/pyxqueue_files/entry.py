"""One task of one group, as its file has it."""

from __future__ import annotations

from typing import Any

import msgspec
from attrs import asdict

from pyxqueue.locked import Entry, Place
from pyxqueue.model.message import Message, Progress, Record, TaskStatus, Unreadable, evolve

_PARTS: dict[str, Any] = {
    "place": Place,
    "progress": Progress | None,
    "record": Record | None,
    "ended": TaskStatus | None,
}


def pack(entry: Entry) -> bytes:
    """What `unpack` reads. The fencing token of a record says nothing in a backend, and may have more than 64 bits."""
    record = entry.record and evolve(entry.record, fence=0)
    kept = asdict(evolve(entry, record=record), recurse=False)
    return msgspec.msgpack.encode((isinstance(entry.message, Message), kept))


def unpack(data: bytes) -> Entry:
    readable, kept = msgspec.msgpack.decode(data)
    kept |= {name: msgspec.convert(kept[name], part) for name, part in _PARTS.items()}
    kept["message"] = msgspec.convert(kept["message"], Message if readable else Unreadable | None)
    return Entry(**kept)


def turn(entry: Entry) -> int:
    """What it is sorted by in its place: a time, or its order."""
    match entry.place:
        case Place.IN_FLIGHT:
            return entry.lease_end
        case Place.DELAYED:
            return entry.due
        case Place.REMEMBERED:
            return entry.forget_at
        case _:
            return entry.order


def name_of(entry: Entry) -> str:
    """The name of its empty file in the folder of its place: sorted, these names are the line."""
    return f"{entry.place.name.lower()}/{turn(entry):020}-{entry.order:020}-{entry.id}"
