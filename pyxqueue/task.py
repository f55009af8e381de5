"""A task: a function, its name and its options; and the registry that finds it by that name."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar, cast

from attrs import Attribute, field, frozen, validators
from typing_extensions import ParamSpec

from .context import TaskContext, enter, leave
from .errors import ArgumentError, ConfigurationError, DuplicateTaskError
from .message import NAME_PATTERN, valid_id
from .names import qualified_name
from .policy import MAX_SECONDS, RetryPolicy, seconds
from .result import AsyncResult
from .serializers.tags import is_encodable

P = ParamSpec("P")
R = TypeVar("R")
Call = tuple[Sequence[Any], Mapping[str, Any]]
"""The arguments of one call, by position and by name."""


def _duration(_instance: object, attribute: Attribute[Any], value: object) -> None:
    if not isinstance(value, int | float) or not 0 < value < MAX_SECONDS:
        raise ValueError(f"{attribute.name}={value!r} must be a number of seconds, more than 0")


@frozen
class TaskOptions:
    """What a worker needs to know to run a task, beside its function. Times in seconds."""

    policy: RetryPolicy = RetryPolicy()
    retry_on: tuple[type[BaseException], ...] = (Exception,)
    give_up_on: tuple[type[BaseException], ...] = ()
    timeout: float | None = field(default=None, validator=validators.optional(_duration))
    """Soft limit: `TimeLimitExceeded` is raised inside the task."""
    hard_timeout: float | None = field(default=None, validator=validators.optional(_duration))
    """Hard limit: the worker process is killed and replaced. By default `timeout` + 10 s, where there is one."""
    result_ttl: float = field(default=86_400.0, validator=_duration)
    """How long the result can be read."""

    @property
    def hard_limit(self) -> float | None:
        """Seconds after which the process is killed, or None."""
        if self.hard_timeout is not None:
            return self.hard_timeout
        return None if self.timeout is None else self.timeout + 10.0


def _text_pairs(_instance: object, attribute: Attribute[Any], value: Mapping[str, str]) -> None:
    texts = [text for pair in value.items() for text in pair] if isinstance(value, Mapping) else [None]
    if not all(isinstance(text, str) and is_encodable(text) for text in texts):
        raise ValueError(f"{attribute.name}={value!r} must map texts to texts")


@frozen
class CallOptions:
    """What can differ from call to call."""

    delay: float | None = field(default=None, validator=validators.optional(seconds))
    """Seconds from now, by the store's clock."""
    eta: datetime | None = None
    """A moment with a time zone; turned into a delay by this machine's clock."""
    task_id: str | None = None
    headers: Mapping[str, str] | None = field(default=None, validator=validators.optional(_text_pairs))

    def __attrs_post_init__(self) -> None:
        if self.eta is not None and not isinstance(self.eta, datetime):
            raise ValueError(f"eta={self.eta!r} must be a datetime")
        if self.eta is not None and self.delay is not None:
            raise ConfigurationError("give either delay= or eta=, not both")
        if self.eta is not None and self.eta.tzinfo is None:
            raise ConfigurationError("eta= needs a time zone: datetime.now(timezone.utc) + timedelta(...)")
        if self.task_id is not None:
            valid_id(self.task_id)


class Submit(Protocol):
    """What a task needs from its queue: take these calls and answer their handles. Injected, so that tasks know no
    queue."""

    def enqueue(self, task: Task[..., Any], calls: Sequence[Call], options: CallOptions) -> list[AsyncResult[Any]]: ...

    def aenqueue(
        self, task: Task[..., Any], calls: Sequence[Call], options: CallOptions
    ) -> Awaitable[list[AsyncResult[Any]]]: ...


