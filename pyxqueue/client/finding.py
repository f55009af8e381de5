"""Lists and filters the tasks of one place."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

from msgspec import Struct

from ..clock import Seconds, in_seconds, wall_clock
from ..errors import ConfigurationError
from ..model.message import Message
from ..model.places import Listed, Place
from ..printable import quoted
from ..protocols import Backend, HasPlaces
from .queue_store import QueueStore

SCAN_LIMIT = 5_000
"""How many tasks one call looks at, so that it returns soon however long the queue is."""
PEEK = 512
_PAGE = 256
_SEARCHED = 16 * 1024
"""The bytes of arguments in which a text is looked for."""
_AGE = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)\s*(s|sec|m|min|h|d|)", re.ASCII)
_AGE_UNITS = {"": 1, "s": 1, "sec": 1, "m": 60, "min": 60, "h": 3_600, "d": 86_400}


class Where(Struct, frozen=True, kw_only=True):
    """A filter for tasks. A task fits if it fits each part that is given; without parts, all tasks fit."""

    name: str | None = None
    """The name of the task; ``*`` stands for any characters."""
    error: str | None = None
    """The type of the failure, such as ``ValueError``."""
    text: str | None = None
    """A text that occurs in the id, the name, the failure, or the arguments, in any case."""
    older: Seconds | None = None
    """Only tasks that came to their place before so many seconds, or a `timedelta`."""
    newer: Seconds | None = None
    """Only tasks that came to their place since so many seconds."""

    def __post_init__(self) -> None:
        for name in ("name", "error", "text"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, str):
                raise ConfigurationError(f"{name}={quoted(value)} is not a text")
        for name in ("older", "newer"):
            value = getattr(self, name)
            if value is not None and not in_seconds(value) >= 0:
                raise ConfigurationError(f"{name}={quoted(value)} is not a time of 0 seconds or more")

    @property
    def is_all(self) -> bool:
        return self == Where()

    @property
    def peek(self) -> int:
        """How many bytes of the arguments the filter needs."""
        return _SEARCHED if self.text else 0

    def test(self, now: int) -> Callable[[Listed], bool]:
        """Return a function that says whether a task fits. `now`: the time of the store's clock."""
        name = self.name or ""
        wild = "*" in name
        after = -1 if self.newer is None else now - round(in_seconds(self.newer) * 1000)
        before = None if self.older is None else now - round(in_seconds(self.older) * 1000)
        text = (self.text or "").casefold()

        def fits(one: Listed) -> bool:
            info = one.info
            found = task_name(one)
            return (
                (not name or (fnmatch.fnmatchcase(found, name) if wild else found == name))
                and (self.error is None or error_type(one) == self.error)
                and info.updated_ms >= after
                and (before is None or info.updated_ms <= before)
                and (not text or any(text in part.casefold() for part in _texts(one)))
            )

        return fits


EVERYTHING = Where()


def seconds_of_age(text: str) -> float | None:
    """Return an age such as ``90``, ``10m``, ``1.5h`` or ``2d`` in seconds; None for any other text."""
    found = _AGE.fullmatch(text.strip())
    return float(found[1]) * _AGE_UNITS[found[2]] if found else None


def place_named(given: Place | str) -> Place:
    """Return a place by its name. Raises `ConfigurationError` for a name that is not one."""
    try:
        return Place(given)
    except ValueError:
        names = ", ".join(Place)
        raise ConfigurationError(f"{quoted(given)} is not a place; the places are {names}") from None


class ListsPlaces:
    """The part of `Admin` that lists the tasks of one place."""

    _store: QueueStore

    def list(
        self,
        place: Place | str,
        *,
        where: Where | None = None,
        after: str = "",
        limit: int = 50,
        peek: int = PEEK,
        scan: int | None = None,
    ) -> ListPage:
        """Return a page of the tasks in a place, in its order: ready ones the next to run first, delayed ones the next
        to be due, failed ones and the history the newest first. It costs the same however many tasks there are.

        `after` is the `next` of the previous page. `where`: only tasks that fit; one call then looks at no more than
        `scan` tasks (5,000), so a page can have fewer than `limit`, or none, and still be followed by others. `peek`:
        how many bytes of the arguments and of the result of each are returned. Raises `ConfigurationError` for a place
        or a cursor that is not one, and if the store does not list places.
        """
        scan = SCAN_LIMIT if scan is None else scan
        if limit < 1 or peek < 0:
            raise ConfigurationError(f"limit={limit} must be 1 or more, and peek={peek} 0 or more")
        if scan < 1:
            raise ConfigurationError(f"scan={scan} must be 1 or more")
        backend, where = self._store.here().backend, where or EVERYTHING
        return list_tasks(
            backend, place_named(place), where, self._now(), after=after, limit=limit, peek=peek, scan=scan
        )

    def failures(self, limit: int = SCAN_LIMIT) -> FailurePage:
        """Return the failed tasks in groups, by the name of the task and the type of the error, of the newest `limit`
        failed tasks."""
        return failures(self._store.here().backend, limit)

    def _now(self) -> int:
        """The time, by the clock of this machine; in eager mode by that of the session."""
        session = self._store.eager
        return wall_clock() if session is None else session.clock()


class ListPage(Struct, frozen=True):
    """Some tasks of one place."""

    tasks: Sequence[Listed]
    next: str
    """The cursor to give as `after` for the next page; empty on the last page."""
    scanned: int
    """How many tasks were looked at."""


