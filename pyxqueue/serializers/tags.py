"""The tags of the built-in types: how to write a value of a type that JSON does not have.

Such a value is an object with one key, the tag, for example ``{"!set": [1, 2]}``. Every tag starts with `MARK`. The
tags in this module do not contain a dot; the tags of classes are import paths and do. The data of a `Leaf` consists of
text, numbers, None and lists of these.
"""

from __future__ import annotations

import decimal
import math
from base64 import b64decode, b64encode
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Mapping
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from time import thread_time
from typing import Any, TypeVar
from uuid import UUID

from msgspec import Struct

from .errors import OutsideDomainError

MARK = "!"
MAX_ALIKE = 256
"""How many members of a set, or keys of a dict, may have the same hash value."""
_FEW = 4_096
"""Up to this many members are added without a look at the time: no choice of them takes long."""
_PART = 256
"""How many members are added between two looks at the time."""
_SPARE_TIME, _TIME_EACH = 0.25, 2e-6
"""Seconds of processor time: a fixed part, and a part for each member. Usual members need a tenth of it."""
INT_MIN, INT_MAX = -(2**63), 2**64 - 1
"""Integers out of this range are tagged and written in hexadecimal: not every reader has them, and Python limits the
length of decimals (`int_max_str_digits`)."""

Moment = TypeVar("Moment", datetime, time)

# The context of the calling thread might be set to turn a malformed number into NaN.
_STRICT = decimal.Context(traps=[decimal.InvalidOperation])


class Leaf(Struct, frozen=True):
    """How to write and read one type whose values have no parts. `decode` may raise any exception for other data."""

    tag: str
    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]


def as_text(data: object) -> str:
    """Return `data`, or raise `TypeError` if it is not text. `Decimal` and `UUID` would accept other types too."""
    if not isinstance(data, str):
        raise TypeError(f"expected text, not {type(data).__name__}")
    return data


def as_list(data: object) -> list[Any]:
    """Return `data`, or raise `TypeError` if it is not a list. `tuple` and `set` would accept text too."""
    if type(data) is not list:
        raise TypeError(f"expected an array, not {type(data).__name__}")
    return data


def check_hashes(keys: Collection[Hashable]) -> None:
    """Raise `OutsideDomainError` if more than `MAX_ALIKE` members of a set, or keys of a dict, have one hash value.

    Python compares each of those with all the others, so that a megabyte of them takes minutes. Any sender can make
    them: only the hash values of text and bytes are secret.
    """
    hashes, different = list(map(hash, keys)), set[int]()
    _add(different.update, hashes)
    if len(hashes) - len(different) < MAX_ALIKE:  # the usual case: no value can have so many
        return
    counts = Counter[int]()
    _add(counts.update, hashes)
    ((_, most),) = counts.most_common(1)
    if most > MAX_ALIKE:
        raise OutsideDomainError(f"{most:,} members have the same hash value, the limit is {MAX_ALIKE}")


def _add(add: Callable[[list[Any]], object], items: list[Any]) -> None:
    """Add the items to a hash table, a part at a time. Raises `OutsideDomainError` if it takes too long.

    Different hash values can be chosen so that they collide in the table all the same. Only the time shows that.
    """
    if len(items) <= _FEW:
        add(items)
        return
    until = thread_time() + _SPARE_TIME + _TIME_EACH * len(items)
    for start in range(0, len(items), _PART):
        add(items[start : start + _PART])
        if thread_time() > until:
            raise OutsideDomainError(f"{len(items):,} members take too long to add: their hash values collide")


def _to_set(data: object) -> set[Any]:
    members = as_list(data)
    check_hashes(members)
    made: set[Any] = set()
    _add(made.update, members)
    return made


def _pairs_to_dict(data: object) -> dict[Any, Any]:
    pairs = [as_list(pair) for pair in as_list(data)]
    check_hashes([key for key, _ in pairs])
    made: dict[Any, Any] = {}
    _add(made.update, pairs)
    return made


def is_encodable(text: str) -> bool:
    """Return whether UTF-8 can encode the text: not if it has lone surrogates, as some names of files do."""
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False


def _bytes_to_text(value: bytes | bytearray) -> str:
    return b64encode(value).decode("ascii")


def _text_to_bytes(data: object) -> bytes:
    return b64decode(as_text(data), validate=True)


