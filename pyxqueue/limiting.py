"""`Concurrency`: the option that limits how many tasks are ready or run at the same time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

from attrs import Attribute, field, frozen, validators

from .calls import Call, Signature
from .errors import ConfigurationError
from .model.limits import LIMIT_PATTERN, MAX_GATES, gate_key, gate_of
from .printable import quoted
from .protocols import LimitStore, limits_of

By: TypeAlias = tuple[str, ...] | Callable[..., object] | None


def _by(given: str | Sequence[str] | Callable[..., object] | None) -> By:
    if given is None or (callable(given) and not isinstance(given, str)):
        return given
    names = (given,) if isinstance(given, str) else tuple(given)
    if not names or not all(isinstance(name, str) for name in names):
        raise TypeError(f"by={quoted(given)} must be the name of a parameter, such as by='customer', or a function")
    return names


def _number(_instance: object, _attribute: Attribute[Any], value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 31:
        raise ValueError(f"{quoted(value)} must be a whole number of tasks, 0 or more, such as Concurrency(2)")


def _name(_instance: object, _attribute: Attribute[Any], value: object) -> None:
    if not isinstance(value, str) or not LIMIT_PATTERN.fullmatch(value):
        raise ValueError(f"name={quoted(value)} must be 1 to 200 letters, digits, _ . < > -")


@frozen
class Concurrency:
    """At most so many tasks are ready or run at the same time; the others wait, in the order in which they came.

    Tasks with limits of the same name share them. The number in the store counts: the code declares it when workers
    start, and `queue.limits.set` replaces it.
    """

    number: int = field(validator=_number)
    by: By = field(default=None, converter=_by, kw_only=True)
    """What has a place of its own each: the value of this parameter, of several, or what this function returns for the
    arguments of the call. None: all calls share the places."""
    name: str | None = field(default=None, validator=validators.optional(_name), kw_only=True)
    """The name of the limit; by default that of the task."""


def limits_option(given: Sequence[Concurrency] | Concurrency) -> tuple[Concurrency, ...]:
    """Convert the option `limits`."""
    limits = (given,) if isinstance(given, Concurrency) else tuple(given)
    for one in limits:
        if not isinstance(one, Concurrency):
            raise TypeError(f"limits={quoted(given)} must be a list of limits, such as limits=[Concurrency(2)]")
    if len(limits) > MAX_GATES:
        raise ValueError(f"a task has at most {MAX_GATES} limits, not {len(limits)}")
    names = [one.name for one in limits]
    if twice := sorted({name or "of the task itself" for name in names if names.count(name) > 1}):
        raise ValueError(f"limits= has two limits {twice[0]}: give each a name=")
    return limits


def check_limits(limits: Sequence[Concurrency], name: str, signature: Signature) -> None:
    """Raise `ConfigurationError` if `by` names what is not a parameter of the task."""
    known = signature.parameters
    for limit in limits:
        wanted = limit.by if isinstance(limit.by, tuple) else ()
        if unknown := [one for one in wanted if one not in known]:
            raise ConfigurationError(
                f"by= of Concurrency names {', '.join(map(quoted, unknown))}, which {name} does not have; its "
                f"parameters are {', '.join(known) or 'none'}"
            )


def gates_for(limits: Sequence[Concurrency], name: str, signature: Signature, call: Call) -> tuple[str, ...]:
    """Return the gates of a call of the task `name`, in alphabetical order."""
    if not limits:
        return ()
    arguments = signature.arguments(*call) if any(limit.by is not None for limit in limits) else {}
    return tuple(sorted({gate_of(limit.name or name, _key(limit.by, arguments, call)) for limit in limits}))


def _key(by: By, arguments: dict[str, Any], call: Call) -> str:
    if by is None:
        return ""
    if isinstance(by, tuple):
        return gate_key(arguments[by[0]] if len(by) == 1 else ",".join(str(arguments[one]) for one in by))
    return gate_key(by(*call[0], **call[1]))


def declared(tasks: Iterable[tuple[str, Sequence[Concurrency]]]) -> dict[str, int]:
    """Return the numbers that tasks declare, by the name of the limit. Of several numbers the smallest counts."""
    numbers: dict[str, int] = {}
    for name, limits in tasks:
        for limit in limits:
            key = limit.name or name
            numbers[key] = min(limit.number, numbers.get(key, limit.number))
    return numbers


def limit_store(backend: object) -> LimitStore:
    """Return the limits of a backend. Raises `ConfigurationError` if it cannot keep any."""
    limits = limits_of(backend)
    if limits is None:
        raise ConfigurationError(
            f"{type(backend).__name__} cannot keep limits, which limits= and queue.limits need: use a store of "
            f"pyxqueue, or a backend that has LimitStore"
        )
    return limits
