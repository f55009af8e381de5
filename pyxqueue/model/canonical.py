"""The canonical form of values: equal bytes for values that are the same, type included, on every machine."""

from __future__ import annotations

import enum
import math
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from ..printable import quoted

_MAX_DEPTH = 50


def canonical(value: object) -> bytes:
    """Return the canonical form of a value. Raises `ValueError` if it does not have one."""
    return b"".join(_parts(value, 0))


def _parts(value: Any, depth: int) -> Iterator[bytes]:
    kind = type(value)
    if depth > _MAX_DEPTH:
        raise ValueError(f"it is nested more than {_MAX_DEPTH} levels deep")
    if kind in _WRITERS:
        yield _atom(_WRITERS[kind][0], _WRITERS[kind][1](value))
    elif kind is list or kind is tuple:
        yield b"%c%d:" % (kind.__name__[0].upper().encode(), len(value))
        for item in value:
            yield from _parts(item, depth + 1)
    elif kind is dict:
        yield b"D%d:" % len(value)
        pairs = {b"".join(_parts(name, depth + 1)): item for name, item in value.items()}
        for name in sorted(pairs):
            yield name
            yield from _parts(pairs[name], depth + 1)
    elif isinstance(value, enum.Enum):
        yield _atom(b"e", f"{kind.__module__}.{kind.__qualname__}.{value.name}".encode())
    else:
        raise ValueError(f"{quoted(value)} is of the type {kind.__name__}, which does not have a canonical form")


def _atom(tag: bytes, content: bytes) -> bytes:
    return b"%b%d:%b" % (tag, len(content), content)


def _float(value: float) -> bytes:
    if math.isnan(value) or (value == 0 and math.copysign(1, value) < 0):
        raise ValueError(f"{value} does not have a canonical form: nan differs from itself, and -0.0 is equal to 0.0")
    return value.hex().encode()


def _decimal(value: Decimal) -> bytes:
    if not value.is_finite() or (not value and value.is_signed()):
        raise ValueError(f"Decimal('{value}') does not have a canonical form")
    if not value:
        return b"0"
    _, digits, exponent = value.as_tuple()
    written = "".join(map(str, digits)).rstrip("0")  # `normalize` would round
    return f"{'-' if value.is_signed() else ''}{written}e{int(exponent) + len(digits) - len(written)}".encode()


def _text(value: Any) -> bytes:
    return str(value).encode()


def _moment(value: Any) -> bytes:
    return str(value.isoformat()).encode()


_WRITERS: Mapping[type, tuple[bytes, Callable[[Any], bytes]]] = {
    type(None): (b"n", lambda _: b""),
    bool: (b"b", _text),
    int: (b"i", lambda value: b"%x" % value),  # in hexadecimal: the length of a decimal int is limited
    float: (b"f", _float),
    str: (b"s", lambda value: value.encode("utf-8", "surrogatepass")),
    bytes: (b"y", bytes),
    Decimal: (b"m", _decimal),
    uuid.UUID: (b"u", lambda value: value.bytes),
    datetime: (b"t", _moment),
    date: (b"a", _moment),
    time: (b"c", _moment),
    timedelta: (b"d", lambda value: b"%d.%d.%d" % (value.days, value.seconds, value.microseconds)),
}
"""By exact type: its tag, and what writes its content."""
