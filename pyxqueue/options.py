"""The options of a task and of a call. Each is one field here: its name, type, default, check and documentation.

`takes_options` gives a function the fields of one of these classes as keyword parameters, for type checkers and for
`help`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Concatenate, TypeVar, cast

from attrs import Attribute, field, frozen, validators
from typing_extensions import ParamSpec

from .clock import in_seconds, optional_seconds
from .errors import ConfigurationError
from .model.message import valid_id
from .printable import quoted
from .serializers.tags import is_encodable

Fields = ParamSpec("Fields")
S = TypeVar("S")
R = TypeVar("R")

ErrorTypes = type[BaseException] | tuple[type[BaseException], ...]

MAX_SECONDS = 1e10
"""No pause, limit or time to live can be this long (three centuries)."""


def whole_number(least: int) -> Callable[[object, Attribute[Any], object], None]:
    """A validator for attrs."""

    def check(_instance: object, attribute: Attribute[Any], value: object) -> None:
        if not isinstance(value, int) or value < least:
            raise ValueError(f"{attribute.name}={quoted(value)} must be a whole number, {least} or more")

    return check


def seconds(_instance: object, attribute: Attribute[Any], value: object) -> None:
    """A validator for attrs."""
    if not isinstance(value, int | float) or not 0 <= value < MAX_SECONDS:
        raise ValueError(f"{attribute.name}={quoted(value)} must be a number of seconds, 0 or more")


def _duration(_instance: object, attribute: Attribute[Any], value: object) -> None:
    if not isinstance(value, int | float) or not 0 < value < MAX_SECONDS:
        raise ValueError(f"{attribute.name}={quoted(value)} must be a number of seconds, more than 0")


def _part(_instance: object, attribute: Attribute[Any], value: object) -> None:
    if not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"{attribute.name}={quoted(value)} must be a number from 0 to 1")


def _text_pairs(_instance: object, attribute: Attribute[Any], value: object) -> None:
    texts = [text for pair in value.items() for text in pair] if isinstance(value, Mapping) else [None]
    if not all(isinstance(text, str) and is_encodable(text) for text in texts):
        raise ValueError(f"{attribute.name}= must map texts to texts")  # what they hold may be secret


def _error_types(given: ErrorTypes) -> tuple[type[BaseException], ...]:
    types = given if isinstance(given, tuple) else (given,)
    for one in types:
        if not (isinstance(one, type) and issubclass(one, BaseException)):
            raise TypeError(f"{quoted(one)} is not an exception type")
    return types


@frozen(kw_only=True)
class TaskOptions:
    """The options of ``@queue.task``. Times are in seconds, or a `timedelta`."""

    name: str | None = None
    """The name under which workers find the task; by default its import path."""
    retries: int = field(default=0, validator=whole_number(0))
    """How often it is run again after a failure; 0 is one run only."""
    backoff: float = field(default=1.0, converter=in_seconds, validator=seconds)
    """The pause before the first retry; each further one doubles it."""
    backoff_max: float = field(default=600.0, converter=in_seconds, validator=seconds)
    """The longest pause before a retry."""
    jitter: float = field(default=0.5, validator=_part)
    """The part of each pause that is random, so that a thousand failures do not come back in one moment."""
    retry_on: tuple[type[BaseException], ...] = field(default=(Exception,), converter=_error_types)
    """The exception types after which it is retried."""
    give_up_on: tuple[type[BaseException], ...] = field(default=(), converter=_error_types)
    """The exception types after which it is not, whatever `retry_on` says."""
    max_crashes: int = field(default=3, validator=whole_number(0))
    """How often it may kill the process it runs in before it fails."""
    timeout: float | None = field(default=None, converter=optional_seconds, validator=validators.optional(_duration))
    """Soft limit: `TimeLimitExceeded` is raised inside the task."""
    hard_timeout: float | None = field(
        default=None, converter=optional_seconds, validator=validators.optional(_duration)
    )
    """Hard limit: the worker process is killed and replaced. By default `timeout` + 10 s, where there is one."""
    result_ttl: float = field(default=86_400.0, converter=in_seconds, validator=_duration)
    """How long its result can be read; a day by default."""

    @property
    def hard_limit(self) -> float | None:
        """Seconds after which the process is killed, or None."""
        if self.hard_timeout is not None:
            return self.hard_timeout
        return None if self.timeout is None else self.timeout + 10.0

    @property
    def reminder(self) -> float | None:
        """Seconds after which a task that goes on after its `timeout` is told once more; None for never."""
        if self.timeout is None or self.hard_limit is None or self.hard_limit <= self.timeout:
            return None
        return (self.timeout + self.hard_limit) / 2

    def pause(self, attempt: int, chance: float) -> float:
        """Seconds between the failure of run number `attempt` and the next run.

        At most ``min(backoff_max, backoff * 2 ** (attempt - 1))``, at least ``1 - jitter`` of that.
        """
        full = min(self.backoff_max, self.backoff * 2.0 ** min(attempt - 1, 60))
        return full * (1 - self.jitter * chance)


@frozen(kw_only=True)
class CallOptions:
    """The options of one call: `Task.with_options`."""

    delay: float | None = field(default=None, converter=optional_seconds, validator=validators.optional(seconds))
    """How long it waits before it may run, by the store's clock: seconds, or a `timedelta`."""
    eta: datetime | None = None
    """The moment before which it does not run, with a time zone; turned into a delay by this machine's clock."""
    task_id: str | None = None
    """An id of your own, at most 64 of ``[A-Za-z0-9_.-]``: enqueueing an id twice runs it once."""
    headers: Mapping[str, str] | None = field(default=None, validator=validators.optional(_text_pairs))
    """Text pairs that travel with the message."""

    def __attrs_post_init__(self) -> None:
        if self.eta is not None and not isinstance(self.eta, datetime):
            raise ValueError(f"eta={quoted(self.eta)} must be a datetime")
        if self.eta is not None and self.delay is not None:
            raise ConfigurationError("give either delay= or eta=, not both")
        if self.eta is not None and self.eta.tzinfo is None:
            raise ConfigurationError("eta= needs a time zone: datetime.now(timezone.utc) + timedelta(...)")
        if self.task_id is not None:
            valid_id(self.task_id)


def takes_options(
    options: Callable[Fields, object],
) -> Callable[[Callable[[S], R]], Callable[Concatenate[S, Fields], R]]:
    """Decorates a method that takes the fields of the class `options` by name, and nothing else."""

    def decorate(method: Callable[[S], R]) -> Callable[Concatenate[S, Fields], R]:
        receiver = next(iter(inspect.signature(method).parameters.values()))
        taken = inspect.signature(options).parameters.values()
        vars(method)["__signature__"] = inspect.signature(method).replace(parameters=[receiver, *taken])
        return cast("Callable[Concatenate[S, Fields], R]", method)

    return decorate
