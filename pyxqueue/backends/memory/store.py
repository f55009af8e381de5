"""All queues of one process, and a handle on one group of one queue."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from ...clock import started_ms, wall_clock
from ...errors import ConfigurationError
from ...locked import Entry
from ...model.message import Fields
from ...model.schedules import Schedule
from ...model.wire import message_from_fields
from ...printable import quoted
from ...protocols import StoreOptions
from ...waking import Changed
from .group import Group


class MemoryStore:
    """All queues of one process. Backends that are opened on the same store see the same tasks.

    `clock` returns the store's time in ms. A claim that waits wakes when a lease or a delay ends by the wall
    clock; a caller that passes its own clock calls `poke` after each change of it.
    """

    new_group = Group

    def __init__(self, clock: Callable[[], int] = wall_clock) -> None:
        self.clock = clock
        self.changed = Changed()
        """Its lock guards everything in the store; it is notified whenever a waiting call might go on."""
        # One counter for all fencing tokens: no receipt is ever issued twice, not even to a task that was deleted
        # and came back.
        self._tickets = itertools.count(1)
        self._queues: dict[str, dict[str, Group]] = {}
        self.results: dict[tuple[str, str], Any] = {}
        """What `MemoryResults` keeps, by stream key and group."""
        self.schedules: dict[str, dict[str, Schedule]] = {}
        """The schedules by stream key and id."""

    def group(self, stream_key: str, name: str) -> Group:
        """The group of that name. If it is new, messages are not copied into it before it is registered."""
        groups = self._queues.setdefault(stream_key, {})
        if name not in groups:
            groups[name] = self.new_group(self.changed.notify_all, self._tickets.__next__)
            groups[name].started_ms = started_ms(self.clock)
        return groups[name]

    def groups(self, stream_key: str) -> dict[str, Group]:
        """The registered groups by name, swept."""
        now = self.clock()
        found = {name: group for name, group in self._queues.get(stream_key, {}).items() if group.registered}
        for group in found.values():
            group.sweep(now)
        return found

    def queues(self) -> list[str]:
        """The queues that have a registered group."""
        return sorted(key for key, groups in self._queues.items() if any(group.registered for group in groups.values()))

    def remove_group(self, stream_key: str, name: str) -> None:
        if name not in self.groups(stream_key):
            raise ConfigurationError(
                f"{quoted(stream_key)} has no group {quoted(name)}, only {sorted(self.groups(stream_key))}"
            )
        del self._queues[stream_key][name]
        self.changed.notify_all()

    def poke(self) -> None:
        """Make waiting calls look again, because the clock was moved."""
        with self.changed:
            self.changed.notify_all()

    def inject(self, stream_key: str, group: str, fields: Fields) -> str:
        """Make a raw entry ready in a group, as another program would write it; return its id."""
        with self.changed:
            now = self.clock()
            message = message_from_fields(dict(fields), f"raw-{next(self._tickets)}")
            home = self.group(stream_key, group)
            home.registered = True
            home.take_foreign(Entry(message.id, message), now)
            return message.id


class Queue:
    """One queue of a store, as a handle on one of its groups uses it. The caller holds the lock of the store."""

    def __init__(self, store: MemoryStore, options: StoreOptions) -> None:
        self.store = store
        self.options = options
        self._joined: Group | None = None

    def look(self) -> tuple[Group, int]:
        """The group, which looking does not register, and the time."""
        return self.store.group(self.options.stream_key, self.options.group), self.store.clock()

    def join(self) -> tuple[Group, int]:
        """The group, registered from now on, and the time."""
        group, now = self.look()
        if group is not self._joined:
            group.registered = True
            if self.options.lease_ms is not None:
                group.lease = self.options.lease_ms
            self._joined = group
        return group, now

    def groups(self) -> dict[str, Group]:
        """The registered groups of the queue by name."""
        return self.store.groups(self.options.stream_key)
