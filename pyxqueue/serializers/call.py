"""A call's arguments as one body: ``[[10],{}]``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import SerializationError
from ..protocols import Serializer
from .errors import OutsideDomainError


def dumps_call(serializer: Serializer, args: Iterable[Any], kwargs: Mapping[str, Any]) -> bytes:
    """The body of a message. Raises `SerializationError`; a path in it starts at ``args`` or ``kwargs``."""
    try:
        return serializer.dumps([list(args), dict(kwargs)])
    except OutsideDomainError as error:
        error.root = "args" if error.steps.pop() == "[0]" else "kwargs"
        raise


def loads_call(serializer: Serializer, body: bytes) -> tuple[list[Any], dict[str, Any]]:
    """The arguments in a body. Raises `SerializationError` for one that holds anything else."""
    call = serializer.loads(body)
    match call:
        case [list(args), dict(kwargs)] if all(isinstance(key, str) for key in kwargs):
            return args, kwargs
    raise SerializationError("the body is not a call: it must be [[positional arguments], {keyword arguments}]")
