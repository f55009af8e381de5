"""The handle of one enqueued task: wait for it, look at it, watch it."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar, cast

from attrs import frozen

from .bar import ProgressBar
from .clock import deadline_after, is_over
from .codec import Codec
from .errors import (
    BrokerError,
    BrokerUnavailableError,
    ConfigurationError,
    ResultTimeoutError,
    TaskCancelledError,
    TaskError,
    UnknownTaskError,
)
from .message import Message, Progress, Record, TaskInfo, TaskStatus
from .protocols import AsyncProducer, Inspector, ResultStore, in_one_process, same_store

R = TypeVar("R")
_NOTHING: Any = object()
_SLICE = 1_000
_SILENCE = 3_000
"""Ms to wait for a result before looking whether there is anybody to bring it."""

log = logging.getLogger("pyxqueue")


@frozen
class Reader:
    """Where handles read from: the stores of one queue, and the codec that opens what they hold."""

    results: ResultStore
    inspector: Inspector
    producer: AsyncProducer
    codec: Codec

    @property
    def one_store(self) -> bool:
        """Whether the store of the results is also the broker, and so knows which tasks there are."""
        return same_store(self.results, self.inspector)

    def alone(self) -> str:
        """What to say to who waits where there is no worker; nothing if there is one, or that cannot be told."""
        try:
            if in_one_process(self.inspector) or self.inspector.depth().held or self.inspector.consumers():
                return ""
        except BrokerError:  # a hint must never be what fails
            return ""
        return "no worker serves its queue: is one running, on the same store?"

    def warn(self, task_id: str) -> None:
        """Say so in the log, to who has set no limit and would wait without a word."""
        if alone := self.alone():
            log.warning("task %s waits, and %s", task_id, alone)


class AsyncResult(Generic[R]):
    """The handle of one task. It holds no connection: any number may exist, in any thread.

    All times are in seconds. `await handle` is `handle.get()` for asyncio.
    """

    def __init__(self, reader: Reader, task_id: str, task_name: str | None = None) -> None:
        self.task_id = task_id
        self._reader = reader
        self._task_name = task_name
        self._value: Any = _NOTHING

    def get(self, timeout: float | None = None, *, show_progress: bool = False) -> R:
        """The task's return value, waiting for it up to `timeout` seconds (None: as long as it takes).

        `show_progress` draws a progress bar while waiting, in a terminal or a notebook, and nothing elsewhere.

        Raises `TaskError` if the task failed, `TaskCancelledError` if it was cancelled, `ResultTimeoutError` (a
        `TimeoutError`) if it has not ended in time, or the store was silent until then, `BrokerUnavailableError` if the
        store cannot be reached, `UnknownTaskError` if there is no such task or its result has expired,
        `SerializationError` if the result cannot be read here.
        """
        if self._value is not _NOTHING:
            return cast(R, self._value)
        deadline = _deadline(timeout)
        if show_progress:
            with ProgressBar(self._task_name or self.task_id) as bar:
                for progress in self.watch(timeout):
                    bar.show(progress)
        return self._wait(timeout, deadline, self._reader.alone)

    def _wait(self, timeout: float | None, deadline: float | None, alone: Callable[[], str]) -> R:
        """Wait for the record and open it; `alone` finds out what to say about the workers if the time is up."""
        reader = self._reader
        silent = timeout is None
        with self._in_time(timeout, deadline):
            while True:
                (record,) = reader.results.wait([self.task_id], self._patience(deadline, silent=silent))
                if record is None:
                    info = known(self.task_id, reader.inspector.show([self.task_id])[0])
                    if info.status.finished:
                        (record,) = reader.results.wait([self.task_id], 0)
                        record = self._final(record, reader.inspector.show([self.task_id])[0])
                    elif timeout is not None and (reader.one_store or is_over(deadline)):
                        raise late(info, timeout, alone())
                if record is not None and record.status.finished:
                    return self._open(record)
                if silent:
                    reader.warn(self.task_id)
                    silent = False

    async def aget(self, timeout: float | None = None) -> R:
        """`get` for asyncio: the loop is not blocked."""
        if self._value is not _NOTHING:
            return cast(R, self._value)
        deadline = _deadline(timeout)
        reader, producer = self._reader, self._reader.producer
        silent = timeout is None
        with self._in_time(timeout, deadline):
            while True:
                (record,) = await producer.wait([self.task_id], self._patience(deadline, silent=silent))
                if record is None:
                    info = known(self.task_id, (await producer.show([self.task_id]))[0])
                    if info.status.finished:
                        (record,) = await producer.wait([self.task_id], 0)
                        record = self._final(record, (await producer.show([self.task_id]))[0])
                    elif timeout is not None and (reader.one_store or is_over(deadline)):
                        raise late(info, timeout, await asyncio.to_thread(reader.alone))
                if record is not None and record.status.finished:
                    return self._open(record)
                if silent:
                    await asyncio.to_thread(reader.warn, self.task_id)
                    silent = False

    def __await__(self) -> Generator[Any, None, R]:
        return self.aget().__await__()

    def __call__(self, block: bool = True, timeout: float | None = None) -> R | None:
        """`get(timeout)`; with ``block=False`` the value if it is there, else None. Raises what `get` raises."""
        if block:
            return self.get(timeout)
        if self._value is not _NOTHING:
            return cast(R, self._value)
        try:
            return self._wait(0, _deadline(0), str)  # nobody reads the error: no question about the workers
        except ResultTimeoutError:
            return None

    @property
    def state(self) -> TaskStatus:
        """Where the task is now. Raises `UnknownTaskError`."""
        return self._info().status

    @property
    def progress(self) -> Progress | None:
        """What the task last said about its progress; None if it said nothing yet. Raises `UnknownTaskError`."""
        return self._info().progress

    @property
    def done(self) -> bool:
        """True once the task has ended, however it ended. Raises `UnknownTaskError`."""
        return self.state.finished

    def watch(self, timeout: float | None = None) -> Watch:
        """Iterate, with ``for`` or ``async for``, over the task's progress as it changes; ends with the task.

        Raises, while iterating, `ResultTimeoutError` after `timeout` seconds and `UnknownTaskError`.
        """
        return Watch(self._reader, self.task_id, timeout)

    def cancel(self) -> bool:
        """Cancel the task: a waiting one ends at once, a running one is interrupted. False if it has ended."""
        return self._reader.inspector.cancel([self.task_id])[0]

    def forget(self) -> None:
        """Delete the stored result now instead of at the end of its time to live."""
        self._reader.results.forget([self.task_id])

    def __repr__(self) -> str:
        return f"<AsyncResult {self._task_name or 'task'} {self.task_id}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AsyncResult) and other.task_id == self.task_id

    def __hash__(self) -> int:
        return hash(self.task_id)

    def _info(self) -> TaskInfo:
        return known(self.task_id, self._reader.inspector.show([self.task_id])[0])

    @contextmanager
    def _in_time(self, timeout: float | None, deadline: float | None) -> Iterator[None]:
        """To who waited all the time he had, a store that is silent is one that brought no result."""
        try:
            yield
        except BrokerUnavailableError as error:
            if timeout and is_over(deadline):
                text = f"task {self.task_id} has not ended within {timeout:g} s, as far as is known: {error}"
                raise ResultTimeoutError(text) from error
            raise

    def _patience(self, deadline: float | None, *, silent: bool) -> int | None:
        """Ms to wait in one go. Where results are kept apart, their store cannot know that a task was cancelled or
        deleted, so the broker is asked in between. `silent`: it is not yet known whether there are workers."""
        left = _SILENCE if silent else _left(deadline)
        if self._reader.one_store:
            return left
        return _SLICE if left is None else min(left, _SLICE)

    def _final(self, record: Record | None, info: TaskInfo | None) -> Record | None:
        """The record of a task that has ended: the store's, else what the broker knows of its end."""
        if record is not None:
            return record
        kept = info.record if info is not None else None
        if info is not None and not info.status.finished:
            return None  # somebody runs it again
        if info is not None and (kept is None or (kept.status is TaskStatus.SUCCESS and not self._reader.one_store)):
            raise UnknownTaskError(
                f"the result of task {self.task_id} is no longer there: it ended as {info.status.name}, and its "
                f"result has expired (result_ttl) or was forgotten"
            )
        if kept is None:
            raise unknown(self.task_id)
        return kept

    def _open(self, record: Record) -> R:
        if record.status is TaskStatus.CANCELLED:
            raise TaskCancelledError("Cancelled", "it was cancelled", task_id=self.task_id)
        if record.status is not TaskStatus.SUCCESS:
            self._reader.codec.check_end(record)
            raise task_error(record)
        self._value = self._reader.codec.open_result(record)
        return cast(R, self._value)


