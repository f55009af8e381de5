"""Steps of a running task, as its code takes them: the part of `TaskContext` with which a task resumes.

The names of steps are the task's own. In one run each is used once, whatever it is used for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from inspect import isawaitable, iscoroutinefunction
from typing import Any, Generic, Literal, Protocol, TypeVar, cast, overload

from attrs import define, field, frozen
from typing_extensions import ParamSpec

from .clock import Seconds, milliseconds, optional_seconds
from .errors import ConfigurationError, PyxqueueError
from .model.message import Message
from .printable import quoted

P = ParamSpec("P")
T = TypeVar("T")
R_co = TypeVar("R_co", covariant=True)


@frozen
class Child(Generic[R_co]):
    """A task that a running task enqueues and waits for."""

    queue: str
    message: Message


class CallOf(Protocol[R_co]):
    """A call that is not enqueued: what `Task.of` returns."""

    def child(self, task_id: str) -> Child[R_co]:
        """Return the call as a task with this id."""
        ...


@frozen
class Stored:
    """The value of a step that an earlier run has stored."""

    value: Any


class RunSteps(Protocol):
    """The steps of one run of a task. Each of these may raise `TaskSuspended` and `CancelRequested`."""

    def begin(self, name: str) -> Stored | None:
        """Return the value of a step if an earlier run has stored it."""
        ...

    def finish(self, name: str, value: object) -> None:
        """Store the value of a step."""
        ...

    def sleep(self, name: str, ms: int) -> None: ...

    def wait_event(self, name: str, ms: int | None) -> Any: ...

    def gather(self, name: str, calls: Sequence[CallOf[Any]], *, errors_too: bool) -> list[Any]: ...

    def cursor(self) -> Stored | None: ...

    def save(self, cursor: object) -> None: ...


@define
class ResumableTask:
    """Base of `TaskContext`: the methods with which a task resumes.

    A method that waits raises `TaskSuspended` in the task, whose worker is then free; later the task runs again from
    its beginning, and each step that is stored returns its value at once. `astep`, `asleep`, `await_event`, `agather`
    and `asave` are for ``async def`` tasks: they do not block the event loop.

    Each raises `ConfigurationError` for a name that this run has used, or if the store does not keep steps.
    """

    _open_steps: Callable[[], RunSteps] | None = field(default=None, repr=False, kw_only=True, alias="open_steps")
    """Returns the steps of this run; None in `Task.call`."""

    def step(self, name: str, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function once in the life of the task, and store what it returns. A later run returns the stored value
        without calling it.

        If the process dies before the value is stored, the next run calls the function again.

        Raises `SerializationError` for a value that cannot be stored, `PayloadTooLargeError` for one of more than
        64 KB.
        """
        if iscoroutinefunction(function):
            raise ConfigurationError(f"the step {quoted(name)} is async: await task.astep(...) instead")
        steps = self._steps(name, function)
        if steps is not None and (stored := steps.begin(name)) is not None:
            return cast("T", stored.value)
        value = function(*args, **kwargs)
        if steps is not None:
            steps.finish(name, value)
        return value

    @overload
    async def astep(
        self, name: str, function: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> T: ...
    @overload
    async def astep(self, name: str, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T: ...
    async def astep(self, name: str, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """`step` for asyncio. The function may be ``async def``."""
        steps = self._steps(name, function)
        if steps is not None and (stored := await asyncio.to_thread(steps.begin, name)) is not None:
            return stored.value
        value = function(*args, **kwargs)
        if isawaitable(value):
            value = await value
        if steps is not None:
            await asyncio.to_thread(steps.finish, name, value)
        return value

    def sleep(self, name: str, seconds: Seconds, /) -> None:
        """Wait without a worker for seconds, or a `timedelta`, counted from when the task first came here."""
        self._needed().sleep(name, _ms(seconds))

    async def asleep(self, name: str, seconds: Seconds, /) -> None:
        """`sleep` for asyncio."""
        await asyncio.to_thread(self._needed().sleep, name, _ms(seconds))

    def wait_event(self, name: str, /, timeout: Seconds | None = None) -> Any:
        """Wait without a worker until `TaskQueue.send_event` has sent an event of this name, and return its value. If
        it was sent before, return at once.

        Raises `EventTimeoutError` if none has come within `timeout` seconds after the task first came here.
        """
        return self._needed().wait_event(name, None if timeout is None else _ms(timeout))

    async def await_event(self, name: str, /, timeout: Seconds | None = None) -> Any:
        """`wait_event` for asyncio."""
        ms = None if timeout is None else _ms(timeout)
        return await asyncio.to_thread(self._needed().wait_event, name, ms)

    @overload
    def gather(
        self, name: str, calls: Iterable[CallOf[T]], /, *, return_exceptions: Literal[False] = ...
    ) -> list[T]: ...
    @overload
    def gather(
        self, name: str, calls: Iterable[CallOf[T]], /, *, return_exceptions: bool
    ) -> list[T | PyxqueueError]: ...
    def gather(self, name: str, calls: Iterable[CallOf[Any]], /, *, return_exceptions: bool = False) -> list[Any]:
        """Enqueue calls, ``task.of(...)``, wait without a worker until they have ended, and return their results in
        order. They are tasks of the same queue; of more than 256, the next ones start when those before have ended.

        If one did not succeed, raises its error, once all have ended; with `return_exceptions`, the error is in its
        place.
        """
        return self._needed().gather(name, _listed(calls), errors_too=return_exceptions)

    @overload
    async def agather(
        self, name: str, calls: Iterable[CallOf[T]], /, *, return_exceptions: Literal[False] = ...
    ) -> list[T]: ...
    @overload
    async def agather(
        self, name: str, calls: Iterable[CallOf[T]], /, *, return_exceptions: bool
    ) -> list[T | PyxqueueError]: ...
    async def agather(
        self, name: str, calls: Iterable[CallOf[Any]], /, *, return_exceptions: bool = False
    ) -> list[Any]:
        """`gather` for asyncio."""
        steps, listed = self._needed(), _listed(calls)
        return await asyncio.to_thread(lambda: steps.gather(name, listed, errors_too=return_exceptions))

    def cursor(self, default: Any = None) -> Any:
        """Return what an earlier run has saved with `save`, or `default`: where a loop is to go on. It may take a round
        trip; in an ``async def`` task use ``await asyncio.to_thread(task.cursor)``."""
        steps = None if self._open_steps is None else self._open_steps()
        stored = None if steps is None else steps.cursor()
        return default if stored is None else stored.value

    def save(self, cursor: Any, /) -> None:
        """Note how far a loop is. It is cheap: the last value is stored every 5 s, with the next step, and when the
        task stops, fails or waits. When its worker stops, the task ends here and resumes elsewhere.

        What was done since the last stored value is done again if the process dies.
        """
        if self._open_steps is not None:
            self._open_steps().save(cursor)

    async def asave(self, cursor: Any, /) -> None:
        """`save` for asyncio."""
        if self._open_steps is not None:
            await asyncio.to_thread(self._open_steps().save, cursor)

    def _steps(self, name: str, function: Callable[..., Any]) -> RunSteps | None:
        """Return the steps of this run; None in `Task.call`, where nothing is stored."""
        if hasattr(function, "with_options"):
            raise ConfigurationError(
                f"the step {quoted(name)} is a task, which a call would only enqueue: give its method call to run it "
                f"here, or use task.gather to let a worker run it"
            )
        return None if self._open_steps is None else self._open_steps()

    def _needed(self) -> RunSteps:
        if self._open_steps is None:
            raise ConfigurationError(
                "a task can only wait in a worker or in eager mode: enqueue it, instead of task.call(...)"
            )
        return self._open_steps()


def _listed(calls: Iterable[CallOf[Any]]) -> list[CallOf[Any]]:
    if not isinstance(calls, Iterable):
        raise ConfigurationError(f"gather takes a list of calls, [task.of(...)], not {quoted(calls)}")
    return list(calls)


def _ms(seconds: Seconds) -> int:
    given = optional_seconds(seconds)
    if not isinstance(given, int | float) or not 0 <= given < 1e10:
        raise ConfigurationError(f"{quoted(seconds)} is not a duration: give seconds, 0 or more, or a timedelta")
    return milliseconds(given)
