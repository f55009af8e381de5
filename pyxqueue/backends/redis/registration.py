"""The groups of a queue as they are registered, ours among them, and the script calls on their keys."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from ...batching import batches
from ...errors import BrokerUnavailableError
from ...log import get_logger
from ...model.message import Message, Unreadable
from ...model.priorities import class_of
from ...protocols import DEFAULT_LEASE_MS, StoreOptions
from . import commands
from .commands import Arg, Command
from .faults import StaleGroups
from .keys import LAYOUT, GroupKeys, check_names, live_of, meta
from .named_pauses import NamedPauses
from .reading import MAX_FIELDS, Groups, other_layout, pairs, read_classes, read_groups, read_lease, read_paused
from .session import Session
from .steps import Steps, call

if TYPE_CHECKING:
    from .confirming import Confirmer
    from .recent import Recent

log = get_logger("pyxqueue")
T = TypeVar("T")
Item = TypeVar("Item")
_TRIES = 4
_LOOK_EVERY = 5.0
"""Seconds between two looks at the priority classes."""


class Registration:
    """Our group, registered at first use, and again if it is gone. Threads may share it."""

    def __init__(self, session: Session, options: StoreOptions) -> None:
        check_names(options.stream_key, options.group)
        self.session = session
        self.options = options
        self._groups: Groups | None = None
        self.paused_at: dict[str, str] | None = None
        """Where the group stood when it was paused, as `read_lease` has found it; None if it was not paused."""
        self.names = NamedPauses(session, options)
        self.confirmer = self._make_confirmer()
        """None if nothing that is stored here is waited for."""
        self.recent = self._make_recent()
        """None if there is no failover."""
        self._known = frozenset[str]()
        """The live places of the group, as far as they were there at some time."""
        self._born = ""
        """When the group was made that this handle knows."""
        self._classes = frozenset[int]()
        """The priority classes that this handle has used."""
        self._looked = 0.0
        """When it last read which classes are in use."""

    @property
    def groups(self) -> Groups:
        """The registered groups; the first look registers ours."""
        return self._groups or self.session.run(self._register())

    def _register(self) -> Steps[Groups]:
        options, known, born = self.options, self._known, self._born
        groups = yield from call(
            commands.register(
                options.stream_key,
                options.group,
                options.lease_ms,
                DEFAULT_LEASE_MS,
                sorted(self._classes),
                known=known,
                born=born,
            )
        )
        if groups.gone or (born and born != groups.born):
            log.warning(
                "the store at %s had lost the group %s of the queue %s, so it was created again: data was lost, or "
                "the group was removed. Tasks that were in it are gone, or run again",
                *(self.session.config.url, options.group, options.stream_key),
            )
        self._groups, self._looked, self._born = groups, time.monotonic(), groups.born
        self._known |= frozenset(live_of(groups.classes))
        return groups

    @property
    def keys(self) -> GroupKeys:
        return self.groups.streams[self.options.group]

    @property
    def lease_ms(self) -> int:
        """The group's lease when the list of groups was read."""
        return self.groups.leases[self.options.group]

    def read_lease(self) -> int:
        """The group's lease as it is stored now: it may have been replaced. Notes where a paused group stood, and
        whether a task name is paused. A priority class that came into use since the groups were read is registered."""
        known, group = self.groups.classes, self.options.group
        fields = f"lease:{group}", f"paused:{group}", "classes", self.names.field, f"born:{group}"
        found, paused, classes, names, born = self.session.execute("HMGET", meta(self.options.stream_key), *fields)
        is_another = bool(born) and born.decode(errors="replace") != self._born
        if found is None or read_classes(classes) != known or is_another:
            raise StaleGroups("the group is gone or another one, or a priority class is new")
        self._looked = time.monotonic()
        self.paused_at = read_paused(paused)
        self.names.note(names is not None)
        return read_lease(found)

    def read_classes(self, *, always: bool = False) -> None:
        """Read which priority classes are in use, unless that was a moment ago and `always` is False. Raises
        `StaleGroups` if they are not those that are known."""
        known, now = self.groups.classes, time.monotonic()
        if not always and now - self._looked < _LOOK_EVERY:
            return
        self._looked = now
        if read_classes(self.session.execute("HGET", meta(self.options.stream_key), "classes")) != known:
            raise StaleGroups("a priority class is new")

    def use(self, messages: Sequence[Message | Unreadable | None]) -> None:
        """Have the streams of the priority classes of these messages made and noted with the next call, if they are
        not."""
        for message in messages:
            if message is not None and message.priority:
                break
        else:
            return
        classes = frozenset(class_of(message.priority) for message in messages if message is not None) - {0}
        if not classes <= self._classes:
            self._classes |= classes
            if self._groups is not None and not classes <= self._groups.classes:
                self.refresh()

    def handed_out(self, place: str) -> tuple[str, int]:
        """Where the group stands in a live stream, and how many are in flight: none after that entry was handed
        out, unless the group is paused."""
        group = self.options.group.encode()
        rows = map(pairs, self.session.execute("XINFO", "GROUPS", self.keys.places[place]))
        found = next((row for row in rows if row[b"name"] == group), None)
        if found is None:
            raise StaleGroups("the group is gone")
        return found[b"last-delivered-id"].decode(), int(found[b"pending"])

    def look(self, *, any_layout: bool = False) -> Groups:
        """The groups that are registered now; ours is not registered by it.

        Raises `BrokerError` if they are too many; `StoreLayoutError` if the queue has another layout, unless
        `any_layout` is True.
        """
        name = self.options.stream_key
        number = int(self.session.execute("HLEN", meta(name)))
        found = read_groups(name, self.session.execute("HGETALL", meta(name)) if number <= MAX_FIELDS else {}, number)
        if found.layout != LAYOUT and not any_layout:
            raise other_layout(name, found.layout)
        return self.few(found)

    def few(self, groups: Groups) -> Groups:
        """The groups. Raises `BrokerError` if a message cannot go into so many; the next call reads them again."""
        if groups.are_too_many:
            self.refresh()
            raise groups.crowd(self.options.stream_key)
        return groups

    def refresh(self) -> None:
        """Forget the list of groups; the next call registers ours again and repairs what is missing."""
        self._groups = None

    def repaired(self, action: Callable[[], T]) -> T:
        """Do `action`; if the groups turn out to be stale, register and do it again."""
        stale: StaleGroups | None = None
        for _ in range(_TRIES):
            try:
                return action()
            except StaleGroups as error:
                stale = error
                self.refresh()
        raise self._vanishing(stale) from stale

    def _make_confirmer(self) -> Confirmer | None:
        durability = self.session.config.durability
        if durability.word == "normal":
            return None
        from .confirming import Confirmer  # noqa: PLC0415 - few queues wait for replicas or a disk

        return Confirmer(
            durability, self.options.stream_key, self.session.config.url, lambda: self.session.link.replicas
        )

    def _make_recent(self) -> Recent | None:
        config = self.session.config
        if not config.may_fail_over:
            return None
        from .recent import Recent  # noqa: PLC0415 - few queues have more than one server

        return Recent(self.options.stream_key, config.url)

    def current(
        self,
        build: Callable[[Groups], Command[T]],
        seconds: float | None = None,
        run: Callable[[Command[T]], Steps[T]] | None = None,
    ) -> Steps[T]:
        """One script call, built for the groups; if they turn out to be stale, register and call it again."""
        stale: StaleGroups | None = None
        for _ in range(_TRIES):
            try:
                groups = self._groups or (yield from self._register())
                command = build(groups)
                found = yield from (call(command, seconds) if run is None else run(command))
                if self.recent is not None:
                    yield from self.recent.look(groups.streams[self.options.group])
                return found
            except StaleGroups as error:
                stale = error
                self.refresh()
        raise self._vanishing(stale) from stale

    def each(
        self,
        items: Sequence[Item],
        build: Callable[[GroupKeys, Sequence[Item]], Command[list[T]]],
        size: Callable[[Item], int] = lambda _: 0,
        seconds: float | None = None,
        run: Callable[[Command[list[T]]], Steps[list[T]]] | None = None,
    ) -> Steps[list[T]]:
        """One script call for each batch of `items`, on our group's keys; returns the results of all. A reply stops
        short where a task is in a priority class whose keys were not given."""
        group, replies = self.options.group, list[T]()
        for batch in batches(items, size):
            found = yield from self.current(
                lambda groups: build(groups.streams[group], batch),  # noqa: B023 - runs before the next
                seconds,
                run,
            )
            if rest := batch[len(found) :]:  # from a task on whose priority class has come into use
                self.refresh()
                found += yield from self.current(lambda groups: build(groups.streams[group].whole, rest), seconds, run)
            replies += found
        return replies

    def do(self, build: Callable[[GroupKeys], Command[T]]) -> T:
        """One script call on our group's keys, in this thread."""
        return self.session.run(self.current(lambda groups: build(groups.streams[self.options.group])))

    def _vanishing(self, error: StaleGroups | None) -> BrokerUnavailableError:
        return BrokerUnavailableError(f"the consumer group at {self.session.config.url} keeps vanishing: {error}")


def flags(registration: Registration, script: str, ids: Sequence[str], *more: Arg) -> Steps[list[bool]]:
    """A script that returns 1 or 0 per id."""
    first = (registration.options.group, *more)
    return registration.each(ids, lambda keys, batch: commands.flags(script, keys, first, batch))


def confirming(registration: Registration, ids: Iterable[str]) -> Callable[[Command[T]], Steps[T]] | None:
    """How to run a command that stores something for a program, so that it returns when that is as durable as the queue
    demands; None: as any other command. `ids`: of what it stores."""
    confirmer = registration.confirmer
    return None if confirmer is None else partial(confirmer.call, ids=ids)


def stored(
    registration: Registration,
    build: Callable[[Groups], Command[T]],
    messages: Sequence[Message],
    made: Callable[[T], Iterable[str]] | None = None,
) -> Steps[T]:
    """`Registration.current` for messages that a program enqueues: confirmed if the queue demands that, and remembered
    for a while where a failover may lose them. `made`: the ids of the tasks that there are then, by the result."""
    steps = registration.current(build, run=confirming(registration, (message.id for message in messages)))
    recent = registration.recent
    return steps if recent is None else recent.call(steps, messages, made)