class Watch:
    """The changes of one task's progress, for ``for`` and ``async for``."""

    def __init__(self, reader: Reader, task_id: str, timeout: float | None) -> None:
        self._reader = reader
        self._task_id = task_id
        self._timeout = timeout

    def _begin(self) -> tuple[float | None, float | None]:
        """When the time is up, and when somebody who has no limit is to learn whether there are workers."""
        deadline = _deadline(self._timeout)
        unsure = deadline is None and not in_one_process(self._reader.inspector)
        return deadline, deadline_after(_SILENCE) if unsure else None

    def __iter__(self) -> Iterator[Progress]:
        deadline, silence = self._begin()
        seen: TaskInfo | None = None
        while True:
            before, left = seen, _left(silence if deadline is None else deadline)
            seen = known(self._task_id, self._reader.inspector.watch(self._task_id, before, left))
            if is_over(silence) and not seen.status.finished:
                silence = None
                self._reader.warn(self._task_id)
            if self._timeout is not None and not seen.status.finished and is_over(deadline):
                raise late(seen, self._timeout, self._reader.alone())
            if (change := _change(before, seen)) is not None:
                yield change
            if seen.status.finished:
                return

    async def __aiter__(self) -> AsyncIterator[Progress]:
        deadline, silence = self._begin()
        seen: TaskInfo | None = None
        while True:
            before, left = seen, _left(silence if deadline is None else deadline)
            seen = known(self._task_id, await self._reader.producer.watch(self._task_id, before, left))
            if is_over(silence) and not seen.status.finished:
                silence = None
                await asyncio.to_thread(self._reader.warn, self._task_id)
            if self._timeout is not None and not seen.status.finished and is_over(deadline):
                raise late(seen, self._timeout, await asyncio.to_thread(self._reader.alone))
            if (change := _change(before, seen)) is not None:
                yield change
            if seen.status.finished:
                return


