"""Finds the classes in a function's annotations, so that a task registers them by its annotations."""

from __future__ import annotations

import enum
import inspect
import sys
import typing
from collections.abc import Callable, Iterator
from typing import Any

from .classes import can_register, is_record

if sys.version_info >= (3, 14):
    import annotationlib

# The attributes that refer to another hint: of generics and Annotated, NewType, TypeVar, ``type X = ...``.
_INNER = ("__origin__", "__supertype__", "__bound__", "__value__")


def classes_in(function: Callable[..., Any]) -> list[type]:
    """Return the classes in the annotations, and in those of their fields, that can be registered.

    An annotation that cannot be resolved (a name that exists for type checkers only, a local class) is ignored.
    """
    function = inspect.unwrap(function)
    found: dict[type, None] = {}
    # By id, because a hint may not be hashable. The values keep the hints alive, so that no id is used twice.
    seen: dict[int, Any] = {}
    pending = list(_hints(function, getattr(function, "__globals__", {})))
    while pending:
        hint = pending.pop()
        if id(hint) in seen:
            continue
        seen[id(hint)] = hint
        pending += _parts(hint)
        if isinstance(hint, type):
            if can_register(hint):
                found[hint] = None
            if is_record(hint) or typing.is_typeddict(hint):
                for base in hint.__mro__:
                    pending += _hints(base, getattr(sys.modules.get(base.__module__), "__dict__", {}))
    return list(found)


def _hints(owner: Any, namespace: dict[str, Any]) -> Iterator[Any]:
    """Return the owner's own annotations. Each is resolved alone, so that one that fails does not affect others."""

    def holder() -> None: ...

    for name, hint in _annotations(owner).items():
        holder.__annotations__ = {name: hint}
        try:
            yield from typing.get_type_hints(holder, namespace).values()
        except Exception:  # noqa: BLE001, S112 - evaluating an annotation can raise anything
            continue


def _annotations(owner: Any) -> dict[str, Any]:
    if sys.version_info >= (3, 14):
        return annotationlib.get_annotations(owner, format=annotationlib.Format.FORWARDREF)
    return inspect.get_annotations(owner)


def _parts(hint: Any) -> Iterator[Any]:
    """Return the hints within a hint: `Point` and `Color` in ``dict[str, Point | Annotated[Color, ...]]``."""
    if isinstance(hint, list):  # the parameters of a Callable
        yield from hint
    elif isinstance(hint, enum.Enum):  # a value of a Literal
        yield type(hint)
    else:
        yield from typing.get_args(hint)
        yield from getattr(hint, "__constraints__", ())
        for name in _INNER:
            yield getattr(hint, name, None)
