"""`encode_custom` and `decode_custom` serialize other types."""

from __future__ import annotations

import re
from fractions import Fraction
from ipaddress import IPv4Address
from typing import Any

import pytest

from pyxqueue.errors import SerializationError
from pyxqueue.serializers import JSONSerializer, MsgpackSerializer, TaggedSerializer


class Hooks(TaggedSerializer):
    def encode_custom(self, value: Any) -> Any:
        if isinstance(value, Fraction):
            return "fraction", (value.numerator, value.denominator)
        if isinstance(value, IPv4Address):
            return "ip", value.packed
        if isinstance(value, slice):
            return "set", {value.start: value.stop}
        if isinstance(value, type):
            return "type", [value]
        if isinstance(value, range):
            raise OSError("a bug in the hook")
        if isinstance(value, re.Pattern):
            return "only a tag"
        return NotImplemented

    def decode_custom(self, tag: str, data: Any) -> Any:
        match tag, data:
            case "fraction", (numerator, denominator):
                return Fraction(numerator, denominator)
            case "ip", data:
                return IPv4Address(data)
            case "set", data:
                return slice(*next(iter(data.items())))
        return NotImplemented


class JSONWithHooks(Hooks, JSONSerializer):
    pass


class MsgpackWithHooks(Hooks, MsgpackSerializer):
    pass


both = pytest.mark.parametrize("make", [JSONWithHooks, MsgpackWithHooks])


@both
def test_custom_types_come_back(make: type[TaggedSerializer]) -> None:
    """Their data may hold any values of the domain: tuples, bytes, integers of any size."""
    serializer = make()
    value = [Fraction(1, 3**200), {"ip": IPv4Address("10.0.0.1")}, {Fraction(1, 2): (Fraction(2),)}]

    assert serializer.loads(serializer.dumps(value)) == value


@both
def test_custom_tags_do_not_collide_with_built_in_tags(make: type[TaggedSerializer]) -> None:
    """A custom tag may have the name of a built-in tag."""
    serializer = make()

    assert serializer.loads(serializer.dumps([slice(1, 2), {3}])) == [slice(1, 2), {3}]


def test_json_form_of_custom_types() -> None:
    """A custom tag has two marks."""
    assert JSONWithHooks().dumps(Fraction(1, 2)) == b'{"!!fraction":{"!tuple":[1,2]}}'


@both
@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        (1j, "complex cannot travel"),
        (int, "levels deep"),
        (range(3), r"range could not be taken apart: OSError\('a bug in the hook'\)"),
        (re.compile("a"), "Pattern could not be taken apart"),
    ],
    ids=["not-mine", "endless", "raises", "wrong-result"],
)
def test_a_hook_that_fails_raises_a_serialization_error(
    make: type[TaggedSerializer], value: Any, complaint: str
) -> None:
    """The error has the path to the value."""
    with pytest.raises(SerializationError, match=rf"value\[0\].*: .*{complaint}"):
        make().dumps([value])


@both
@pytest.mark.parametrize(
    "wire",
    [{"!fraction": [1, 2]}, {"!!fraction": 1}, {"!!fraction": [1, 0]}, {"!!ip": "no"}, {"!!unknown": 1}],
    ids=str,
)
def test_data_that_the_hook_refuses_raises_a_serialization_error(make: type[TaggedSerializer], wire: Any) -> None:
    """Also if the hook raises another exception, or does not know the tag."""
    serializer = make()

    with pytest.raises(SerializationError):
        serializer.loads(serializer.pack(wire))
