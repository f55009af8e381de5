"""Running one task: from a delivery to its outcome. It never raises, whatever the task does."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import traceback
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from attrs import define

from .codec import Codec
from .context import TaskContext, enter, is_number, leave, without_surrogates
from .errors import (
    CancelRequested,
    Reject,
    RetryLater,
    SealError,
    SerializationError,
    TimeLimitExceeded,
)
from .message import Aborted, Delivery, Failed, Failure, Message, Outcome, Progress, Refused, Unreadable, Unserved
from .policy import admit
from .task import Registry, Task

MAX_TRACEBACK = 8_192
"""Characters of a traceback that are kept: the end of it, where the error is."""
MAX_MESSAGE = 2_048


@define
class Execution:
    """One delivery that is ready to run: its task was found and its arguments decoded."""

    task: Task[..., Any]
    message: Message
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    codec: Codec
    report: Callable[[Progress], None]

    @property
    def is_async(self) -> bool:
        return inspect.iscoroutinefunction(self.task.function)

    def run(
        self,
        limit: Callable[[float | None], AbstractContextManager[object]],
        run_coroutine: Callable[[Coroutine[Any, Any, Any]], Any],
    ) -> Outcome:
        """Run it to its end.

        `limit` enforces a soft time limit in seconds (None: none); `run_coroutine` runs an ``async def``.
        """
        timeout = self.task.options.timeout
        token = self._enter()
        try:
            with limit(timeout):
                value = self.task.function(*self.args, **self.kwargs)
                if inspect.iscoroutine(value):
                    value = run_coroutine(value)
            return self.codec.dump_result(self.message, value)
        except BaseException as error:  # noqa: BLE001 - whatever a task raises is its outcome
            if isinstance(error, TimeLimitExceeded) and not error.args:
                error.args = (self._over_time(),)  # a thread can only be sent the bare class
            return outcome_of(error, self.task)
        finally:
            leave(token)

    async def arun(self) -> Outcome:
        """Run an ``async def`` task on the running loop."""
        token = self._enter()
        limit = asyncio.timeout(self.task.options.timeout)
        try:
            async with limit:
                value = await self.task.function(*self.args, **self.kwargs)
            return self.codec.dump_result(self.message, value)
        except BaseException as error:  # noqa: BLE001 - whatever a task raises is its outcome
            if isinstance(error, TimeoutError) and limit.expired():
                late = TimeLimitExceeded(self._over_time()).with_traceback(error.__traceback__)
                return outcome_of(late, self.task)
            return outcome_of(error, self.task)
        finally:
            leave(token)

    def _over_time(self) -> str:
        return f"the task ran longer than its timeout of {self.task.options.timeout:g} s"

    def _enter(self) -> contextvars.Token[TaskContext]:
        message = self.message
        context = TaskContext(message.id, message.name, message.attempt, self.codec.queue, message.headers, self.report)
        return enter(context)


def prepare(
    delivery: Delivery, registry: Registry, codec: Codec, report: Callable[[Progress], None]
) -> Execution | Outcome:
    """Find the task and decode its arguments, or say why this message cannot run here."""
    message = delivery.message
    if isinstance(message, Unreadable):
        failure = Failure("Unreadable", message.reason)
        return Unserved(failure) if message.newer else Refused(failure)
    task = registry.get(message.name)
    if task is None:
        return Unserved(Failure("UnknownTask", f"no task {message.name!r} is registered here"))
    if (verdict := admit(message, task.options.policy)) is not None:
        return Refused(Failure("WorkerLost", verdict.reason))
    if message.serializer not in codec.serializers:
        known = ", ".join(codec.serializers)
        return Unserved(Failure("UnknownSerializer", f"written by {message.serializer!r}, this worker reads {known}"))
    try:
        args, kwargs = codec.open_call(message)
    except SerializationError as error:
        kind = "SealError" if isinstance(error, SealError) else "SerializationError"
        return Refused(Failure(kind, str(error)))
    return Execution(task, message, args, kwargs, codec, report)


def outcome_of(error: BaseException, task: Task[..., Any]) -> Outcome:
    """What raising this means."""
    failure = failure_of(error)
    match error:
        case Reject():
            return Refused(Failure("Rejected", failure.message))
        case CancelRequested():
            return Aborted()
        case RetryLater(delay=delay) if delay is None or is_number(delay):
            return Failed(failure, delay=delay, exception=error)
        case RetryLater(delay=delay):
            text = f"its delay is a {type(delay).__name__} that nobody can wait for"
            broken = Failure("RetryLater", text, failure.traceback)
            return Failed(broken, retryable=False, exception=error)
    if isinstance(error, SerializationError):
        return Failed(failure, retryable=False, exception=error)  # the next run would return the same
    options = task.options
    retryable = isinstance(error, options.retry_on) and not isinstance(error, options.give_up_on)
    return Failed(failure, retryable=retryable, exception=error)


def failure_of(error: BaseException) -> Failure:
    """An exception as data, with its text bounded."""
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    try:
        text = str(error)
    except Exception as broken:  # noqa: BLE001 - a __str__ may do anything
        text = f"<its text cannot be had: {type(broken).__name__}>"
    return Failure(name, without_surrogates(text[:MAX_MESSAGE]), _traceback(error))


def _traceback(error: BaseException) -> str:
    """The task's own frames and whatever it called, without ours."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename == __file__:
        frames = frames.tb_next
    try:
        lines = traceback.format_exception(type(error), error, frames or error.__traceback__)
    except Exception:  # noqa: BLE001 - formatting calls the exception's own code
        return ""
    return without_surrogates("".join(lines)[-MAX_TRACEBACK:])
