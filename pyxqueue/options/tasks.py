"""The options of a task and of a call. Each is one field here: its name, type, default, check and documentation.

`takes_options` gives a function the fields of one of these classes as keyword parameters, for type checkers and for
`help`.
"""

# ruff: noqa: PLC0415 - limits, schedules and unique tasks are imported by the first task that has such an option
from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Concatenate, Literal, TypeVar, cast, get_args

from attrs import Attribute, field, frozen, validators
from typing_extensions import ParamSpec

from ..clock import Seconds, in_seconds, optional_seconds
from ..errors import ConfigurationError
from ..model.message import valid_id
from ..model.priorities import HIGHEST, LOWEST
from ..printable import quoted
from ..serializers.tags import is_encodable
from .checks import duration, seconds, whole_number

if TYPE_CHECKING:
    from ..calls import Signature
    from .limits import Limit
    from .schedules import MissedOption, Plan
    from .uniqueness import Debounce, Guard, Throttle, Unique

Fields = ParamSpec("Fields")
S = TypeVar("S")
A = TypeVar("A")
R = TypeVar("R")

DurabilityOption = Literal["normal", "replica", "aof"]
ErrorTypes = type[BaseException] | tuple[type[BaseException], ...]

DEFAULT_GRACE = 25.0
"""For how many seconds tasks may go on after a signal to stop; under the 30 s after which common process managers kill.
"""
DEFAULT_WAIT_MS = 2_000
"""How long a worker waits for work in one request."""


def _priority(_instance: object, attribute: Attribute[Any], value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not LOWEST <= value <= HIGHEST:
        raise ValueError(f"{attribute.name}={quoted(value)} must be a whole number from {LOWEST} to {HIGHEST}")


def _lifetime(given: Seconds | datetime | None) -> float | datetime | None:
    return given if isinstance(given, datetime) else optional_seconds(given)


def _expiry(instance: object, attribute: Attribute[Any], value: object) -> None:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ConfigurationError("expires= needs a time zone, such as datetime.now(timezone.utc) + timedelta(...)")
        return
    duration(instance, attribute, value)


def _part(_instance: object, attribute: Attribute[Any], value: object) -> None:
    if not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"{attribute.name}={quoted(value)} must be a number from 0 to 1")


def _text_pairs(_instance: object, attribute: Attribute[Any], value: object) -> None:
    texts = [text for pair in value.items() for text in pair] if isinstance(value, Mapping) else [None]
    if not all(isinstance(text, str) and is_encodable(text) for text in texts):
        raise ValueError(f"{attribute.name}= must map texts to texts")  # without the values, which may be secret


def _error_types(given: ErrorTypes) -> tuple[type[BaseException], ...]:
    types = given if isinstance(given, tuple) else (given,)
    for one in types:
        if not (isinstance(one, type) and issubclass(one, BaseException)):
            raise TypeError(f"{quoted(one)} is not an exception type")
    return types


def _limits(given: Sequence[Limit] | Limit) -> tuple[Limit, ...]:
    if given == ():
        return ()
    from .limits import limits_option

    return limits_option(given)


def check_guard(guard: Guard | None, name: str, signature: Signature, **times: object) -> None:
    """Raise `ConfigurationError` if what makes calls of a task equal does not fit its parameters, or `times`, other
    options about its time."""
    if guard is not None:
        from .uniqueness import check_by, check_debounce

        check_by(guard, name, signature)
        check_debounce(guard, **times)


def _guard(options: TaskOptions | CallOptions) -> Guard | None:
    given = (options.unique, options.debounce, options.throttle)
    if given == (None, None, None):
        return None
    from .uniqueness import guard_of

    return guard_of(*given)


