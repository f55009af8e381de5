"""A queue of an older layout in Redis, read so that `move` can carry its tasks to a store of today.

Its workers and producers must have stopped, so plain commands do: no script of those layouts is kept. Layouts 1 and 2
kept a task and its record as hashes, and what came back in the stream of new messages; layout 1 spelt some fields
differently.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain

from msgspec import Struct

from ...model.message import ConsumerInfo, Depth, Fields, TaskInfo, TaskStatus, Unreadable
from ...model.wire import message_from_fields
from ...protocols import DEFAULT_LEASE_MS
from .keys import GroupKeys
from .reading import Groups, pairs, task_info
from .registration import Registration

_MESSAGE = {b"suspect": b"redelivered", b"returns": b"deferrals", b"_finished": b"_ended"}
_TASK = {b"finished": b"ended", b"rank": b"fence", b"at": b"place", b"e": b"entry"}
_PAGE = 1_000


class _Entry(Struct, frozen=True):
    """One entry of a stream that belongs to a task."""

    place: str
    stream: str
    entry: bytes
    fields: Fields


class OlderQueue:
    """One group of such a queue, as a source for `move`. If there is no such group, only `groups` may be called."""

    def __init__(self, registration: Registration, groups: Groups) -> None:
        options = registration.options
        group = options.group
        self._session = registration.session
        self._groups = groups
        self._keys = groups.streams.get(group) or GroupKeys.of(options.stream_key, group, "")
        self._lease_ms = groups.leases.get(group, DEFAULT_LEASE_MS)
        self._read: dict[str, _Entry] | None = None

    def groups(self) -> Sequence[str]:
        return sorted(self._groups.streams)

    def lease_ms(self) -> int:
        return self._lease_ms

    def consumers(self) -> Sequence[ConsumerInfo]:
        rows = map(pairs, self._session.execute("XINFO", "CONSUMERS", self._keys.new, self._keys.group))
        return [ConsumerInfo(row[b"name"].decode(errors="surrogateescape"), int(row[b"idle"])) for row in rows]

    def release(self, consumer: str, started: Sequence[str]) -> int:
        """Take from a consumer what it holds; `started` must be empty, since all workers have stopped."""
        assert not started
        name = consumer.encode(errors="surrogateescape")
        return int(self._session.execute("XGROUP", "DELCONSUMER", self._keys.new, self._keys.group, name))

    def depth(self) -> Depth:
        """Only what is in flight is counted."""
        held = self._session.execute("XPENDING", self._keys.new, self._keys.group)[0]
        return Depth(ready=0, in_flight=int(held), delayed=0, failed=0, history=0)

    def tasks(
        self, state: TaskStatus | None = None, cursor: str = "", count: int = 100
    ) -> tuple[Sequence[TaskInfo], str]:
        """A page of the tasks that wait or failed, newest first."""
        ids = list(self._entries())
        start = int(cursor or 0)
        found = [info for info in self.show(ids[start : start + count]) if info and state in (None, info.status)]
        return found, str(start + count) if start + count < len(ids) else ""

    def show(self, ids: Sequence[str]) -> Sequence[TaskInfo | None]:
        entries = self._entries()
        return [self._info(task_id, entries[task_id]) if task_id in entries else None for task_id in ids]

    def delete(self, ids: Sequence[str]) -> Sequence[bool]:
        deleted = []
        for task_id in ids:
            found = self._entries().pop(task_id, None)
            deleted.append(found is not None and not self._holder(found))
            if found is not None and deleted[-1]:
                self._session.execute("XDEL", found.stream, found.entry)
                self._session.execute("ZREM", self._keys.delayed, task_id)
                self._session.execute("DEL", self._keys.task(task_id), self._keys.record(task_id))
        return deleted

    def _entries(self) -> dict[str, _Entry]:
        """The entries of waiting and failed tasks, by id, newest first."""
        if self._read is None:
            places = {"live": self._keys.new, "parked": self._keys.parked, "failed": self._keys.failed}
            found = [
                _Entry(place, stream, raw, pairs(flat))
                for place, stream in places.items()
                for raw, flat in self._whole(stream)
            ]
            found.sort(key=lambda one: tuple(map(int, one.entry.split(b"-"))), reverse=True)
            self._read = {}
            for one in found:
                task_id = message_from_fields(one.fields, one.entry.decode()).id
                if self._is_own(task_id, one):
                    self._read.setdefault(task_id, one)
        return self._read

    def _whole(self, stream: str) -> list[tuple[bytes, list[bytes]]]:
        entries: list[tuple[bytes, list[bytes]]] = []
        start = "-"
        while page := self._session.execute("XRANGE", stream, start, "+", "COUNT", _PAGE):
            entries += page
            start = f"({page[-1][0].decode()}"
        return entries

    def _is_own(self, task_id: str, one: _Entry) -> bool:
        """Whether the task's hash names this entry: another program may have written a copy of a message."""
        at, entry = self._session.execute("HMGET", self._keys.task(task_id), "at", "e")
        return at is None or (at.decode(errors="replace"), entry) == (one.place, one.entry)

    def _holder(self, one: _Entry) -> bytes:
        if one.place != "live":
            return b""
        found = self._session.execute("XPENDING", one.stream, self._keys.group, one.entry, one.entry, 1)
        return found[0][1] if found else b""

    def _info(self, task_id: str, one: _Entry) -> TaskInfo | None:
        keys = self._keys.task(task_id), self._keys.record(task_id)
        known: Fields = {
            _renamed(_TASK, name): value
            for key in keys
            for name, value in self._session.execute("HGETALL", key).items()
        }
        fields: dict[bytes, bytes] = {_renamed(_MESSAGE, name): value for name, value in one.fields.items()}
        if isinstance(message_from_fields(fields, task_id), Unreadable):
            fields = dict(one.fields)  # its bytes stay what they are
            if one.place == "failed" and b"_finished" in fields:
                fields[b"_ended"] = fields.pop(b"_finished")
        flat = list(chain.from_iterable(fields.items()))
        return task_info(task_id, known, flat, self._holder(one), has_record=one.place == "failed")


def _renamed(names: Mapping[bytes, bytes], name: bytes) -> bytes:
    """A field's name in the present layout."""
    return names.get(name, name)
