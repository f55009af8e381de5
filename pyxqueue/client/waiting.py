"""Waiting for tasks to end, as generators that yield requests to the store; `run` and `arun` execute them.

Such a generator yields a `Request`, is sent the reply of the store, and returns its result. It does not do any I/O, so
the synchronous and the asyncio API share it.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Generator, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar

from msgspec import Struct

from ..clock import Seconds, deadline_after, is_over, optional_seconds, seconds_left
from ..context import holds_a_place_of
from ..errors import (
    BrokerUnavailableError,
    ConfigurationError,
    NestedWaitError,
    ResultTimeoutError,
    SerializationError,
)
from ..log import get_logger
from ..model.message import Cancellation, Record, TaskInfo
from ..printable import quoted
from .reader import Reader, begin_waiting, end_waiting
from .reasons import end_of, known, status_text, unknown

T = TypeVar("T")
End: TypeAlias = Record | Exception
"""The record of a task that has ended, or an error that says why there is none."""

PATIENCE = 30.0
"""How many seconds a wait goes on while the store cannot be reached."""
_ANSWERED = 20.0
"""A request that fails only after so many seconds had a reply in between: without any reply, it fails within ten."""
_OUTAGE_PAUSE = 0.5
_SLICE = 1_000
_SILENCE = 3_000
"""How many ms to wait for a result before checking whether a worker serves the queue."""
_FEW = 256
"""A wait for more tasks than this does not return for each task that ends."""

log = get_logger("pyxqueue")


class Request(Protocol):
    """A request to a store."""

    def ask(self) -> Any: ...

    async def aask(self) -> Any: ...


Steps: TypeAlias = Generator[Request, Any, T]


class Ask(Struct, frozen=True):
    """Calls an operation that a backend and its asyncio side both have."""

    reader: Reader
    operation: Callable[[Any], Any]

    def ask(self) -> Any:
        return self.operation(self.reader.backend)

    async def aask(self) -> Any:
        return await self.operation(self.reader.producer)


class Wait(Struct, frozen=True):
    """Waits for records. If one of them is damaged, its error is in its place."""

    reader: Reader
    ids: Sequence[str]
    until: float | None
    least: int | None = None

    def ask(self) -> Sequence[End | None]:
        try:
            return self.reader.backend.wait(self.ids, _ms_left(self.until), self.least)
        except SerializationError:
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


class NoWorkerHint(Struct, frozen=True):
    reader: Reader
    thorough: bool

    def ask(self) -> str:
        return self.reader.no_worker_hint(thorough=self.thorough)

    async def aask(self) -> str:
        return await asyncio.to_thread(self.ask)


class Limit(Struct):
    """The limits of one wait: its deadline, and when to warn, once, that no worker serves the queue.

    `what` is the beginning of the error, "task x has not". `hint` False: the caller does not show the error, so it does
    not need a hint about workers.
    """

    what: str
    timeout: float | None
    deadline: float | None
    hint_at: float | None
    hint: bool
    many: bool
    nested: bool = False
    """Whether a running task would wait here without a limit, which is refused."""
    since: float | None = None
    """Since when the store cannot be reached."""

    @classmethod
    def of(cls, ids: Sequence[str], timeout: Seconds | None, readers: Sequence[Reader], *, hint: bool = True) -> Limit:
        """Return the limits of a wait for tasks. Raises `ConfigurationError` if `timeout` is not a duration."""
        seconds = optional_seconds(timeout)
        if seconds is not None and (not isinstance(seconds, int | float) or not math.isfinite(seconds)):
            raise ConfigurationError(f"timeout={quoted(timeout)} must be a number of seconds, or a timedelta")
        deadline = None if seconds is None else time.monotonic() + max(0.0, seconds)
        unsure = hint and not all(reader.one_process for reader in readers)
        what = f"task {ids[0]} has not" if len(ids) == 1 else f"not all of {len(ids)} tasks have"
        if seconds is None and any(holds_a_place_of(reader.codec.queue) for reader in readers):
            return cls(what, 0.0, time.monotonic(), None, False, len(ids) != 1, nested=True)
        return cls(what, seconds, deadline, deadline_after(_SILENCE) if unsure else None, hint, len(ids) != 1)

    @property
    def over(self) -> bool:
        return is_over(self.deadline)

    def next_look(self, slice_ms: int | None) -> float | None:
        """Return when the next request to the store must end at the latest."""
        moments = (self.deadline, self.hint_at, deadline_after(slice_ms))
        return min((moment for moment in moments if moment is not None), default=None)

    def hint_due(self) -> bool:
        """Return True once, when it is time to warn."""
        due = is_over(self.hint_at)
        if due:
            self.hint_at = None
        return due

    def timeout_error(self, more: str) -> ResultTimeoutError | NestedWaitError:
        if self.nested:
            return NestedWaitError(
                f"{self.what} ended, and a task must not wait for others of its queue without a limit, since they may "
                f"need its worker: use current_task().gather(name, [task.of(...)]), which gives the worker back "
                f"meanwhile, or give a timeout{more}"
            )
        return ResultTimeoutError(f"{self.what} ended within {self.timeout:g} s{more}")

    def retry_pause(self, error: BrokerUnavailableError, began: float) -> float:
        """Return the seconds until the next request to a store that cannot be reached. `began`: when the failed one
        did.

        Raises `error` if that has lasted too long; after the caller's deadline, raises `ResultTimeoutError`.
        """
        now = time.monotonic()
        if self.since is None or now - began > _ANSWERED:
            self.since = now
        if self.timeout and self.over:  # the caller asked for a limit: report an unreachable store as a timeout
            raise self.timeout_error(f", or the store could not report it: {error}") from error
        if self.over or now - self.since >= PATIENCE:
            raise error
        return min(_OUTAGE_PAUSE, seconds_left(self.deadline) or _OUTAGE_PAUSE)


def run(steps: Steps[T], limit: Limit | None = None) -> T:
    """Execute the requests of `steps`, and return its result.

    With a `limit`, repeats a request while the store cannot be reached; without one, raises the error at once.
    """
    reply: Any = None
    waiter = begin_waiting() if limit else ""
    try:
        while True:
            request = steps.send(reply)
            while True:
                began = time.monotonic()
                try:
                    reply = request.ask()
                    break
                except BrokerUnavailableError as error:
                    if limit is None:
                        raise
                    time.sleep(limit.retry_pause(error, began))
            if limit is not None:
                limit.since = None
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    finally:
        steps.close()
        end_waiting(waiter)


async def arun(steps: Steps[T], limit: Limit | None = None) -> T:
    """`run` for asyncio."""
    reply: Any = None
    waiter = begin_waiting() if limit else ""
    try:
        while True:
            request = steps.send(reply)
            while True:
                began = time.monotonic()
                try:
                    reply = await request.aask()
                    break
                except BrokerUnavailableError as error:
                    if limit is None:
                        raise
                    await asyncio.sleep(limit.retry_pause(error, began))
            if limit is not None:
                limit.since = None
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    finally:
        steps.close()
        end_waiting(waiter)


def ends(reader: Reader, ids: Sequence[str], limit: Limit, slice_ms: int | None = None) -> Steps[dict[str, End]]:
    """Wait until some of the tasks have ended, and return their ends; empty if none has within `slice_ms`.

    Raises `ResultTimeoutError` after the deadline.
    """
    # The cost of a request grows with the number of ids: with many, there is one per second, not one per end.
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
            infos = yield Ask(reader, lambda store: store.show(ids))
            found = yield from _ended(reader, ids, infos)
            if found:
                return found
            if limit.timeout is not None and (limit.over or whole):
                raise limit.timeout_error((yield from _why(reader, infos, limit)))
        if limit.hint_due():
            yield from _hint(reader, ids[0], len(ids))
        if slice_ms is not None:
            return {}


def _ended(reader: Reader, ids: Sequence[str], infos: Sequence[TaskInfo | None]) -> Steps[dict[str, End]]:
    """Return the ends of tasks for which `wait` returned no record, although they have ended or are unknown."""
    found: dict[str, End] = {
        task_id: unknown(task_id, reader.backend) for task_id, info in zip(ids, infos, strict=True) if info is None
    }
    gone = [info.id for info in infos if info is not None and info.status.ended]
    if gone:
        ended = yield Wait(reader, gone, 0.0)
        later = yield Ask(reader, lambda store: store.show(gone))
        for task_id, end, info in zip(gone, ended, later, strict=True):
            if (known_end := end if isinstance(end, Exception) else end_of(task_id, end, info)) is not None:
                found[task_id] = known_end
    return found


def _is_end(end: End | None) -> bool:
    return isinstance(end, Exception) or (end is not None and end.status.ended)


def look(reader: Reader, task_id: str) -> Steps[TaskInfo]:
    """Return what the store knows about a task now. Raises `UnknownTaskError`."""
    (info,) = yield Ask(reader, lambda store: store.show([task_id]))
    return known(task_id, info, reader.backend)


def cancel(reader: Reader, task_id: str, force: bool) -> Steps[Cancellation]:
    """Cancel a task, and return what that has achieved."""
    (accepted,) = yield Ask(reader, lambda store: store.cancel([task_id], force))
    (info,) = (yield Ask(reader, lambda store: store.show([task_id]))) if accepted else (None,)
    return Cancellation.of(accepted, info)


def next_info(reader: Reader, task_id: str, seen: TaskInfo | None, limit: Limit) -> Steps[TaskInfo]:
    """Wait until status or progress differ from `seen`. Raises `ResultTimeoutError` and `UnknownTaskError`."""
    until = limit.next_look(None)
    found = yield Ask(reader, lambda store: store.watch(task_id, seen, _ms_left(until)))
    info = known(task_id, found, reader.backend)
    if not info.status.ended:
        if limit.over:
            raise limit.timeout_error((yield from _why(reader, [info], limit)))
        if limit.hint_due():
            yield from _hint(reader, task_id, 1)
    return info


def _why(reader: Reader, infos: Sequence[TaskInfo | None], limit: Limit) -> Steps[str]:
    """Return the state of the first task, and a hint if no worker can run it, for an error."""
    first = next(info for info in infos if info is not None)
    long = limit.timeout is not None and limit.timeout * 1000 >= _SILENCE
    hint = (yield NoWorkerHint(reader, long)) if limit.hint else ""
    subject = f"task {first.id}" if limit.many else "it"
    return f": {status_text(first, subject)}{f', and {hint}' if hint else ''}"


def _hint(reader: Reader, first: str, count: int) -> Steps[None]:
    """Log a warning if no worker can run the tasks that the caller waits for."""
    if hint := (yield NoWorkerHint(reader, thorough=True)):
        subject = f"task {first} waits" if count == 1 else f"{count} tasks wait, task {first} first"
        log.warning("%s, and %s", subject, hint)


def _ms_left(deadline: float | None) -> int | None:
    left = seconds_left(deadline)
    return None if left is None else round(left * 1000)
