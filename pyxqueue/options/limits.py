"""`Concurrency` and `Rate`: the options that limit how many tasks are ready or run at the same time, and how many start
in a period."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

from attrs import Attribute, field, frozen, validators

from ..calls import Call, Signature
from ..clock import in_seconds
from ..errors import ConfigurationError
from ..model.limits import LIMIT_PATTERN, MAX_GATES, gate_key, gate_of
from ..model.rates import MAX_SPAN_US, PREFIX, Pace
from ..printable import quoted
from ..protocols import LimitStore, RateStore, limits_of, rates_of
from .checks import check_parameters

_MAX_PERIOD = 366 * 86_400
By: TypeAlias = tuple[str, ...] | Callable[..., object] | None


def _by(given: str | Sequence[str] | Callable[..., object] | None) -> By:
    if given is None or (callable(given) and not isinstance(given, str)):
        return given
    names = (given,) if isinstance(given, str) else tuple(given) if isinstance(given, Iterable) else ()
    if not names or not all(isinstance(name, str) for name in names):
        raise TypeError(f"by={quoted(given)} must be the name of a parameter, such as by='customer', or a function")
    return names


def _number(instance: object, _attribute: Attribute[Any], value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 31:
        limit = type(instance).__name__
        raise ValueError(f"{limit}({quoted(value)}): the number must be a whole number of tasks, 0 or more")


def _name(_instance: object, _attribute: Attribute[Any], value: object) -> None:
    if not isinstance(value, str) or not LIMIT_PATTERN.fullmatch(value):
        raise ValueError(f"name={quoted(value)} must be 1 to 200 letters, digits, _ . < > -")


def _period(_instance: object, _attribute: Attribute[Any], value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.001 <= value <= _MAX_PERIOD:
        raise ValueError(f"per={quoted(value)} must be a time from a millisecond to a year, such as per=60")


def _burst(_instance: object, _attribute: Attribute[Any], value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value < 1 << 31:
        raise ValueError(f"burst={quoted(value)} must be a whole number of tasks, 1 or more")


@frozen
class _Keyed:
    by: By = field(default=None, converter=_by, kw_only=True)
    """What tells calls apart that are limited separately: the name of a parameter, the names of several, or a function
    of the arguments of a call. None: all calls are limited together."""
    name: str | None = field(default=None, validator=validators.optional(_name), kw_only=True)
    """The name of the limit; by default that of the task."""


@frozen
class Concurrency(_Keyed):
    """At most `number` tasks are ready or run at the same time; the others wait, in the order in which they came.

    Tasks with limits of the same name share them. The number in the store counts: the code declares it when workers
    start, and `queue.limits.set` replaces it.
    """

    number: int = field(validator=_number)


@frozen
class Rate(_Keyed):
    """At most `count` tasks start in each period, evenly, by the clock of the store; the others wait, in the order in
    which they came.

    Tasks with rates of the same name share them. The pace in the store counts, as with `Concurrency`.
    """

    count: int = field(validator=_number)
    per: float = field(converter=in_seconds, validator=_period, kw_only=True)
    """The length of the period: seconds, or a `timedelta`."""
    burst: int = field(default=1, validator=_burst, kw_only=True)
    """How many may start at once after a while without any. No time of `n` evenly spaced starts has more than
    ``burst + n``."""

    def __attrs_post_init__(self) -> None:
        if self.pace.interval_us * self.burst > MAX_SPAN_US:
            raise ValueError(f"{self.count} per {self.per:g} s with burst={self.burst} is slower than one in 35 years")

    @property
    def pace(self) -> Pace:
        return Pace(self.count, max(1, round(self.per * 1_000_000)), self.burst)


Limit: TypeAlias = Concurrency | Rate


def limits_option(given: Sequence[Limit] | Limit) -> tuple[Limit, ...]:
    """Return the option `limits` as a tuple. Raises `TypeError` and `ValueError` for limits that are not valid."""
    limits = tuple(given) if isinstance(given, Iterable) else (given,)
    for one in limits:
        if not isinstance(one, Concurrency | Rate):
            raise TypeError(f"limits= has {quoted(one)}, which is not a limit: write limits=[Concurrency(2)]")
    if len(limits) > MAX_GATES:
        raise ValueError(f"a task has at most {MAX_GATES} limits, not {len(limits)}")
    names = [(type(one), one.name) for one in limits]
    if twice := sorted({name or "of the task itself" for kind, name in names if names.count((kind, name)) > 1}):
        raise ValueError(f"limits= has two limits {twice[0]}: give each a name=")
    return limits


def check_limits(limits: Sequence[Limit], name: str, signature: Signature) -> None:
    """Raise `ConfigurationError` if `by` names what is not a parameter of the task."""
    for limit in limits:
        if isinstance(limit.by, tuple):
            check_parameters(limit, limit.by, name, signature.parameters)


def gates_for(limits: Sequence[Limit], name: str, signature: Signature, call: Call) -> tuple[str, ...]:
    """Return the gates of a call of the task `name`, in alphabetical order."""
    if not limits:
        return ()
    arguments = signature.arguments(*call) if any(limit.by is not None for limit in limits) else {}
    return tuple(sorted({_gate(limit, name, _key(limit.by, arguments, call)) for limit in limits}))


def _gate(limit: Limit, task: str, key: str) -> str:
    gate = gate_of(limit.name or task, key)
    return PREFIX + gate if isinstance(limit, Rate) else gate


def _key(by: By, arguments: dict[str, Any], call: Call) -> str:
    if by is None:
        return ""
    if isinstance(by, tuple):
        return gate_key(arguments[by[0]] if len(by) == 1 else tuple(arguments[one] for one in by))
    return gate_key(by(*call[0], **call[1]))


@frozen
class Declared:
    """The limits that the code declares, by name. If tasks declare different numbers for the same name, the smallest
    one counts; of different paces, the slowest."""

    numbers: dict[str, int] = field(factory=dict)
    paces: dict[str, Pace] = field(factory=dict)

    @classmethod
    def by(cls, tasks: Iterable[tuple[str, Sequence[Limit]]]) -> Declared:
        found = cls()
        for name, limits in tasks:
            for limit in limits:
                key = limit.name or name
                if isinstance(limit, Rate):
                    found.paces[key] = min(limit.pace, found.paces.get(key, limit.pace), key=_speed)
                else:
                    found.numbers[key] = min(limit.number, found.numbers.get(key, limit.number))
        return found

    def keeper(self, backend: object) -> Callable[[bool], None] | None:
        """Return a function that stores these limits in the backend; None if there are none. Its argument says whether
        to replace what other code has declared. Raises `ConfigurationError` if the backend cannot keep limits."""
        if not self.numbers and not self.paces:
            return None
        limits = limit_store(backend)
        rates = rate_store(backend) if self.paces else None

        def keep(replace: bool) -> None:
            if self.numbers:
                limits.declare(self.numbers, replace=replace)
            if rates is not None:
                rates.declare_rates(self.paces, replace=replace)

        return keep


def _speed(pace: Pace) -> tuple[bool, int, int]:
    return pace.count > 0, -pace.interval_us, pace.burst


def limit_store(backend: object) -> LimitStore:
    """Return the limits of a backend. Raises `ConfigurationError` if it cannot keep any."""
    limits = limits_of(backend)
    if limits is None:
        raise ConfigurationError(
            f"{type(backend).__name__} cannot keep limits, which limits= and queue.limits need: use a store of "
            f"pyxqueue, or a backend that has LimitStore"
        )
    return limits


def rate_store(backend: object) -> RateStore:
    """Return the rates of a backend. Raises `ConfigurationError` if it cannot keep any."""
    rates = rates_of(backend)
    if rates is None:
        raise ConfigurationError(
            f"{type(backend).__name__} cannot keep rates, which Rate and queue.limits.set(..., rate=...) need: use a "
            f"store of pyxqueue, or a backend that has RateStore"
        )
    return rates
