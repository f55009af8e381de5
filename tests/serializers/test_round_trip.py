"""Law S1: `loads` returns the value that `dumps` wrote, with every type."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given

from pyxqueue.protocols import Serializer
from pyxqueue.serializers import JSONSerializer, PickleSerializer, TaggedSerializer
from pyxqueue.serializers.walk import MAX_DEPTH

from .values import TAGGED, VALUES, exact

both = pytest.mark.parametrize("make", TAGGED)


@both
@given(value=VALUES)
def test_every_value_of_the_domain_comes_back(make: type[TaggedSerializer], value: Any) -> None:
    """Values, types, key order, signs, folds and time zones survive."""
    serializer = make()

    assert exact(serializer.loads(serializer.dumps(value))) == exact(value)


@both
@given(value=VALUES)
def test_dumps_leaves_its_argument_alone(make: type[TaggedSerializer], value: Any) -> None:
    """The caller's containers are not changed to hold tags."""
    before = exact(value)

    make().dumps(value)

    assert exact(value) == before


@both
def test_an_int_of_twenty_thousand_digits_needs_no_decimal(make: type[TaggedSerializer]) -> None:
    """Python's limit for decimals stays as it is, and the serializer does not reach it."""
    a, b = 0, 1
    for _ in range(100_000):
        a, b = b, a + b
    serializer = make()
    assert 0 < sys.get_int_max_str_digits() < 20_899

    assert serializer.loads(serializer.dumps([[a], {"n": -a}])) == [[a], {"n": -a}]


@both
def test_huge_exponents_need_few_bytes(make: type[TaggedSerializer]) -> None:
    """A Decimal's bytes are about as long as its text, also as a key and in a set."""
    number = Decimal("1e999999999")
    serializer = make()

    data = serializer.dumps([number, {number: 1}, {number}])

    assert len(data) < 200
    assert exact(serializer.loads(data)) == exact([number, {number: 1}, {number}])


@both
@pytest.mark.parametrize(
    "moment",
    [
        datetime(2024, 10, 27, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"), fold=1),
        datetime(2024, 3, 31, 2, 30, tzinfo=ZoneInfo("Europe/Berlin")),
        datetime(2024, 1, 1, tzinfo=UTC).astimezone(timezone(timedelta(hours=2), "EET")),
        datetime(2024, 1, 1, tzinfo=timezone(timedelta(hours=2), "")),
        datetime(2024, 1, 1, tzinfo=timezone(timedelta(seconds=-1, microseconds=1))),
        parsedate_to_datetime("Mon, 01 Jan 2024 10:00:00 -0300"),
    ],
    ids=["fold", "gap", "named", "named-empty", "odd-offset", "mail"],
)
def test_time_zones_keep_offset_name_and_key(make: type[TaggedSerializer], moment: datetime) -> None:
    """Zones with a key, fixed offsets and fixed offsets with a name come back as they were."""
    serializer = make()

    assert exact(serializer.loads(serializer.dumps(moment))) == exact(moment)


@both
def test_utc_comes_back_as_the_same_object(make: type[TaggedSerializer]) -> None:
    """`timezone.utc` is compared by identity in much code."""
    serializer = make()

    loaded = serializer.loads(serializer.dumps(datetime(2024, 1, 1, tzinfo=UTC)))

    assert loaded.tzinfo is UTC


@both
def test_the_deepest_value_can_be_read_with_less_stack(make: type[TaggedSerializer]) -> None:
    """The kind that needs most frames is written and read on top of 150 other frames."""
    value: Any = 1
    for _ in range(MAX_DEPTH):
        value = {1: value}
    serializer = make()

    def on_top_of(frames: int) -> Any:
        return on_top_of(frames - 1) if frames else serializer.loads(serializer.dumps(value))

    assert on_top_of(150) == value


def test_an_escaped_mark_is_a_mark() -> None:
    """Other programs may escape the mark."""
    assert JSONSerializer().loads(b'{"\\u0021set": [1]}') == {1}


def test_all_serializers_satisfy_the_protocol() -> None:
    """They have the names that are written into messages, and only pickle is not trusted."""
    found = {}
    for make in (*TAGGED, PickleSerializer):
        serializer: Serializer = make()
        assert isinstance(serializer, Serializer)
        found[serializer.name] = serializer.trusted

    assert found == {"json": True, "msgpack": True, "pickle": False}
