"""``@queue.task``: from a function and options to a registered task."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, overload

from attrs import fields
from typing_extensions import ParamSpec

from .clock import Seconds
from .codec import Codec
from .errors import ConfigurationError
from .habits import TASK_OPTION_HABITS, instead
from .policy import RetryPolicy
from .printable import quoted
from .producing import Producer
from .serializers import TaggedSerializer
from .task import Registry, Task, TaskOptions, task_name

P = ParamSpec("P")
R = TypeVar("R")
ErrorTypes = type[BaseException] | tuple[type[BaseException], ...]
_POLICY = [field.name for field in fields(RetryPolicy)]
_OPTIONS = ["name", *_POLICY, "retry_on", "give_up_on", "timeout", "hard_timeout", "result_ttl"]


class TaskDecorator:
    """``@queue.task(...)`` with options, on its way to a function."""

    def __init__(
        self,
        codec: Codec,
        registry: Registry,
        producer: Producer,
        *,
        name: str | None = None,
        retry_on: ErrorTypes = Exception,
        give_up_on: ErrorTypes = (),
        timeout: Seconds | None = None,
        hard_timeout: Seconds | None = None,
        result_ttl: Seconds = 86_400.0,
        **policy: Any,
    ) -> None:
        self._codec = codec
        self._registry = registry
        self._producer = producer
        self._name = name
        try:
            if unknown := sorted(set(policy).difference(_POLICY)):
                hint = instead(unknown, _OPTIONS, TASK_OPTION_HABITS)
                raise ValueError(f"no option {', '.join(unknown)}{hint}; there are {', '.join(_OPTIONS)}")
            self._options = TaskOptions(
                RetryPolicy(**policy), _types(retry_on), _types(give_up_on), timeout, hard_timeout, result_ttl
            )
        except (TypeError, ValueError) as error:
            raise ConfigurationError(f"@queue.task({name or ''}...): {error}") from error

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]]) -> Task[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R]) -> Task[P, R]: ...
    def __call__(self, function: Callable[..., Any]) -> Any:
        _check(function)
        task: Task[..., Any] = Task(function, task_name(function, self._name), self._options, self._producer)
        for serializer in self._codec.serializers.values():
            if isinstance(serializer, TaggedSerializer):
                serializer.register_annotations(function)
        self._registry.add(task)
        return task


def _check(function: object) -> None:
    """Raises `ConfigurationError` for what a worker could not call, or would call in vain."""
    if isinstance(function, Task):
        raise ConfigurationError(f"{function} is a task already; for another queue, decorate its .function")
    if not callable(function):
        raise ConfigurationError(f"@queue.task decorates functions, not {quoted(function)}; options are keywords")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise ConfigurationError(f"{quoted(function)} is a generator, and a task has one result: return a list instead")
    owner = getattr(function, "__qualname__", "").rpartition(".")[0]
    if owner and not owner.endswith("<locals>") and next(iter(inspect.signature(function).parameters), "") == "self":
        raise ConfigurationError(
            f"{quoted(function)} is a method, and a worker has no object to call it on: decorate a function that makes "
            f"or "
            f"finds the object"
        )


def _types(given: ErrorTypes) -> tuple[type[BaseException], ...]:
    types = given if isinstance(given, tuple) else (given,)
    for one in types:
        if not (isinstance(one, type) and issubclass(one, BaseException)):
            raise TypeError(f"{quoted(one)} is no exception type")
    return types
