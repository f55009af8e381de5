"""The form of the bytes. People and programs in other languages write and read them, so it must not change."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyxqueue.serializers import JSONSerializer, MsgpackSerializer, TaggedSerializer
from pyxqueue.serializers.classes import ClassTable
from pyxqueue.serializers.walk import Encoder

from .values import TAGGED

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda items: st.lists(items) | st.dictionaries(st.text().filter(lambda key: key[:1] != "!"), items),
)


@given(value=PLAIN)
def test_plain_values_are_plain_json(value: Any) -> None:
    """Values of JSON's own types have no tags."""
    assert JSONSerializer().dumps(value) == msgspec.json.encode(value)


@given(value=PLAIN)
def test_plain_values_are_plain_messagepack(value: Any) -> None:
    """Values of its own types have no tags."""
    assert MsgpackSerializer().dumps(value) == msgspec.msgpack.encode(value)


def test_bytes_nan_and_infinity_are_plain_messagepack() -> None:
    """MessagePack has them, so they need no tag."""
    assert MsgpackSerializer().dumps([b"\xff", math.inf]) == msgspec.msgpack.encode([b"\xff", math.inf])


def test_plain_values_are_not_copied() -> None:
    """The encoder returns the same object."""
    value = [[1, 2.5, "a", None, [True]], {"key": {"other": [1]}, "n": 2**64 - 1}]

    encoder = Encoder(JSONSerializer.native, ClassTable(), lambda _: NotImplemented, careful=False)

    assert encoder.encode(value) is value


@pytest.mark.parametrize("make", TAGGED)
def test_plain_calls_are_read_without_a_look_for_tags(make: type[TaggedSerializer]) -> None:
    """The bytes of a plain call show that there are no tags in them."""
    serializer = make()

    assert not serializer.may_hold_tags(serializer.dumps([[10, "a"], {"key": [None]}]))


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ([1, "a", {"k": 2}], '[1,"a",{"k":2}]'),
        (2**64, '{"!int":"0x10000000000000000"}'),
        (-(2**63) - 1, '{"!int":"-0x8000000000000001"}'),
        ([math.nan, math.inf, -math.inf], '[{"!float":"nan"},{"!float":"inf"},{"!float":"-inf"}]'),
        ("\ud800", '{"!str":"7aCA"}'),
        (b"\xff\x00", '{"!bytes":"/wA="}'),
        (bytearray(b"ab"), '{"!bytearray":"YWI="}'),
        ((1, (2,)), '{"!tuple":[1,{"!tuple":[2]}]}'),
        ({1}, '{"!set":[1]}'),
        (frozenset({"a"}), '{"!frozenset":["a"]}'),
        ({1: "a", None: 2}, '{"!dict":[[1,"a"],[null,2]]}'),
        ({"!set": [1]}, '{"!dict":[["!set",[1]]]}'),
        ({"a": 2, "!set": [1]}, '{"a":2,"!set":[1]}'),
        (datetime.fromisoformat("2024-05-01T12:00:00"), '{"!datetime":"2024-05-01T12:00:00"}'),
        (datetime(2024, 5, 1, tzinfo=UTC), '{"!datetime":"2024-05-01T00:00:00+00:00"}'),
        (
            datetime(2024, 10, 27, 2, fold=1, tzinfo=ZoneInfo("Europe/Berlin")),
            '{"!datetime":["2024-10-27T02:00:00","Europe/Berlin",1]}',
        ),
        (
            datetime(2024, 5, 1, tzinfo=timezone(timedelta(hours=2), "EET")),
            '{"!datetime":["2024-05-01T00:00:00",[0,7200,0,"EET"],0]}',
        ),
        (date(2024, 5, 1), '{"!date":"2024-05-01"}'),
        (time(12, 30), '{"!time":"12:30:00"}'),
        (timedelta(days=-1, microseconds=5), '{"!timedelta":[-1,0,5]}'),
        (Decimal("1.50"), '{"!decimal":"1.50"}'),
        (UUID(int=1), '{"!uuid":"00000000-0000-0000-0000-000000000001"}'),
    ],
    ids=lambda case: case if isinstance(case, str) else "",
)
def test_json_form(value: Any, written: str) -> None:
    """Each type has one written form, which is read as that type."""
    serializer = JSONSerializer()

    assert serializer.dumps(value) == written.encode()
    loaded = serializer.loads(written.encode())
    assert repr(loaded) == repr(value)


def test_hand_written_json_may_have_blanks_and_long_numbers() -> None:
    """People type bodies into redis-cli."""
    loaded = JSONSerializer().loads(b' [ [ 123456789012345678901234567890, 1e3 ], { "s": { "!set" : [ 1 ] } } ] ')

    assert loaded == [[123456789012345678901234567890, 1000.0], {"s": {1}}]


def test_messagepack_of_another_writer_may_have_any_keys() -> None:
    """MessagePack allows keys that are not text; other programs use them."""
    assert MsgpackSerializer().loads(msgspec.msgpack.encode({1: "!", (2, 3): None})) == {1: "!", (2, 3): None}