class Task(Generic[P, R]):
    """A registered function. Calling it enqueues a call and returns the handle at once."""

    def __init__(self, function: Callable[P, Any], name: str, options: TaskOptions, submit: Submit) -> None:
        functools.update_wrapper(self, function)  # first: attributes of the function may have the names of ours
        self.function = function
        self.name = name
        self.options = options
        self.call_options = CallOptions()
        self._submit = submit
        self._signature = inspect.signature(function)
        self._positional = _plain_arity(self._signature)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R]:
        """Enqueue one call. Raises `ArgumentError` for arguments the function does not take, `SerializationError` for
        values the serializer does not carry, `BrokerUnavailableError` if the store cannot be reached."""
        self._check(args, kwargs)
        return cast("AsyncResult[R]", self._submit.enqueue(self, [(args, kwargs)], self.call_options)[0])

    enqueue = __call__

    async def aenqueue(self, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R]:
        """`enqueue` for asyncio: the loop is not blocked."""
        self._check(args, kwargs)
        return cast("AsyncResult[R]", (await self._submit.aenqueue(self, [(args, kwargs)], self.call_options))[0])

    def map(self, calls: Iterable[Sequence[Any]]) -> list[AsyncResult[R]]:
        """Enqueue one call per item of `calls`, each a sequence of positional arguments, in few round trips.

        Nothing is enqueued if one of them does not fit the function.
        """
        listed: list[Call] = []
        for args in calls:
            if isinstance(args, str | bytes) or not isinstance(args, Sequence):
                raise ArgumentError(
                    f"{self.name}.map() takes sequences of arguments: [(1,), (2,)], not [{args!r}, ...]"
                )
            self._check(args, {})
            listed.append((args, {}))
        if listed and self.call_options.task_id is not None:
            raise ConfigurationError("map() makes many tasks: they cannot share one task_id=")
        return self._submit.enqueue(self, listed, self.call_options)

    def call(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the function here and now; nothing is enqueued. An ``async def`` returns its coroutine.

        `current_task` works in it, with an empty id; what it says about its progress goes nowhere.
        """
        token = enter(_nowhere(self.name))
        try:
            value = self.function(*args, **kwargs)
        finally:
            leave(token)
        return cast(R, _local(self.name, value) if inspect.iscoroutine(value) else value)

    def with_options(
        self,
        *,
        delay: float | None = None,
        eta: datetime | None = None,
        task_id: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Task[P, R]:
        """The same task with these options, and no others, for the next calls; this one is left as it is.

        Parameters: `delay`, seconds; `eta`, an aware datetime; `task_id`, your own id, at most 64 of
        ``[A-Za-z0-9_.-]``: enqueueing an id twice runs it once; `headers`, text pairs that travel with the message.
        Raises `ConfigurationError` for an option that cannot be used.
        """
        copy: Task[P, R] = Task(self.function, self.name, self.options, self._submit)
        try:
            copy.call_options = CallOptions(delay, eta, task_id, headers)
        except (TypeError, ValueError) as error:
            raise ConfigurationError(f"{self.name}.with_options: {error}") from error
        return copy

    def __repr__(self) -> str:
        return f"<Task {self.name}>"

    def _check(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Bind as Python would; the usual case of plain positional arguments is only counted."""
        if not kwargs and self._positional and self._positional[0] <= len(args) <= self._positional[1]:
            return
        try:
            self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise ArgumentError(f"{self.name}{self._signature} cannot take this call: {error}") from None


def _nowhere(name: str) -> TaskContext:
    """The context of a task that runs here, outside of any queue."""
    return TaskContext("", name, 1, "", {}, lambda _progress: None)


async def _local(name: str, coroutine: Coroutine[Any, Any, R]) -> R:
    """Await a coroutine function that `Task.call` was asked to run, in a context like the one of plain functions."""
    token = enter(_nowhere(name))
    try:
        return await coroutine
    finally:
        leave(token)


def _plain_arity(signature: inspect.Signature) -> tuple[int, int] | None:
    """How many positional arguments fit, if the signature has nothing but plain parameters."""
    parameters = signature.parameters.values()
    if any(p.kind not in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters):
        return None
    return sum(p.default is p.empty for p in parameters), len(parameters)


def task_name(function: Callable[..., Any], given: str | None) -> str:
    """The name a function is registered and found under: its import path, also when its file runs as a script.

    Raises `ConfigurationError` for something that has no usable name.
    """
    if given is not None:
        if not NAME_PATTERN.fullmatch(given):
            raise ConfigurationError(f"task name {given!r} is not valid: use 1 to 200 letters, digits, _ . < > -")
        return given
    if "<lambda>" in getattr(function, "__qualname__", ""):
        raise ConfigurationError(
            f"{function!r} has no name by which a worker could find it: use def, or give one: @queue.task(name=...)"
        )
    return qualified_name(function)


class Registry:
    """The tasks of one queue by name."""

    def __init__(self) -> None:
        self._tasks: dict[str, Task[..., Any]] = {}

    def add(self, task: Task[..., Any]) -> None:
        """Raises `DuplicateTaskError` if another function has the name. A REPL may define a function again."""
        known = self._tasks.get(task.name)
        if known is not None and not _same_place(known.function, task.function):
            raise DuplicateTaskError(
                f"the task name {task.name!r} is taken by {_place(known.function)}; rename {_place(task.function)}, or "
                f"give it a name of its own: @queue.task(name=...)"
            )
        self._tasks[task.name] = task

    def get(self, name: str) -> Task[..., Any] | None:
        return self._tasks.get(name)

    def __iter__(self) -> Iterator[Task[..., Any]]:
        return iter(self._tasks.values())

    def __len__(self) -> int:
        return len(self._tasks)


def _place(function: Callable[..., Any]) -> str:
    code = getattr(inspect.unwrap(function), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else repr(function)


def _same_place(one: Callable[..., Any], other: Callable[..., Any]) -> bool:
    """The same source line (its module was loaded again), or typed anew where there is no file."""
    file = getattr(getattr(other, "__code__", None), "co_filename", "")
    interactive = other.__module__ == "__main__" and (file.startswith("<") or re.search(r"ipykernel_\d+", file))
    return _place(one) == _place(other) or bool(interactive)
