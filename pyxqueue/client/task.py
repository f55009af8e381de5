"""A task: a function, its name and its options; and the registry that finds it by that name."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Generic, Never, TypeVar, cast

from typing_extensions import ParamSpec

from ..context import TaskContext, enter, leave
from ..errors import ConfigurationError
from ..model.message import NAME_PATTERN
from ..names import Unique, home_or_error, load, qualified_name
from ..options import CallOptions, TaskOptions, takes_options
from ..printable import quoted
from ..registry import TaskSpec
from .habits import TASK_HABITS, explains_options, no_attribute
from .producing import Producer
from .result import AsyncResult

P = ParamSpec("P")
R = TypeVar("R")


class Task(Unique, Generic[P, R]):
    """A registered function. Calling it enqueues a call and returns the handle at once."""

    def __init__(self, function: Callable[P, Any], name: str, options: TaskOptions, producer: Producer) -> None:
        functools.update_wrapper(self, function)  # first: attributes of the function may have the names of ours
        self.function = function
        self.name = name
        self.options = options
        self.call_options = CallOptions()
        self._spec = TaskSpec(name, function, options)
        self._producer = producer
        self._origin: Task[P, R] = self

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R]:
        """Enqueue one call. Raises `ArgumentError` for arguments the function does not take, `SerializationError` for
        values the serializer does not carry, `BrokerUnavailableError` if the store cannot be reached."""
        self._spec.signature.check(args, kwargs)
        return cast("AsyncResult[R]", self._producer.enqueue(self._spec, [(args, kwargs)], self.call_options)[0])

    enqueue = __call__

    async def aenqueue(self, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R]:
        """`enqueue` for asyncio: the loop is not blocked."""
        self._spec.signature.check(args, kwargs)
        return cast(
            "AsyncResult[R]",
            (await self._producer.aenqueue(self._spec, [(args, kwargs)], self.call_options))[0],
        )

    def map(
        self,
        calls: Iterable[Sequence[Any] | Mapping[str, Any]],
        /,
        *,
        task_ids: Iterable[str] | None = None,
        **common: Any,
    ) -> list[AsyncResult[R]]:
        """Enqueue one call per item of `calls`, in few round trips: each is a sequence of arguments, or a mapping of
        named ones.

        `task_ids`, an id of your own for each; `common`, named arguments that all calls have. Of a list all calls are
        checked first, and nothing is enqueued if one of them does not fit the function. An iterator is enqueued as it
        goes, 256 calls at a time; where one of them is refused, those before its batch are enqueued, as a note on the
        error says.
        """
        handles: list[AsyncResult[R]] = []
        with self._mapping(handles):
            for batch, ids in self._spec.signature.batches(calls, task_ids, common):
                handles += self._producer.enqueue(self._spec, batch, self.call_options, ids)
        return handles

    async def amap(
        self,
        calls: Iterable[Sequence[Any] | Mapping[str, Any]],
        /,
        *,
        task_ids: Iterable[str] | None = None,
        **common: Any,
    ) -> list[AsyncResult[R]]:
        """`map` for asyncio: the loop is not blocked."""
        handles: list[AsyncResult[R]] = []
        with self._mapping(handles):
            for batch, ids in self._spec.signature.batches(calls, task_ids, common):
                handles += await self._producer.aenqueue(self._spec, batch, self.call_options, ids)
        return handles

    @contextmanager
    def _mapping(self, handles: Sequence[AsyncResult[R]]) -> Iterator[None]:
        """One id is not for many calls; and an error says how many were enqueued before it."""
        if self.call_options.task_id is not None:
            raise ConfigurationError("map() makes many tasks, which cannot share one task_id=: give it task_ids=")
        try:
            yield
        except BaseException as error:
            if handles:
                error.add_note(f"{len(handles)} calls of {self.name} were enqueued before, up to {handles[-1].task_id}")
            raise

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

    @takes_options(CallOptions)
    @explains_options(CallOptions)
    def with_options(self, **options: Any) -> Task[P, R]:
        """The same task with these options, and no others, for the next calls; this one is left as it is.

        Its parameters are the fields of `CallOptions`. Raises `ConfigurationError` for an option that cannot be used.
        """
        copy: Task[P, R] = Task(self.function, self.name, self.options, self._producer)
        try:
            copy.call_options = CallOptions(**options)
        except (TypeError, ValueError) as error:
            raise ConfigurationError(f"{self.name}.with_options: {error}") from error
        copy._origin = self._origin
        return copy

    def __repr__(self) -> str:
        return f"<Task {self.name}>"

    def __reduce__(self) -> tuple[Any, ...]:
        """By name, as functions are pickled: whoever loads it needs the module, and finds its own task there."""
        module, name = home_or_error(self._origin, self.function.__module__, self.function)
        return _found, (module, name, self.call_options)

    if not TYPE_CHECKING:  # a type checker must not think that there are more attributes

        def __getattr__(self, name: str) -> Never:
            raise no_attribute(self, name, TASK_HABITS, self.name.rpartition(".")[2])


def _found(module: str, name: str, options: CallOptions) -> Task[..., Any]:
    """The task that was pickled by this name, with its options."""
    task: Task[..., Any] = load(module, name)
    if options == task.call_options:
        return task
    copy = task.with_options()
    copy.call_options = options
    return copy


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


def task_name(function: Callable[..., Any], given: str | None) -> str:
    """The name a function is registered and found under: its import path, also when its file runs as a script.

    Raises `ConfigurationError` for something that has no usable name.
    """
    if given is not None:
        if not NAME_PATTERN.fullmatch(given):
            raise ConfigurationError(f"task name {quoted(given)} is not valid: use 1 to 200 letters, digits, _ . < > -")
        return given
    if "<lambda>" in getattr(function, "__qualname__", ""):
        raise ConfigurationError(
            f"{quoted(function)} has no name by which a worker could find it: use def, or give one: "
            f"@queue.task(name=...)"
        )
    return qualified_name(function)