class FailureGroup(Struct, frozen=True):
    """The failed tasks of one name that failed with errors of one type."""

    name: str
    """The name of the task; empty if their messages cannot be read."""
    error: str
    """The type of the failure."""
    count: int
    first_ms: int
    """When the first of them failed (ms of the store's clock)."""
    last_ms: int
    example: str
    """The id of the last one."""
    text: str
    """Why that failed, in one line."""
    body_bytes: int = 0
    """How many bytes its arguments have."""


class FailurePage(Struct, frozen=True):
    """The failed tasks in groups."""

    groups: Sequence[FailureGroup]
    """The largest first."""
    scanned: int
    """How many failed tasks were looked at, the newest ones."""
    complete: bool
    """Whether that was all of them."""


def task_name(one: Listed) -> str:
    """Return the name of a task; empty if its message cannot be read or is no longer kept."""
    message = one.info.readable
    return message.name if message else ""


def failure_text(one: Listed) -> str:
    """Return why a task failed, in one line; empty if it did not."""
    info = one.info
    error = info.record.error if info.record else None
    return (f"{error.type}: {error.message}" if error else info.reason).partition("\n")[0]


def error_type(one: Listed) -> str:
    """Return the type of the failure of a task; empty if it did not fail."""
    record = one.info.record
    if record is not None and record.error is not None:
        return record.error.type
    kind, colon, _ = one.info.reason.partition(":")
    return kind if colon and kind.replace(".", "").replace("_", "").isalnum() else one.info.reason and "Failed"


def _texts(one: Listed) -> Iterator[str]:
    yield one.info.id
    yield task_name(one)
    yield failure_text(one)
    message = one.info.message
    if isinstance(message, Message):
        yield message.body.decode(errors="replace")


def places_of(backend: Backend) -> HasPlaces:
    """Return the backend as one that lists places. Raises `ConfigurationError` if it is not."""
    if not isinstance(backend, HasPlaces):
        raise ConfigurationError(f"{type(backend).__name__} does not list places: use admin.tasks(state)")
    return backend


def list_tasks(
    backend: Backend, place: Place, where: Where, now: int, *, after: str, limit: int, peek: int, scan: int
) -> ListPage:
    """Return a page of the tasks that fit, of at most `scan` tasks. `now`: the time of the store's clock."""
    source = places_of(backend)
    if where.is_all:
        page = source.page(place, after, min(limit, _PAGE), peek)
        return ListPage(page.tasks, page.next, len(page.tasks))
    fits = where.test(now)
    found: list[Listed] = []
    scanned, cursor, left = 0, after, scan
    while left > 0 and len(found) < limit:
        page = source.page(place, cursor, min(_PAGE, left), max(where.peek, peek))
        left -= _PAGE  # also for a page that has fewer, or none: it cost the same
        fitting = [one for one in page.tasks if fits(one)]
        if len(fitting) > limit - len(found):  # no more than can be shown, so that the cursor is behind the last one
            size = 1 + page.tasks.index(fitting[limit - len(found) - 1])
            page = source.page(place, cursor, size, max(where.peek, peek))
            fitting = [one for one in page.tasks if fits(one)][: limit - len(found)]
        found += fitting
        scanned, cursor = scanned + len(page.tasks), page.next
        if not cursor:
            break
    return ListPage(found, cursor, scanned)


class _Group(Struct):
    """A group of failures while it is counted."""

    count: int = 0
    first_ms: int = 0
    last: Listed | None = None


def failures(backend: Backend, limit: int) -> FailurePage:
    """Return the failed tasks in groups, of the newest `limit` ones."""
    groups: dict[tuple[str, str], _Group] = {}
    scanned, cursor = 0, ""
    source = places_of(backend)
    while scanned < limit:
        page = source.page(Place.FAILED, cursor, min(_PAGE, limit - scanned), 0)
        scanned, cursor = scanned + max(1, len(page.tasks)), page.next
        for one in page.tasks:
            group = groups.setdefault((task_name(one), error_type(one)), _Group())
            group.count += 1
            group.first_ms = one.info.updated_ms
            group.last = group.last or one
        if not cursor:
            break
    found = [
        FailureGroup(
            name, error, group.count, group.first_ms, group.last.info.updated_ms, group.last.info.id,
            failure_text(group.last), group.last.body_bytes,
        )
        for (name, error), group in groups.items()
        if group.last is not None
    ]  # fmt: skip
    return FailurePage(sorted(found, key=lambda one: -one.count), scanned, not cursor)


Act: TypeAlias = Callable[[Sequence[str]], Sequence[bool]]


def on_those(backend: Backend, place: Place, where: Where, act: Act, *, now: int, limit: int) -> tuple[int, bool]:
    """Call `act` with the tasks of a place that fit, at most `limit`, each once. Return how many it changed, and
    whether there may be more that fit."""
    done, seen, cursor = 0, set[str](), ""
    while True:
        size = min(_PAGE, limit - len(seen))
        page = list_tasks(backend, place, where, now, after=cursor, limit=size, peek=0, scan=SCAN_LIMIT)
        ids = [one.info.id for one in page.tasks if one.info.id not in seen]
        done += sum(act(ids)) if ids else 0
        seen.update(ids)
        cursor = page.next
        if not cursor or len(seen) >= limit:
            return done, bool(cursor)
