"""Checks the arguments of calls as Python does, and cuts many calls into batches."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from types import FunctionType
from typing import Any, TypeAlias

from .errors import ArgumentError, ConfigurationError
from .model.message import valid_id
from .printable import quoted

Call: TypeAlias = tuple[Sequence[Any], Mapping[str, Any]]
"""The arguments of one call, by position and by name."""
_BATCH = 256
"""How many calls are taken from an iterator before they are enqueued."""
_PARAMETER = re.compile(r"(\w+?)([0-4])(=?)")
_KINDS = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    inspect.Parameter.VAR_POSITIONAL,
    inspect.Parameter.KEYWORD_ONLY,
    inspect.Parameter.VAR_KEYWORD,
)
"""The kinds of parameters; a text has their places here."""


class Signature:
    """The parameters of a function, as Python binds them.

    ``__wrapped__`` and ``__signature__`` are ignored: a decorator that adds or removes a parameter still shows the
    signature of the function it wraps.
    """

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self._name = name
        self._signature = _signature(function)
        self._positional = _plain_arity(self._signature)

    def check(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Raise `ArgumentError` if the function does not take these arguments. Plain positional arguments, the usual
        case, are only counted."""
        if not kwargs and self._positional and self._positional[0] <= len(args) <= self._positional[1]:
            return
        try:
            self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise ArgumentError(f"{self._name}{self._signature} does not take these arguments: {error}") from None

    @property
    def parameters(self) -> list[str]:
        """The names of the parameters."""
        return list(self._signature.parameters)

    @property
    def text(self) -> str:
        """What `takes` has to know of the parameters: the name and the kind of each, and "=" if it has a default."""
        texts = [
            f"{one.name}{_KINDS.index(one.kind)}{'' if one.default is one.empty else '='}"
            for one in self._signature.parameters.values()
        ]
        return f"({','.join(texts)})"

    def arguments(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments by parameter, with the defaults of those that were left out."""
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return bound.arguments

    def batches(
        self, calls: Iterable[Any], task_ids: Iterable[str] | None, common: Mapping[str, Any]
    ) -> Iterator[tuple[list[Call], list[str] | None]]:
        """Yield checked calls with their ids: those of a sequence at once, those of an iterator in batches."""
        if isinstance(calls, str | bytes | Mapping) or not isinstance(calls, Iterable):
            raise self._no_call(calls)
        if isinstance(task_ids, str | bytes):
            raise ConfigurationError(f"task_ids={quoted(task_ids)} must be a list with one id for each call")
        whole = isinstance(calls, Sequence)
        source, ids = iter(calls), None if task_ids is None else iter(task_ids)
        while batch := [self._call(one, common) for one in islice(source, None if whole else _BATCH)]:
            yield batch, None if ids is None else self._ids(ids, len(batch), last=whole)
        if ids is not None:
            self._ids(ids, 0, last=True)

    def _ids(self, ids: Iterator[str], count: int, *, last: bool) -> list[str]:
        found = [valid_id(one) for one in islice(ids, count)]
        if len(found) < count:
            raise ConfigurationError(f"task_ids= has fewer ids than there are calls of {self._name}")
        if last and (left := next(ids, None)) is not None:
            raise ConfigurationError(f"task_ids= has more ids than there are calls: {quoted(left)} is left over")
        return found

    def _call(self, given: Any, common: Mapping[str, Any]) -> Call:
        """Return the call of a sequence of arguments, or of a mapping of named arguments."""
        args: Sequence[Any] = ()
        if isinstance(given, Mapping):
            common = {**common, **given}
        elif isinstance(given, str | bytes) or not isinstance(given, Sequence):
            raise self._no_call(given)
        else:
            args = given
        self.check(args, common)
        return args, common

    def _no_call(self, given: object) -> ArgumentError:
        return ArgumentError(
            f"{self._name}.map() takes sequences of arguments, or mappings of named arguments, such as [(1,), (2,)], "
            f"not [{quoted(given)}, ...]"
        )


def takes(text: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Return whether a function of this `Signature.text` takes these arguments; False for any other text."""
    inside = text[1:-1] if text[:1] + text[-1:] == "()" else "?"
    found = [_PARAMETER.fullmatch(one) for one in inside.split(",")] if inside else []
    try:
        inspect.Signature([_parameter(one) for one in found]).bind(*args, **kwargs)
    except (TypeError, ValueError):
        return False
    return True


def _parameter(found: re.Match[str] | None) -> inspect.Parameter:
    """Return what a part of a text describes. Raises `ValueError` if it is not one."""
    if found is None:
        raise ValueError("it describes no parameter")
    name, number, default = found.groups()
    return inspect.Parameter(name, _KINDS[int(number)], default=... if default else inspect.Parameter.empty)


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    """Return the signature of the function itself, whatever decorators have noted on it; one that takes any arguments
    if the function does not have a signature."""
    bare: Any = function
    if "__signature__" in getattr(function, "__dict__", ()):  # `functools.wraps` copies it, even if it no longer fits
        if isinstance(function, FunctionType):
            bare = FunctionType(
                function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__
            )
            bare.__kwdefaults__ = function.__kwdefaults__
        else:
            bare = bare.__call__
    try:
        return inspect.signature(bare, follow_wrapped=False)
    except ValueError:  # some functions written in C have none
        return inspect.signature(lambda *_args, **_kwargs: None)


def _plain_arity(signature: inspect.Signature) -> tuple[int, int] | None:
    """Return the least and the most positional arguments; None if the signature has other kinds of parameters."""
    parameters = signature.parameters.values()
    if any(p.kind not in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters):
        return None
    return sum(p.default is p.empty for p in parameters), len(parameters)
