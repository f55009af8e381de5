"""`Task`, a function with the name and the options under which workers run it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Generic, Never, TypeVar, cast

from attrs import asdict
from typing_extensions import ParamSpec

from ..context import TaskContext, enter, leave
from ..errors import ConfigurationError, QueueFullError
from ..model.message import NAME_PATTERN
from ..names import Unique, home_or_error, load, qualified_name
from ..options import CallOptions, TaskOptions, check_guard, takes_options
from ..printable import quoted
from ..registry import TaskSpec
from ..steps import Child
from .habits import TASK_HABITS, explains_options, no_attribute
from .producing import Producer
from .result import AsyncResult

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class Task(Unique, Generic[P, R]):
    """A registered function. Calling it enqueues a call and returns its handle at once."""

    def __init__(self, function: Callable[P, Any], name: str, options: TaskOptions, producer: Producer) -> None:
        functools.update_wrapper(self, function)  # first, so that attributes of the function do not replace ours
        self.function = function
        self.name = name
        self.options = options
        self.call_options = CallOptions()
        self._spec = TaskSpec(name, function, options)
        self._guard = options.guard
        options.check(name, self._spec.signature)
        self._producer = producer
        self._origin: Task[P, R] = self

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R]:
        """Enqueue one call. Raises `ArgumentError` for arguments that the function does not take, `SerializationError`
        for values that the serializer does not support, `BrokerUnavailableError` if the store cannot be reached,
        `QueueFullError` if the queue has `max_length=` and is full."""
        self._spec.signature.check(args, kwargs)
        return self._producer.enqueue(self._spec, [(args, kwargs)], self.call_options, None, self._guard)[0]

    enqueue = __call__

    async def aenqueue(self, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R]:
        """`enqueue` for asyncio. It does not block the event loop."""
        self._spec.signature.check(args, kwargs)
        return (await self._producer.aenqueue(self._spec, [(args, kwargs)], self.call_options, None, self._guard))[0]

    def map(
        self,
        calls: Iterable[Sequence[Any] | Mapping[str, Any]],
        /,
        *,
        task_ids: Iterable[str] | None = None,
        **common: Any,
    ) -> list[AsyncResult[R]]:
        """Enqueue one call for each item of `calls`, in few round trips. An item is a sequence of arguments, or a
        mapping of named arguments.

        `task_ids`: an id of your own for each call; `common`: named arguments for all calls. If `calls` is a list, all
        calls are checked first, and nothing is enqueued if one of them does not fit the function. The calls of an
        iterator are enqueued 256 at a time; if one is refused, earlier batches are enqueued already, and a note on the
        error says so.
        """
        handles: list[AsyncResult[R]] = []
        with self._mapping(handles):
            for batch, ids in self._spec.signature.batches(calls, task_ids, common):
                handles += self._producer.enqueue(self._spec, batch, self.call_options, ids, self._guard)
        return handles

    async def amap(
        self,
        calls: Iterable[Sequence[Any] | Mapping[str, Any]],
        /,
        *,
        task_ids: Iterable[str] | None = None,
        **common: Any,
    ) -> list[AsyncResult[R]]:
        """`map` for asyncio. It does not block the event loop."""
        handles: list[AsyncResult[R]] = []
        with self._mapping(handles):
            for batch, ids in self._spec.signature.batches(calls, task_ids, common):
                handles += await self._producer.aenqueue(self._spec, batch, self.call_options, ids, self._guard)
        return handles

    @contextmanager
    def _mapping(self, handles: Sequence[AsyncResult[R]]) -> Iterator[None]:
        """Raise `ConfigurationError` if the options have one id for all calls; add to any error how many calls were
        enqueued before it."""
        if self.call_options.task_id is not None:
            raise ConfigurationError("the tasks of map() cannot share one task_id=: give map() task_ids= instead")
        try:
            yield
        except BaseException as error:
            ids = [handle.task_id for handle in handles]
            if isinstance(error, QueueFullError):
                ids += error.ids
                error.ids = tuple(ids)
            if ids:
                error.add_note(f"{len(ids)} calls of {self.name} were enqueued before, up to {ids[-1]}")
            raise

    def call(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function in this process without enqueueing it. An ``async def`` returns its coroutine.

        `current_task` works inside, with an empty id; progress that it reports is discarded.
        """
        token = enter(_local_context(self.name))
        try:
            value = self.function(*args, **kwargs)
        finally:
            leave(token)
        return cast(R, _local(self.name, value) if inspect.iscoroutine(value) else value)

    def of(self, *args: Any, **kwargs: Any) -> TaskCall[R]:
        """Return a call that is not enqueued, for `chain`, `group`, `chord`, flows and `gather`. The arguments may be
        some of the first ones: in a chain, the result of the task before comes before them."""
        return TaskCall(self, args, kwargs)

    @takes_options(CallOptions)
    @explains_options(CallOptions)
    def with_options(self, **options: Any) -> Task[P, R]:
        """Return a copy of the task whose calls have these options. The task itself does not change.

        The parameters are the fields of `CallOptions`. Raises `ConfigurationError` for an option that is not valid.
        """
        copy: Task[P, R] = Task(self.function, self.name, self.options, self._producer)
        try:
            copy.call_options = given = CallOptions(**options)
            copy._guard = given.guard or self.options.guard
            expires = self.options.expires if given.expires is None else given.expires
            times = {"delay": given.delay, "eta": given.eta, "expires": expires}
            check_guard(copy._guard, self.name, self._spec.signature, **times)
        except (TypeError, ValueError) as error:
            raise ConfigurationError(f"{self.name}.with_options: {error}") from error
        copy._origin = self._origin
        return copy

    def __repr__(self) -> str:
        return f"<Task {self.name}>"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the task by its name, as functions are. The process that loads it imports the module."""
        module, name = home_or_error(self._origin, self.function.__module__, self.function)
        return _found, (module, name, self.call_options)

    if not TYPE_CHECKING:  # a type checker must not think that there are more attributes

        def __getattr__(self, name: str) -> Never:
            raise no_attribute(self, name, TASK_HABITS, self.name.rpartition(".")[2])


class TaskCall(Generic[R_co]):
    """A call of a task that is not enqueued, for chain, group, chord, flows and gather: what `Task.of` returns."""

    def __init__(
        self, task: Task[..., R_co], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> None:
        self.task = task
        self.args = args
        self.kwargs = kwargs or {}

    def child(self, task_id: str) -> Child[R_co]:
        """Return the call as a task of the one that runs here, for `TaskContext.gather`. Raises `ConfigurationError`
        if the call may stand for another task, or has an id of its own."""
        task, spec = self.task, spec_of(self.task)
        spec.signature.check(self.args, self.kwargs)
        if task.call_options.guard or task.options.guard or task.call_options.task_id is not None:
            raise ConfigurationError(
                f"{task.name} is unique, debounced or throttled, or has an id of its own, so its call may stand for "
                f"another task: it cannot be gathered; call it in a step instead"
            )
        producer = producer_of(task)
        message = producer.message(spec, (self.args, self.kwargs), task.call_options, task_id)
        return Child(producer.codec.queue, message)

    def after_first(self, first: Sequence[Any]) -> TaskCall[R_co]:
        """Return the call with these arguments before its own."""
        return TaskCall(self.task, (*first, *self.args), self.kwargs)


def producer_of(task: Task[..., Any]) -> Producer:
    """Return the producer of the queue of a task, for other parts of pyxqueue."""
    return task._producer  # noqa: SLF001 - not for applications


def spec_of(task: Task[..., Any]) -> TaskSpec:
    """Return the definition of a task, for other parts of pyxqueue."""
    return task._spec  # noqa: SLF001 - not for applications


def _found(module: str, name: str, options: CallOptions) -> Task[..., Any]:
    """Return the task that was pickled by this name, with its options."""
    task: Task[..., Any] = load(module, name)
    if options == task.call_options:
        return task
    return task.with_options(**asdict(options, recurse=False))


def _local_context(name: str) -> TaskContext:
    """Return the context of a task that runs outside of any queue."""
    return TaskContext("", name, 1, "", {}, lambda _progress: None)


async def _local(name: str, coroutine: Coroutine[Any, Any, R]) -> R:
    """Await a coroutine of `Task.call` in the same context as a plain function."""
    token = enter(_local_context(name))
    try:
        return await coroutine
    finally:
        leave(token)


def task_name(function: Callable[..., Any], given: str | None) -> str:
    """Return the name of a task: `given`, or the import path of its function, also if its file runs as a script.

    Raises `ConfigurationError` if the function does not have a usable name.
    """
    if given is not None:
        if not isinstance(given, str) or not NAME_PATTERN.fullmatch(given):
            raise ConfigurationError(f"task name {quoted(given)} is not valid: use 1 to 200 letters, digits, _ . < > -")
        return given
    if "<lambda>" in getattr(function, "__qualname__", ""):
        raise ConfigurationError(
            f"{quoted(function)} does not have a name by which a worker can find it: use def, or give it a name, "
            f"@queue.task(name=...)"
        )
    return qualified_name(function)
