"""One group of one queue: its tasks as files. `pyxqueue.locked` has what happens to them.

A task is one file with all there is to know about it, ``tasks/ID.task``, and an empty file in the folder of its place,
``new/TURN-ORDER-ID``. The names there, sorted, are the line: to find what is due, only names are read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from urllib.parse import quote, unquote

from pyxqueue.locked import Entry, LockedGroup, Place
from pyxqueue.model.message import ID_PATTERN, TaskInfo, TaskStatus
from pyxqueue.protocols import DEFAULT_LEASE_MS

from .entry import name_of, pack, unpack
from .folder import Change

SILENT_MS = 3_600_000


class Group(LockedGroup):
    """A group as it is during one change of the folder, at one moment."""

    def __init__(self, change: Change, name: str, now: int) -> None:
        super().__init__(change.ticket, change.ticket)
        self.change = change
        self.name = name
        self.now = now
        self._registration = f"groups/{file_name(name)}"
        self._folder = f"in/{file_name(name)}"
        self.lease = int(change.read(self._registration) or DEFAULT_LEASE_MS)

    @property
    def registered(self) -> bool:
        return self.change.read(self._registration) is not None

    def register(self, lease_ms: int | None) -> None:
        self.lease = lease_ms or self.lease
        self.change.write(self._registration, b"%d" % self.lease)

    def all(self) -> list[Group]:
        """B9: the registered groups of the queue."""
        return [Group(self.change, unquote(name[1:]), self.now) for name in self.change.names("groups")]

    def drop(self) -> None:
        self.change.delete(self._registration)
        self.change.delete(self._folder)
        self.change.ticket()

    # -- `Entries`

    def find(self, task_id: str) -> Entry | None:
        if not ID_PATTERN.fullmatch(task_id):
            return None  # it might be a path to anywhere
        data = self.change.read(self._file(task_id))
        return None if data is None else unpack(data)

    def line(self, place: Place) -> Iterator[Entry]:
        return self._entries(self.names(place))

    def overdue(self, now: int) -> Iterable[Entry]:
        return self._come(Place.IN_FLIGHT, now)

    def enter(self, entry: Entry) -> None:
        if known := self.find(entry.id):
            self._leave(known)

    def save(self, entry: Entry) -> None:
        """Write the task, and the empty file for its place."""
        if (known := self.find(entry.id)) and name_of(known) != name_of(entry):
            self._leave(known)
        self.change.write(f"{self._folder}/{name_of(entry)}", b"")
        self.change.write(self._file(entry.id), pack(entry))

    def move(self, entry: Entry, place: Place, now: int) -> None:
        entry.place, entry.updated = place, now
        if place is not Place.IN_FLIGHT:
            entry.order = self.change.ticket()
        self.save(entry)

    def remove(self, entry: Entry) -> None:
        self._leave(entry)
        self.change.delete(self._file(entry.id))
        self.change.ticket()

    def maintain(self, limit: int | None, now: int) -> int:
        for entry in list(self._come(Place.DELAYED, now))[:limit]:
            self.move(entry, Place.CAME_BACK, now)
        left = self.names(Place.DELAYED)
        return max(0, left[0][0] - now) if left else -1

    def heard_of(self, consumer: str, now: int) -> None:
        self.change.write(self._consumer(consumer), b"%d" % now)

    def forget_consumer(self, consumer: str) -> None:
        self.change.delete(self._consumer(consumer))

    # -- what else the backend uses

    def forget_silent(self) -> None:
        """Forget consumers that hold nothing and were not heard of for an hour: they died, and were never released."""
        silent = [name for name, seen in self.consumers().items() if self.now - seen > SILENT_MS]
        holders = {entry.consumer for entry in self.line(Place.IN_FLIGHT)} if silent else set[str]()
        for name in silent:
            if name not in holders:
                self.forget_consumer(name)

    def names(self, place: Place) -> list[tuple[int, int, str]]:
        """The turn, order and id of each task in a place, in their order."""
        names = [name.split("-", 2) for name in self.change.names(f"{self._folder}/{place.name.lower()}")]
        return [(int(turn), int(order), task_id) for turn, order, task_id in names]

    def trim(self, limit: int) -> int:
        """B13: keep the `limit` newest of the history, and forget what need not be known any longer."""
        history = self.names(Place.HISTORY)
        surplus = history[: max(0, len(history) - limit)]
        for entry in self._entries(surplus):
            entry.message, entry.place = None, Place.REMEMBERED
            self.save(entry)
        for entry in self._come(Place.REMEMBERED, self.now):
            self.remove(entry)
        return len(surplus)

    def page(self, state: TaskStatus | None, before: int | None, count: int) -> tuple[list[TaskInfo], str]:
        """I4: newest first. The cursor is the order of the last task, so what comes and goes between moves nothing."""
        names = [(order, i) for place in Place if place is not Place.REMEMBERED for _, order, i in self.names(place)]
        page: list[Entry] = []
        more = ""
        for order, task_id in sorted(names, reverse=True):
            entry = self.find(task_id) if before is None or order < before else None
            if entry is not None and state in (None, entry.status):
                if len(page) == count:
                    more = str(page[-1].order if page else order + 1)
                    break
                page.append(entry)
        return [self.info(entry, self.now) for entry in page], more

    def consumers(self) -> dict[str, int]:
        """When each was last seen."""
        names = [unquote(name[1:]) for name in self.change.names(f"{self._folder}/consumers")]
        return {name: int(self.change.read(self._consumer(name)) or 0) for name in names}

    def _entries(self, names: list[tuple[int, int, str]]) -> Iterator[Entry]:
        return (entry for _, _, task_id in names if (entry := self.find(task_id)))

    def _come(self, place: Place, now: int) -> Iterator[Entry]:
        """The tasks there whose time has come."""
        return self._entries([name for name in self.names(place) if name[0] <= now])

    def _leave(self, entry: Entry) -> None:
        self.change.delete(f"{self._folder}/{name_of(entry)}")

    def _file(self, task_id: str) -> str:
        return f"{self._folder}/tasks/{task_id}.task"

    def _consumer(self, name: str) -> str:
        return f"{self._folder}/consumers/{file_name(name)}"


def file_name(name: str) -> str:
    """A file name for any name, also for ``..`` and the empty one."""
    return f"_{quote(name, safe='')}"
