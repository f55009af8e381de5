"""Presence: what a supervisor says of itself and its workers, and the orders that it is given.

A supervisor announces itself with a text, which the store keeps and does not read. Times in the text are ages in ms at
the announcement; the store notes by its own clock when that was, so that readers need no other clock.

Readers accept whatever another program may have written into the store, and leave out what they cannot read.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta, Struct

from ..printable import printable

MAX_TASKS = 300
"""The most task names in an announcement."""
MAX_TASKS_BYTES = 16_384
"""The most bytes of these names together."""
MAX_PARAMETERS_BYTES = 32_768
"""The most bytes of what an announcement says of their parameters."""
MAX_RUNS = 20
"""The most runs of a worker in an announcement: those that have run longest."""
MAX_NAME = 100
"""The most characters of the name of a host."""
MAX_TEXT = 262_144
"""The most bytes of an announcement that are read."""
MAX_SUPERVISORS = 1_000
"""The most supervisors that a group knows. If there are more, those that have been silent for longest are forgotten."""
REMEMBERED_MS = 86_400_000
"""For how long the last announcement of a supervisor that is gone is kept."""
_MAX_VERSION = 50

_Number: TypeAlias = Annotated[int, Meta(ge=0, lt=2**53)]


class OrderKind(enum.StrEnum):
    """What a supervisor is ordered to do."""

    DRAIN = "drain"
    """Claim no more, let the running tasks end, then exit."""
    STOP = "stop"
    """Stop as after SIGTERM."""


class Order(Struct, frozen=True):
    """An order to a supervisor."""

    kind: OrderKind
    number: int
    """The orders of a supervisor are numbered; one that arrives again has the same number."""

    def text(self) -> str:
        return f"{self.number} {self.kind}"

    @classmethod
    def read(cls, text: str) -> Order | None:
        """Return the order in a text that a store has kept; None if it is not one."""
        number, _, kind = text.partition(" ")
        known = kind in OrderKind.__members__.values() and number.isascii() and number.isdigit() and len(number) < 16
        return cls(OrderKind(kind), int(number)) if known else None


class Run(Struct, frozen=True):
    """A task that runs."""

    id: str
    since_ms: int
    """When it began, by the store's clock."""


class WorkerFacts(Struct, frozen=True):
    """Facts that a supervisor has announced about one of its worker processes."""

    host: str
    """The name of the host."""
    pid: int
    supervisor: int
    """The pid of the supervisor."""
    started_ms: int
    pyxqueue: str
    """The version of pyxqueue."""
    python: str
    """The version of Python."""
    tasks: Sequence[str]
    """The names of the tasks that it can run, at most 300 of them."""
    more_tasks: int
    """How many further ones there are."""
    slots: int
    """How many tasks it runs at once."""
    rss: int | None
    """The memory that it uses, in bytes; None if that is not known."""
    draining: bool
    """Whether it claims no more, and exits when the running tasks have ended."""
    runs: Sequence[Run]
    """The tasks that it runs, the longest first, at most 20 of them."""
    seen_ms: int
    """When this was announced, by the store's clock."""
    lost: bool = False
    """Whether the supervisor has been silent for too long; these are the last facts about a worker that holds tasks."""


class Present(Struct, frozen=True):
    """A supervisor that has announced itself, as the store knows it."""

    name: str
    text: str
    seen_ms: int
    """When it last announced itself, by the store's clock."""
    fresh: bool
    """Whether the announcement is still valid: the supervisor says for how long it is."""


class Process(Struct, frozen=True):
    """A worker process, in an announcement."""

    pid: _Number
    age_ms: _Number
    slots: _Number
    rss: _Number | None
    runs: Sequence[tuple[str, _Number]]
    """The ids of the tasks that run, each with its age in ms."""


class Announcement(Struct, frozen=True):
    """An announcement of a supervisor."""

    host: str
    pid: _Number
    pyxqueue: str
    python: str
    tasks: Sequence[str]
    more_tasks: _Number
    draining: bool
    workers: Mapping[str, Process]
    """The worker processes, by consumer name."""
    parameters: Sequence[str] = ()
    """For each of `tasks`, the parameters of its function, as `Signature.text` has them; empty for want of room."""
    serializers: Sequence[str] = ()
    """The serializers that the workers read."""

    def text(self) -> str:
        return msgspec.json.encode(self).decode()

    @classmethod
    def read(cls, text: str) -> Announcement | None:
        """Return the announcement in a text that a store has kept; None if it is not one."""
        try:
            return msgspec.json.decode(text, type=cls) if len(text) <= MAX_TEXT else None
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            return None

    def facts(self, name: str, seen_ms: int, *, lost: bool) -> WorkerFacts:
        """Return the facts about a worker."""
        worker = self.workers[name]
        runs = [Run(task_id, seen_ms - age) for task_id, age in worker.runs[:MAX_RUNS]]
        return WorkerFacts(
            host=_short(self.host, MAX_NAME),
            pid=worker.pid,
            supervisor=self.pid,
            started_ms=seen_ms - worker.age_ms,
            pyxqueue=_short(self.pyxqueue, _MAX_VERSION),
            python=_short(self.python, _MAX_VERSION),
            tasks=self.tasks[:MAX_TASKS],
            more_tasks=self.more_tasks + len(self.tasks[MAX_TASKS:]),
            slots=worker.slots,
            rss=worker.rss,
            draining=self.draining,
            runs=runs,
            seen_ms=seen_ms,
            lost=lost,
        )


def _short(text: str, most: int) -> str:
    return printable(text[:most], most)[:most]


def some_parameters(texts: Iterable[str]) -> list[str]:
    """Return what an announcement says of the parameters of tasks: nothing of those for which there is no room."""
    found, left = list[str](), MAX_PARAMETERS_BYTES
    for text in texts:
        size = len(text.encode(errors="replace"))
        found.append(text.encode(errors="replace").decode() if size <= left else "")
        left -= size if found[-1] else 0
    return found


def some_names(names: Iterable[str]) -> tuple[list[str], int]:
    """Return the names that an announcement has room for, in alphabetical order, and how many more there are."""
    ordered, found, left = sorted(names), list[str](), MAX_TASKS_BYTES
    for name in ordered[:MAX_TASKS]:
        left -= len(name.encode(errors="replace"))
        if left < 0:
            break
        found.append(name.encode(errors="replace").decode())  # a name may have half of a surrogate pair
    return found, len(ordered) - len(found)


def facts_about(consumers: Collection[str], present: Iterable[Present]) -> dict[str, WorkerFacts]:
    """Return the facts that supervisors have announced about these workers, by consumer name. Other announcements are
    not decoded."""
    return facts_of(one for one in present if any(f'"{name}"' in one.text for name in consumers))


def facts_of(present: Iterable[Present]) -> dict[str, WorkerFacts]:
    """Return the facts that supervisors have announced about their workers, by consumer name. The latest announcement
    counts."""
    facts: dict[str, WorkerFacts] = {}
    for one in sorted(present, key=lambda each: each.seen_ms):
        if (said := Announcement.read(one.text)) is not None:
            facts.update({name: said.facts(name, one.seen_ms, lost=not one.fresh) for name in said.workers})
    return facts
