"""Finds the classes that a function's annotations speak of, so that annotating is enough to register them."""

from __future__ import annotations

import enum
import inspect
import sys
import typing
from collections.abc import Callable, Iterator
from typing import Any

from .classes import can_travel, is_record

if sys.version_info >= (3, 14):
    import annotationlib

# What a hint keeps for itself besides its arguments: generics and Annotated, NewType, TypeVar, ``type X = ...``.
_INNER = ("__origin__", "__supertype__", "__bound__", "__value__")


def classes_in(function: Callable[..., Any]) -> list[type]:
    """The enums, dataclasses, attrs classes and named tuples in the annotations, and in those of their fields.

    An annotation that cannot be resolved (a name that exists for type checkers only, a local class) is left out.
    """
    function = inspect.unwrap(function)
    found: dict[type, None] = {}
    # By identity, because a hint need not be hashable; the values keep their ids from being used again.
    seen: dict[int, Any] = {}
    pending = list(_hints(function, getattr(function, "__globals__", {})))
    while pending:
        hint = pending.pop()
        if id(hint) in seen:
            continue
        seen[id(hint)] = hint
        pending += _parts(hint)
        if isinstance(hint, type):
            if can_travel(hint):
                found[hint] = None
            if is_record(hint) or typing.is_typeddict(hint):
                for base in hint.__mro__:
                    pending += _hints(base, getattr(sys.modules.get(base.__module__), "__dict__", {}))
    return list(found)


def _hints(owner: Any, namespace: dict[str, Any]) -> Iterator[Any]:
    """The owner's own annotations, each resolved by itself: one that fails takes no other with it."""

    def holder() -> None: ...

    for name, hint in _annotations(owner).items():
        holder.__annotations__ = {name: hint}
        try:
            yield from typing.get_type_hints(holder, namespace).values()
        except Exception:  # noqa: BLE001, S112 - evaluating foreign text may raise anything, and means: cannot be resolved
            continue


def _annotations(owner: Any) -> dict[str, Any]:
    if sys.version_info >= (3, 14):
        return annotationlib.get_annotations(owner, format=annotationlib.Format.FORWARDREF)
    return inspect.get_annotations(owner)


def _parts(hint: Any) -> Iterator[Any]:
    """What a hint is made of: `Point` and `Color` for ``dict[str, Point | Annotated[Color, ...]]``."""
    if isinstance(hint, list):  # the parameters of a Callable
        yield from hint
    elif isinstance(hint, enum.Enum):  # a value of a Literal
        yield type(hint)
    else:
        yield from typing.get_args(hint)
        yield from getattr(hint, "__constraints__", ())
        for name in _INNER:
            yield getattr(hint, name, None)