@frozen(kw_only=True)
class TaskOptions:
    """The options of ``@queue.task``. Times are in seconds, or a `timedelta`."""

    name: str | None = None
    """The name under which workers find the task; by default its import path."""
    retries: int = field(default=0, validator=whole_number(0))
    """How often the task is retried after a failure; 0 means one run only."""
    backoff: float = field(default=1.0, converter=in_seconds, validator=seconds)
    """The pause before the first retry; each further retry doubles it."""
    backoff_max: float = field(default=600.0, converter=in_seconds, validator=seconds)
    """The longest pause before a retry."""
    jitter: float = field(default=0.5, validator=_part)
    """The part of each pause that is random, so that many failed tasks are not retried at the same moment."""
    retry_on: tuple[type[BaseException], ...] = field(default=(Exception,), converter=_error_types)
    """The exception types after which the task is retried."""
    give_up_on: tuple[type[BaseException], ...] = field(default=(), converter=_error_types)
    """The exception types after which the task is not retried. They take precedence over `retry_on`."""
    max_crashes: int = field(default=3, validator=whole_number(0))
    """How often the process that runs the task may die before the task fails."""
    timeout: float | None = field(default=None, converter=optional_seconds, validator=validators.optional(duration))
    """Soft limit: `TimeLimitExceeded` is raised inside the task."""
    hard_timeout: float | None = field(
        default=None, converter=optional_seconds, validator=validators.optional(duration)
    )
    """Hard limit: the worker process is killed and replaced. By default `timeout` + 10 s, if there is a `timeout`."""
    result_ttl: float = field(default=86_400.0, converter=in_seconds, validator=duration)
    """How long the result can be read; a day by default."""
    expires: float | None = field(default=None, converter=optional_seconds, validator=validators.optional(duration))
    """How long after its call the task may still start. One that has not started then ends as CANCELLED."""
    priority: int = field(default=0, validator=_priority)
    """From -100 to 100: tasks of a higher priority class are started first. The classes are 50 and more, 1 to 49, 0,
    -49 to -1, and -50 and less."""
    unique: Unique | None = None
    """Calls that return the handle of an equal call instead of enqueueing another."""
    debounce: Debounce | None = None
    """Calls that become one task when no more of them follow."""
    throttle: Throttle | None = None
    """Calls that are dropped for some time after one that runs."""
    limits: tuple[Limit, ...] = field(default=(), converter=_limits)
    """How many of its calls may be ready or run at the same time, and how many start in a period, together or for each
    key."""
    cron: str | None = None
    """A cron expression with five fields, or a name such as ``@daily``: the task runs at these times by itself."""
    every: Seconds | None = None
    """An interval of at least a second instead: the task runs again and again. It is counted from the epoch, so that
    one of 5 minutes ticks at :00, :05 and so on."""
    timezone: str | None = None
    """The time zone of `cron`, such as ``"Europe/Berlin"``; UTC by default."""
    missed: MissedOption | None = None
    """What happens to ticks that were missed: ``"once"`` (the default), ``"skip"``, ``"all"``, or a `Missed`."""
    overlap: Literal["skip", "allow", "queue"] | None = None
    """What happens to a tick while the task of an earlier one has not ended: it is skipped (the default), runs beside
    it (``"allow"``), or waits for its end (``"queue"``)."""

    def __attrs_post_init__(self) -> None:
        _guard(self)
        if self.debounce is not None:
            from .uniqueness import check_debounce

            check_debounce(self.debounce, expires=self.expires)
        _ = self.plan

    def check(self, name: str, signature: Signature) -> None:
        """Raise `ConfigurationError` if the options do not fit the parameters of the task."""
        check_guard(self.guard, name, signature)
        if self.limits:
            from .limits import check_limits

            check_limits(self.limits, name, signature)

    @property
    def plan(self) -> Plan | None:
        """When the task runs by itself; None if it does not."""
        if (self.cron, self.every, self.timezone, self.missed, self.overlap) == (None,) * 5:
            return None
        from .schedules import plan_of

        return plan_of(self.cron, self.every, self.timezone, self.missed, self.overlap)

    @property
    def guard(self) -> Guard | None:
        """`unique`, `debounce` or `throttle`; None if the task has none of them."""
        return self.unique or self.debounce or self.throttle

    @property
    def hard_limit(self) -> float | None:
        """Seconds after which the worker process is killed, or None."""
        if self.hard_timeout is not None:
            return self.hard_timeout
        return None if self.timeout is None else self.timeout + 10.0

    @property
    def reminder(self) -> float | None:
        """Seconds after which a task that ignored its `timeout` is interrupted once more; None for never."""
        if self.timeout is None or self.hard_limit is None or self.hard_limit <= self.timeout:
            return None
        return (self.timeout + self.hard_limit) / 2

    def pause(self, attempt: int, chance: float) -> float:
        """Return the seconds between the failure of run number `attempt` and the next run.

        At most ``min(backoff_max, backoff * 2 ** (attempt - 1))``, at least ``1 - jitter`` of that.
        """
        full = min(self.backoff_max, self.backoff * 2.0 ** min(attempt - 1, 60))
        return full * (1 - self.jitter * chance)


