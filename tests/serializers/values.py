"""Values of the declared domain for Hypothesis, and a comparison that is stricter than ``==``."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import make_dataclass
from datetime import datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from pyxqueue.serializers import JSONSerializer, MsgpackSerializer, TaggedSerializer

Strategy: TypeAlias = st.SearchStrategy[Any]
TAGGED: tuple[type[TaggedSerializer], ...] = (JSONSerializer, MsgpackSerializer)


def make_class(module: str, name: str) -> type[Any]:
    """Return a dataclass with the field `x`, whose `__module__` is `module`."""
    cls = make_dataclass(name, ["x"])
    cls.__module__ = module
    return cls


def exact(value: Any) -> Any:
    """Return an object that is equal for two values only if type, order, sign, fold and time zone are the same."""
    kind = type(value)
    shown: Any = value
    if kind in (list, tuple):
        shown = [exact(item) for item in value]
    elif kind in (set, frozenset):
        shown = sorted(repr(exact(item)) for item in value)
    elif kind is dict:
        shown = [(exact(key), exact(item)) for key, item in value.items()]
    elif kind is float:
        shown = "nan" if math.isnan(value) else value.hex()
    elif kind is Decimal:
        shown = value.as_tuple()
    elif kind in (datetime, time):
        shown = value.replace(tzinfo=None, fold=0), value.fold, _exact_zone(value.tzinfo)
    return kind, shown


def _exact_zone(zone: tzinfo | None) -> Any:
    key = zone.key if isinstance(zone, ZoneInfo) else None
    fixed = (zone.utcoffset(None), zone.tzname(None)) if isinstance(zone, timezone) else None
    return type(zone), key, fixed


DAY = timedelta(days=1) - timedelta(microseconds=1)
OFFSETS = st.timedeltas(-DAY, DAY) | st.integers(-1439, 1439).map(lambda minutes: timedelta(minutes=minutes))
ZONES = st.none() | st.timezones() | st.builds(timezone, OFFSETS) | st.builds(timezone, OFFSETS, st.text())
FOLDS = st.sampled_from((0, 1))
ANY_TEXT = st.text(st.characters(exclude_categories=()))
# Texts that look like the marks, escapes and tags of the wire format.
TRICKY_TEXT = st.sampled_from(
    ("!", "!!", "!set", "!dict", "!int", "!a.b", "\\u0021", '"!', "$", "", "\ud800", "!\udfff")
)

HASHABLE_LEAVES: Strategy = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**200), 2**200),
    st.sampled_from((2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 10**400)),
    st.floats(),
    ANY_TEXT,
    TRICKY_TEXT,
    st.binary(),
    st.builds(datetime.replace, st.datetimes(timezones=ZONES), fold=FOLDS),
    st.dates(),
    st.builds(time.replace, st.times(timezones=ZONES), fold=FOLDS),
    st.timedeltas(),
    st.decimals().filter(lambda number: not number.is_snan()),
    st.uuids(),
)
HASHABLES: Strategy = st.recursive(
    HASHABLE_LEAVES,
    lambda items: st.lists(items, max_size=3).map(tuple) | st.frozensets(items, max_size=3),
    max_leaves=4,
)
LEAVES: Strategy = HASHABLES | st.builds(bytearray, st.binary()) | st.just(Decimal("sNaN12"))


def _containers(items: Strategy) -> Strategy:
    small: Callable[..., Strategy] = st.dictionaries
    return st.one_of(
        st.lists(items, max_size=4),
        st.lists(items, max_size=4).map(tuple),
        st.sets(HASHABLES, max_size=4),
        small(ANY_TEXT | TRICKY_TEXT, items, max_size=4),
        small(HASHABLES, items, max_size=4),
    )


VALUES: Strategy = st.recursive(LEAVES, _containers, max_leaves=12)