def _float_to_text(value: float) -> str:
    return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"


def _decimal_from_text(data: object) -> decimal.Decimal:
    return decimal.Decimal(as_text(data), _STRICT)


def _timedelta_to_list(value: timedelta) -> list[int]:
    return [value.days, value.seconds, value.microseconds]


def _zone_to_plain(zone: tzinfo | None) -> Any:
    """Return the key of a `ZoneInfo`, or ``[days, seconds, microseconds, name]`` for a fixed offset.

    A fixed offset can have a name: that of `datetime.astimezone` does.
    """
    if zone is None:
        return None
    if type(zone) is timezone:
        offset, name = zone.utcoffset(None), zone.tzname(None)
        return [*_timedelta_to_list(offset), None if name == timezone(offset).tzname(None) else name]
    from zoneinfo import ZoneInfo  # noqa: PLC0415 - most programs have no other time zone

    if type(zone) is ZoneInfo and zone.key is not None:
        return zone.key
    error = OutsideDomainError(
        f"a time zone of type {type(zone).__qualname__} cannot travel: use datetime.timezone or zoneinfo.ZoneInfo(key)"
    )
    error.steps.append(".tzinfo")
    raise error


def _zone_from_plain(data: Any) -> tzinfo | None:
    if data is None:
        return None
    if type(data) is str:
        from zoneinfo import ZoneInfo  # noqa: PLC0415 - as above

        return ZoneInfo(data)
    days, seconds, microseconds, name = as_list(data)
    offset = timedelta(days, seconds, microseconds)
    return timezone(offset) if name is None else timezone(offset, name)


def _moment_to_plain(value: datetime | time) -> str | list[Any]:
    """Return ISO text if it contains everything, else ``[ISO text, zone, fold]``."""
    if value.tzinfo is None and not value.fold:
        return value.isoformat()
    zone = _zone_to_plain(value.tzinfo)
    # `fromisoformat` loses an offset of less than a second, so that one takes the long form too.
    if not value.fold and type(zone) is list and zone[2:] == [0, None]:
        return value.isoformat()
    return [value.replace(tzinfo=None, fold=0).isoformat(), zone, value.fold]


def _moment_from_plain(kind: type[Moment], data: object) -> Moment:
    if type(data) is str:
        return kind.fromisoformat(data)
    text, zone, fold = as_list(data)
    return kind.fromisoformat(text).replace(tzinfo=_zone_from_plain(zone), fold=fold)


LEAVES: Mapping[type, Leaf] = {
    bytes: Leaf("bytes", _bytes_to_text, _text_to_bytes),
    bytearray: Leaf("bytearray", _bytes_to_text, lambda data: bytearray(_text_to_bytes(data))),
    int: Leaf("int", hex, lambda data: int(as_text(data), 16)),
    float: Leaf("float", _float_to_text, {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}.__getitem__),
    str: Leaf(
        "str",
        lambda value: _bytes_to_text(value.encode("utf-8", "surrogatepass")),
        lambda data: _text_to_bytes(data).decode("utf-8", "surrogatepass"),
    ),
    datetime: Leaf("datetime", _moment_to_plain, lambda data: _moment_from_plain(datetime, data)),
    date: Leaf("date", date.isoformat, date.fromisoformat),
    time: Leaf("time", _moment_to_plain, lambda data: _moment_from_plain(time, data)),
    timedelta: Leaf("timedelta", _timedelta_to_list, lambda data: timedelta(*as_list(data))),
    decimal.Decimal: Leaf("decimal", str, _decimal_from_text),
    UUID: Leaf("uuid", str, lambda data: UUID(as_text(data))),
}

COLLECTIONS: Mapping[type, str] = {tuple: "tuple", set: "set", frozenset: "frozenset"}

DECODERS: Mapping[str, Callable[[Any], Any]] = {
    **{leaf.tag: leaf.decode for leaf in LEAVES.values()},
    "tuple": lambda data: tuple(as_list(data)),
    "set": _to_set,
    "frozenset": lambda data: frozenset(_to_set(data)),
    "dict": _pairs_to_dict,
}
"""The decoders by tag; the parts of the data are decoded already. A dict with a key that is not text, or a single key
that looks like a tag, is written as pairs with the tag ``!dict``."""
