"""Waiting for tasks to end, as steps that ask the stores; one runner asks them here, another one from asyncio.

Steps are generators: they yield a question, are sent its answer, and return what they were for. They do no I/O.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Generator, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar

from attrs import define, field, frozen

from ..clock import Seconds, deadline_after, is_over, optional_seconds, seconds_left
from ..errors import BrokerUnavailableError, ConfigurationError, ResultTimeoutError, SerializationError
from ..log import get_logger
from ..model.message import Cancellation, Record, TaskInfo
from ..printable import quoted
from .reader import Reader, begin_waiting, end_waiting
from .reasons import end_of, known, still_there, unknown

T = TypeVar("T")
End: TypeAlias = Record | Exception
"""How a task has ended, or why nobody can tell."""

PATIENCE = 30.0
"""Seconds for which a waiter puts up with a store that is away."""
_OUTAGE_PAUSE = 0.5
_SLICE = 1_000
_SILENCE = 3_000
"""Ms to wait for a result before looking whether there is anybody to bring it."""
_FEW = 256
"""Of more tasks than these, a look is not taken for each that ends."""

log = get_logger("pyxqueue")


class Question(Protocol):
    """What steps want to know of a store."""

    def ask(self) -> Any: ...

    async def aask(self) -> Any: ...


Steps: TypeAlias = Generator[Question, Any, T]


@frozen
class Wait:
    reader: Reader
    ids: Sequence[str]
    until: float | None
    least: int | None = None

    def ask(self) -> Sequence[End | None]:
        try:
            return self.reader.backend.wait(self.ids, _ms_left(self.until), self.least)
        except SerializationError:  # one record is damaged: the others are not
            return [self._one(task_id) for task_id in self.ids]

    def _one(self, task_id: str) -> End | None:
        try:
            return self.reader.backend.wait([task_id], 0)[0]
        except SerializationError as error:
            return error

    async def aask(self) -> Sequence[End | None]:
        try:
            return await self.reader.producer.wait(self.ids, _ms_left(self.until), self.least)
        except SerializationError:
            return [await self._aone(task_id) for task_id in self.ids]

    async def _aone(self, task_id: str) -> End | None:
        try:
            return (await self.reader.producer.wait([task_id], 0))[0]
        except SerializationError as error:
            return error


@frozen
class Show:
    reader: Reader
    ids: Sequence[str]

    def ask(self) -> Sequence[TaskInfo | None]:
        return self.reader.backend.show(self.ids)

    async def aask(self) -> Sequence[TaskInfo | None]:
        return await self.reader.producer.show(self.ids)


@frozen
class Cancel:
    reader: Reader
    task_id: str
    force: bool

    def ask(self) -> Sequence[bool]:
        return self.reader.backend.cancel([self.task_id], self.force)

    async def aask(self) -> Sequence[bool]:
        return await self.reader.producer.cancel([self.task_id], self.force)


@frozen
class Change:
    reader: Reader
    task_id: str
    seen: TaskInfo | None
    until: float | None

    def ask(self) -> TaskInfo | None:
        return self.reader.backend.watch(self.task_id, self.seen, _ms_left(self.until))

    async def aask(self) -> TaskInfo | None:
        return await self.reader.producer.watch(self.task_id, self.seen, _ms_left(self.until))


@frozen
class Alone:
    reader: Reader
    thorough: bool

    def ask(self) -> str:
        return self.reader.alone(thorough=self.thorough)

    async def aask(self) -> str:
        return await asyncio.to_thread(self.ask)


@define
class Limit:
    """How long somebody waits (`what`: "task x has not"); and when they are told, once, that nobody is there to help.

    `hint` False: nobody reads the error, so the workers are not asked for.
    """

    what: str
    timeout: float | None
    deadline: float | None
    hint_at: float | None
    hint: bool
    many: bool
    since: float | None = field(default=None, init=False)
    """Since when the store has been away."""

    @classmethod
    def of(cls, ids: Sequence[str], timeout: Seconds | None, readers: Sequence[Reader], *, hint: bool = True) -> Limit:
        """For the tasks with these ids. Raises `ConfigurationError` for what is no length of time."""
        seconds = optional_seconds(timeout)
        if seconds is not None and (not isinstance(seconds, int | float) or not math.isfinite(seconds)):
            raise ConfigurationError(f"timeout={quoted(timeout)} must be a number of seconds, or a timedelta")
        deadline = None if seconds is None else time.monotonic() + max(0.0, seconds)
        unsure = hint and not all(reader.one_process for reader in readers)
        what = f"task {ids[0]} has not" if len(ids) == 1 else f"not all of {len(ids)} tasks have"
        return cls(what, seconds, deadline, deadline_after(_SILENCE) if unsure else None, hint, len(ids) != 1)

    @property
    def over(self) -> bool:
        return is_over(self.deadline)

    def next_look(self, slice_ms: int | None) -> float | None:
        """When a wait ends at the latest."""
        moments = (self.deadline, self.hint_at, deadline_after(slice_ms))
        return min((moment for moment in moments if moment is not None), default=None)

    def hint_due(self) -> bool:
        """True once, when it is time to tell."""
        due = is_over(self.hint_at)
        if due:
            self.hint_at = None
        return due

    def late(self, more: str) -> ResultTimeoutError:
        return ResultTimeoutError(f"{self.what} ended within {self.timeout:g} s{more}")

    def bear(self, error: BrokerUnavailableError) -> float:
        """Seconds until a store that has not answered is asked again; raises what a waiter no longer puts up with."""
        now = time.monotonic()
        self.since = now if self.since is None else self.since
        if self.timeout and self.over:  # all the time there was: a store that is silent is one that brought no result
            raise self.late(f", as far as is known: {error}") from error
        if self.over or now - self.since >= PATIENCE:
            raise error
        return min(_OUTAGE_PAUSE, seconds_left(self.deadline) or _OUTAGE_PAUSE)


def run(steps: Steps[T], limit: Limit | None = None) -> T:
    """Take the steps, waiting where they wait. A store that is away is asked again, for a while; without a `limit` the
    steps do not wait, and it is not asked again."""
    answer: Any = None
    waiter = begin_waiting() if limit else ""
    try:
        while True:
            question = steps.send(answer)
            while True:
                try:
                    answer = question.ask()
                    break
                except BrokerUnavailableError as error:
                    if limit is None:
                        raise
                    time.sleep(limit.bear(error))
            if limit is not None:
                limit.since = None
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    finally:
        steps.close()
        end_waiting(waiter)


async def arun(steps: Steps[T], limit: Limit | None = None) -> T:
    """`run` for asyncio."""
    answer: Any = None
    waiter = begin_waiting() if limit else ""
    try:
        while True:
            question = steps.send(answer)
            while True:
                try:
                    answer = await question.aask()
                    break
                except BrokerUnavailableError as error:
                    if limit is None:
                        raise
                    await asyncio.sleep(limit.bear(error))
            if limit is not None:
                limit.since = None
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    finally:
        steps.close()
        end_waiting(waiter)


def ends(reader: Reader, ids: Sequence[str], limit: Limit, slice_ms: int | None = None) -> Steps[dict[str, End]]:
    """Wait until some of the tasks have ended; nothing if that was not within `slice_ms`.

    Raises `ResultTimeoutError` when the time is up.
    """
    # A look costs by the number of ids: with many it is not taken for each that ends, but once a second.
    least = 1 if reader.one_process else 1 + len(ids) // _FEW
    pause = slice_ms or (_SLICE if least > 1 else None)
    while True:
        until = limit.next_look(pause)
        ended = yield Wait(reader, ids, until, least)
        found: dict[str, End] = {i: end for i, end in zip(ids, ended, strict=True) if _is_end(end)}
        if found:
            return found
        whole = until is not None and until == limit.deadline
        if whole or limit.over or not is_over(until):
            infos = yield Show(reader, ids)
            found = yield from _ended(reader, ids, infos)
            if found:
                return found
            if limit.timeout is not None and (limit.over or whole):
                raise limit.late((yield from _why(reader, infos, limit)))
        if limit.hint_due():
            yield from _hint(reader, ids[0], len(ids))
        if slice_ms is not None:
            return {}


def _ended(reader: Reader, ids: Sequence[str], infos: Sequence[TaskInfo | None]) -> Steps[dict[str, End]]:
    """The ends of tasks that have ended, or are unknown, without a record having come."""
    found: dict[str, End] = {
        task_id: unknown(task_id) for task_id, info in zip(ids, infos, strict=True) if info is None
    }
    gone = [info.id for info in infos if info is not None and info.status.ended]
    if gone:
        ended = yield Wait(reader, gone, 0.0)
        later = yield Show(reader, gone)
        for task_id, end, info in zip(gone, ended, later, strict=True):
            if (known_end := end if isinstance(end, Exception) else end_of(task_id, end, info)) is not None:
                found[task_id] = known_end
    return found


def _is_end(end: End | None) -> bool:
    return isinstance(end, Exception) or (end is not None and end.status.ended)


def look(reader: Reader, task_id: str) -> Steps[TaskInfo]:
    """What is known about a task now. Raises `UnknownTaskError`."""
    (info,) = yield Show(reader, [task_id])
    return known(task_id, info)


def cancel(reader: Reader, task_id: str, force: bool) -> Steps[Cancellation]:
    """Cancel a task; returns what that could promise."""
    (accepted,) = yield Cancel(reader, task_id, force)
    (info,) = (yield Show(reader, [task_id])) if accepted else (None,)
    return Cancellation.of(accepted, info)


def next_info(reader: Reader, task_id: str, seen: TaskInfo | None, limit: Limit) -> Steps[TaskInfo]:
    """Wait until status or progress differ from what was seen. Raises `ResultTimeoutError`, `UnknownTaskError`."""
    info = known(task_id, (yield Change(reader, task_id, seen, limit.next_look(None))))
    if not info.status.ended:
        if limit.over:
            raise limit.late((yield from _why(reader, [info], limit)))
        if limit.hint_due():
            yield from _hint(reader, task_id, 1)
    return info


def _why(reader: Reader, infos: Sequence[TaskInfo | None], limit: Limit) -> Steps[str]:
    """Where the first of the tasks is, and what there is to say about the workers."""
    first = next(info for info in infos if info is not None)
    long = limit.timeout is not None and limit.timeout * 1000 >= _SILENCE
    alone = (yield Alone(reader, long)) if limit.hint else ""
    subject = f"task {first.id}" if limit.many else "it"
    return f": {still_there(first, subject)}{f', and {alone}' if alone else ''}"


def _hint(reader: Reader, first: str, count: int) -> Steps[None]:
    """Tell those who wait, in the log, that they may wait in vain."""
    if alone := (yield Alone(reader, thorough=True)):
        who = f"task {first} waits" if count == 1 else f"{count} tasks wait, task {first} first"
        log.warning("%s, and %s", who, alone)


def _ms_left(deadline: float | None) -> int | None:
    left = seconds_left(deadline)
    return None if left is None else round(left * 1000)
