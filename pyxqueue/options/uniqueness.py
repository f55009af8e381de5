"""`Unique`, `Debounce` and `Throttle`: the options that let one task stand for several calls."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, TypeAlias

from attrs import Attribute, field, frozen, validators

from ..calls import Call, Signature
from ..clock import in_seconds, milliseconds, optional_seconds
from ..errors import ConfigurationError, SerializationError
from ..model.canonical import canonical
from ..model.locks import LockKind, LockTerms, lock_text
from ..printable import quoted
from .checks import check_parameters, duration


def _names(given: str | Sequence[str] | None) -> tuple[str, ...] | None:
    if given is None:
        return None
    names = (given,) if isinstance(given, str) else tuple(given) if isinstance(given, Iterable) else (given,)
    if not all(isinstance(name, str) for name in names):
        raise TypeError(f"by={quoted(given)} must be names of parameters, such as by=('customer',)")
    return names


def _one_of(*words: str) -> Callable[[object, Attribute[Any], object], None]:
    def check(_instance: object, attribute: Attribute[Any], value: object) -> None:
        if value not in words:
            raise ValueError(f"{attribute.name}={quoted(value)} must be {' or '.join(map(repr, words))}")

    return check


def _key(_instance: object, _attribute: Attribute[Any], value: object) -> None:
    if not isinstance(value, str):
        raise TypeError(f"key={quoted(value)} must be a text; to compare arguments, name their parameters with by=")


@frozen(kw_only=True)
class _Comparing:
    """What two calls of a task are compared by."""

    by: tuple[str, ...] | None = field(default=None, converter=_names)
    """The parameters that are compared, with their defaults; None for all, ``()`` for none."""
    key: str | None = field(default=None, validator=validators.optional(_key))
    """A text that is compared instead of arguments."""

    def __attrs_post_init__(self) -> None:
        if self.by is not None and self.key is not None:
            raise ValueError("give either by= or key=, not both")


@frozen(kw_only=True)
class Unique(_Comparing):
    """A call while an equal one is live enqueues nothing, and returns the handle of the one that is there."""

    until: Literal["finished", "started"] = field(default="finished", validator=_one_of("finished", "started"))
    """Until when a call is live: its task has ended, or a worker has started it."""
    window: float | None = field(default=None, converter=optional_seconds, validator=validators.optional(duration))
    """Instead of `until`: for how long after a call equal ones return its handle, whatever becomes of its task."""

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        if self.window is not None and self.until != "finished":
            raise ValueError(
                f"give either until={quoted(self.until)} or window=, not both: a window ends by time alone"
            )


@frozen
class Debounce(_Comparing):
    """Calls that follow each other become one task: it runs when there was no equal call for `period`."""

    period: float = field(converter=in_seconds, validator=duration)
    """For how long no equal call may come before the task runs: seconds, or a `timedelta`."""
    max_wait: float | None = field(
        default=None, converter=optional_seconds, validator=validators.optional(duration), kw_only=True
    )
    """How long after the first call the task runs at the latest."""
    keep: Literal["last", "first"] = field(default="last", validator=_one_of("last", "first"), kw_only=True)
    """Whether it runs with the arguments of the last call or of the first."""

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        if self.max_wait is not None and self.max_wait < self.period:
            raise ValueError(f"max_wait={self.max_wait:g} is shorter than the period of {self.period:g} s")


@frozen
class Throttle(_Comparing):
    """The first call runs; equal calls within `period` after it enqueue nothing, and return its handle."""

    period: float = field(converter=in_seconds, validator=duration)
    """For how long after a call that runs equal ones do not: seconds, or a `timedelta`."""


Guard: TypeAlias = Unique | Debounce | Throttle


def guard_of(unique: Unique | None, debounce: Debounce | None, throttle: Throttle | None) -> Guard | None:
    """Return the one that was given. Raises `ConfigurationError` for more than one, and for another type."""
    wanted = ((unique, Unique, "unique"), (debounce, Debounce, "debounce"), (throttle, Throttle, "throttle"))
    given = [(one, kind, name) for one, kind, name in wanted if one is not None]
    for one, kind, name in given:
        if not isinstance(one, kind):
            example = "Unique(by=('customer',))" if kind is Unique else f"{kind.__name__}(60)"
            raise ConfigurationError(f"{name}={quoted(one)} is not a {kind.__name__}: write {name}={example}")
    if len(given) > 1:
        names = " and ".join(f"{name}=" for _, _, name in given)
        raise ConfigurationError(f"a task can hold one lock only: give one of {names}")
    return next((one for one, _, _ in given), None)


def check_debounce(guard: Guard | None, **given: object) -> None:
    """Raise `ConfigurationError` if a debounced call is given another option about its time."""
    names = [f"{name}=" for name, value in given.items() if value is not None]
    if isinstance(guard, Debounce) and names:
        raise ConfigurationError(f"a debounced task waits for its period after each call: leave out {', '.join(names)}")


def check_by(guard: Guard | None, name: str, signature: Signature) -> None:
    """Raise `ConfigurationError` if `by` names what is not a parameter of the task."""
    if guard is not None:
        check_parameters(guard, guard.by or (), name, signature.parameters)


def kind_of(guard: Guard) -> LockKind:
    if isinstance(guard, Debounce):
        return LockKind.DEBOUNCE
    if isinstance(guard, Throttle) or guard.window is not None:
        return LockKind.WINDOW
    return LockKind.STARTED if guard.until == "started" else LockKind.FINISHED


def terms_of(guard: Guard) -> LockTerms:
    match guard:
        case Debounce():
            longest = 0 if guard.max_wait is None else milliseconds(guard.max_wait)
            return LockTerms(max_wait_ms=longest, keep_first=guard.keep == "first")
        case Throttle():
            return LockTerms(window_ms=milliseconds(guard.period))
        case Unique():
            return LockTerms(window_ms=0 if guard.window is None else milliseconds(guard.window))


def lock_for(guard: Guard, name: str, signature: Signature, call: Call) -> str:
    """Return the lock of a call. Raises `SerializationError` for an argument that cannot be compared."""
    if guard.key is not None:
        return lock_text(kind_of(guard), canonical([name, guard.key]))
    arguments = signature.arguments(*call)
    compared: dict[str, Any] = {one: arguments[one] for one in (arguments if guard.by is None else guard.by)}
    for one, value in compared.items():
        try:
            canonical(value)
        except ValueError as error:
            raise SerializationError(
                f"cannot enqueue {name}: its argument {one} cannot be compared with that of other calls, because "
                f"{error}; name other parameters with by=, or give {type(guard).__name__} a key="
            ) from None
    return lock_text(kind_of(guard), canonical([name, compared]))