@frozen(kw_only=True)
class CallOptions:
    """The options of one call: `Task.with_options`."""

    delay: float | None = field(default=None, converter=optional_seconds, validator=validators.optional(seconds))
    """How long the task waits before it may run, by the store's clock: seconds, or a `timedelta`."""
    eta: datetime | None = None
    """The moment before which the task does not run, with a time zone. This machine's clock turns it into a delay."""
    expires: float | datetime | None = field(default=None, converter=_lifetime, validator=validators.optional(_expiry))
    """How long after the call the task may still start: seconds, a `timedelta`, or a moment with a time zone. It
    replaces that of the task, and must be later than the delay."""
    task_id: str | None = None
    """An id of your own, at most 64 characters of ``[A-Za-z0-9_.-]``. A task whose id is enqueued twice runs once."""
    headers: Mapping[str, str] | None = field(default=None, validator=validators.optional(_text_pairs))
    """Pairs of text that are stored with the message."""
    priority: int | None = field(default=None, validator=validators.optional(_priority))
    """As the option of the task, which it replaces."""
    durability: DurabilityOption | None = field(
        default=None, validator=validators.optional(validators.in_(get_args(DurabilityOption)))
    )
    """Where the task must be before the call returns: on the Redis server (``"normal"``), on as many replicas as the
    queue's URL says (``"replica"``), in the server's append-only file (``"aof"``). It replaces that of the URL."""
    unique: Unique | None = None
    """As the option of the task. Any of these three replaces what the task has of them."""
    debounce: Debounce | None = None
    """As the option of the task."""
    throttle: Throttle | None = None
    """As the option of the task."""

    @property
    def guard(self) -> Guard | None:
        """`unique`, `debounce` or `throttle`; None if the call has none of them."""
        return self.unique or self.debounce or self.throttle

    def __attrs_post_init__(self) -> None:
        _guard(self)
        if self.eta is not None and not isinstance(self.eta, datetime):
            raise ValueError(f"eta={quoted(self.eta)} must be a datetime")
        if self.eta is not None and self.delay is not None:
            raise ConfigurationError("give either delay= or eta=, not both")
        if self.eta is not None and self.eta.tzinfo is None:
            raise ConfigurationError("eta= needs a time zone, such as datetime.now(timezone.utc) + timedelta(...)")
        if self.task_id is not None:
            valid_id(self.task_id)


def takes_options_too(
    options: Callable[Fields, object],
) -> Callable[[Callable[[S, A], R]], Callable[Concatenate[S, A, Fields], R]]:
    """`takes_options` for a method with one parameter of its own before the fields."""

    def decorate(method: Callable[[S, A], R]) -> Callable[Concatenate[S, A, Fields], R]:
        receiver, own, *_ = inspect.signature(method).parameters.values()
        taken = inspect.signature(options).parameters.values()
        vars(method)["__signature__"] = inspect.signature(method).replace(parameters=[receiver, own, *taken])
        return cast("Callable[Concatenate[S, A, Fields], R]", method)

    return decorate


def takes_options(
    options: Callable[Fields, object],
) -> Callable[[Callable[[S], R]], Callable[Concatenate[S, Fields], R]]:
    """Return a decorator for a method whose named parameters are the fields of the class `options`."""

    def decorate(method: Callable[[S], R]) -> Callable[Concatenate[S, Fields], R]:
        receiver = next(iter(inspect.signature(method).parameters.values()))
        taken = inspect.signature(options).parameters.values()
        vars(method)["__signature__"] = inspect.signature(method).replace(parameters=[receiver, *taken])
        return cast("Callable[Concatenate[S, Fields], R]", method)

    return decorate