def _change(before: TaskInfo | None, now: TaskInfo) -> Progress | None:
    """The progress, if it is another one."""
    return now.progress if before is None or now.progress != before.progress else None


def known(task_id: str, info: TaskInfo | None) -> TaskInfo:
    """Raises `UnknownTaskError` for a task that the store does not know."""
    if info is None:
        raise unknown(task_id)
    return info


def unknown(task_id: str) -> UnknownTaskError:
    return UnknownTaskError(
        f"no task has the id {task_id!r}: it was never enqueued on this queue and group, was deleted, or its result "
        f"has expired"
    )


def late(info: TaskInfo, timeout: float, alone: str) -> ResultTimeoutError:
    """The error for who waited `timeout` seconds in vain; `alone`, what there is to say about the workers."""
    why = "".join(f", {text}" if text else "" for text in (reason(info), f"and {alone}" if alone else ""))
    return ResultTimeoutError(f"task {info.id} has not ended within {timeout:g} s: it is {info.status.name}{why}")


def reason(info: TaskInfo) -> str:
    """Why the task failed, or why it waits although workers have seen it; else nothing."""
    message, waits = info.message, info.status in (TaskStatus.PENDING, TaskStatus.RETRY)
    if waits and isinstance(message, Message) and message.returns:
        return (
            f"put off (so far {message.returns}x) by workers that do not have the task {message.name!r}, or cannot "
            f"read its arguments: their log says which"
        )
    return info.reason


def task_error(record: Record) -> TaskError:
    """The failure of a record, to be raised."""
    if record.error is None:
        return TaskError("Unknown", "no reason was stored", task_id=record.id)
    return TaskError(record.error.type, record.error.message, record.error.traceback, record.id)


def _deadline(timeout: float | None) -> float | None:
    if timeout is not None and (not isinstance(timeout, int | float) or not math.isfinite(timeout)):
        raise ConfigurationError(f"timeout={timeout!r} must be a number of seconds")
    return None if timeout is None else time.monotonic() + max(0.0, timeout)


def _left(deadline: float | None) -> int | None:
    return None if deadline is None else max(0, round((deadline - time.monotonic()) * 1000))
