"""``@queue.task``: makes a registered task of a function and options."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, overload

from attrs import fields
from typing_extensions import ParamSpec

from ..codec import Codec
from ..errors import ArgumentError, ConfigurationError
from ..options import TaskOptions
from ..printable import quoted
from ..registry import Registry
from ..serializers import TaggedSerializer
from .habits import TASK_OPTION_HABITS, instead
from .producing import Producer
from .task import Task, spec_of, task_name

P = ParamSpec("P")
R = TypeVar("R")


class TaskDecorator:
    """The decorator that ``queue.task(...)`` returns."""

    def __init__(
        self,
        codec: Codec,
        registry: Registry,
        producer: Producer,
        **options: Any,
    ) -> None:
        self._codec = codec
        self._registry = registry
        self._producer = producer
        known = [field.name for field in fields(TaskOptions)]
        try:
            if unknown := sorted(set(options).difference(known)):
                hint = instead(unknown, known, TASK_OPTION_HABITS)
                raise ValueError(f"unknown option {', '.join(unknown)}{hint}; the options are {', '.join(known)}")
            self._options = TaskOptions(**options)
        except (TypeError, ValueError) as error:
            raise ConfigurationError(f"@queue.task({options.get('name') or ''}...): {error}") from error

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]]) -> Task[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R]) -> Task[P, R]: ...
    def __call__(self, function: Callable[..., Any]) -> Any:
        _check(function)
        task: Task[..., Any] = Task(function, task_name(function, self._options.name), self._options, self._producer)
        for serializer in self._codec.serializers.values():
            if isinstance(serializer, TaggedSerializer):
                serializer.register_annotations(function)
        if self._options.plan is not None:
            _check_callable_alone(task)
        self._registry.add(spec_of(task))
        return task


def _check_callable_alone(task: Task[..., Any]) -> None:
    """Raise `ConfigurationError` if a task that runs by itself needs arguments."""
    try:
        spec_of(task).signature.check((), {})
    except ArgumentError as error:
        raise ConfigurationError(
            f"{task.name} runs by itself, without arguments: give its parameters defaults, or make the schedule with "
            f"queue.schedules.upsert(id, {task.name.rpartition('.')[2]}, ...), which takes arguments ({error})"
        ) from error


def _check(function: object) -> None:
    """Raise `ConfigurationError` if a worker could not call `function` as a task."""
    if isinstance(function, Task):
        raise ConfigurationError(f"{function} is a task already; for another queue, decorate its .function")
    if not callable(function):
        raise ConfigurationError(
            f"@queue.task decorates functions, not {quoted(function)}; give options by name, @queue.task(retries=3)"
        )
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise ConfigurationError(f"{quoted(function)} is a generator, but a task has one result: return a list instead")
    owner = getattr(function, "__qualname__", "").rpartition(".")[0]
    if owner and not owner.endswith("<locals>") and next(iter(inspect.signature(function).parameters), "") == "self":
        raise ConfigurationError(
            f"{quoted(function)} is a method, and a worker does not have an object to call it on: decorate a function "
            f"that creates or finds the object"
        )
