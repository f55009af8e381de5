"""Law S2: `dumps` refuses a value that `loads` could not return, and its error has the type, the path and a remedy."""

from __future__ import annotations

import enum
import inspect
import io
import struct
import sys
from collections import OrderedDict, defaultdict, deque
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pytest

from pyxqueue.errors import SerializationError
from pyxqueue.serializers import JSONSerializer, OutsideDomainError, TaggedSerializer
from pyxqueue.serializers.walk import MAX_DEPTH

from .values import TAGGED

both = pytest.mark.parametrize("make", TAGGED)


class Color(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


class Pair(NamedTuple):
    left: int
    right: int


@dataclass
class Point:
    x: Any


class Text(str):
    __slots__ = ()


class Moment(datetime):
    pass


class Zone(tzinfo):
    def utcoffset(self, _: datetime | None) -> timedelta:
        return timedelta(0)

    dst = utcoffset

    def tzname(self, _: datetime | None) -> str:
        return "mine"


def zone_without_key() -> ZoneInfo:
    header = b"TZif" + bytes(16) + struct.pack(">6l", 0, 0, 0, 0, 1, 4)
    return ZoneInfo.from_file(io.BytesIO(header + struct.pack(">lbb", 0, 0, 0) + b"UTC\0"))


@both
@pytest.mark.parametrize(
    "value",
    [
        Color.RED, Level.LOW, Pair(1, 2), Point(1), Text("a"), Moment(2024, 1, 1), OrderedDict(a=1), defaultdict(int),
        deque([1]), 1j, object(), Color, len, range(3), memoryview(b"a"), ..., NotImplemented, (i for i in [1]),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_other_types_are_refused(make: type[TaggedSerializer], value: object) -> None:
    """A subclass does not become its base, nor any other value a text, in any container; the error names the type."""
    serializer = make()

    for place in (value, [value], (value,), {"key": value}, {1: value}):
        with pytest.raises(SerializationError, match=rf"\b{type(value).__qualname__}\b"):
            serializer.dumps(place)


@both
@pytest.mark.parametrize("key", [Text("a"), Level.LOW, Pair(1, 2)], ids=lambda key: type(key).__name__)
def test_other_types_are_refused_as_keys(make: type[TaggedSerializer], key: object) -> None:
    """Keys have the same domain as values."""
    with pytest.raises(SerializationError, match=rf"^value\.keys\(\): .*\b{type(key).__name__}\b"):
        make().dumps({key: 1})


@both
@pytest.mark.parametrize(
    ("value", "path"),
    [
        (1j, "value"),
        ([0, 1j], "value[1]"),
        ((0, 1j), "value[1]"),
        ([[], {"when": 1j}], "value[1]['when']"),
        ({1: {2: 1j}}, "value[1][2]"),
        ({1j: 1}, "value.keys()"),
        ({"a": {"!set": 1j}}, "value['a']['!set']"),
        ([datetime(2024, 1, 1, tzinfo=Zone())], "value[0].tzinfo"),
        ([datetime(2024, 1, 1, tzinfo=zone_without_key())], "value[0].tzinfo"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_the_error_says_where(make: type[TaggedSerializer], value: Any, path: str) -> None:
    """The path is the expression that leads from the outermost value to the refused one."""
    with pytest.raises(OutsideDomainError) as caught:
        make().dumps(value)

    assert caught.value.path == path
    assert str(caught.value).startswith(f"{path}: ")


@both
@pytest.mark.parametrize("key", [2**20000, "k" * 10**5, b"k" * 10**5], ids=lambda key: type(key).__name__)
def test_long_keys_are_cut_in_the_path(make: type[TaggedSerializer], key: object) -> None:
    """A key can be longer than an error should be, or than Python turns into text."""
    with pytest.raises(OutsideDomainError) as caught:
        make().dumps({key: 1j})

    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("value", "remedy"),
    [
        (Color.RED, "JSONSerializer(types=[Color])"),
        (Point(1), "JSONSerializer(types=[Point])"),
        (Pair(1, 2), "JSONSerializer(types=[Pair])"),
        (OrderedDict(), "would come back as a plain dict: convert it to one"),
        (Text(), "would come back as a plain str: convert it to one"),
        (1j, "override encode_custom and decode_custom in a subclass of JSONSerializer"),
        (object(), "plain data from which the task can make it; or make its class a dataclass and annotate the task"),
        (datetime(2024, 1, 1, tzinfo=Zone()), "use datetime.timezone or zoneinfo.ZoneInfo"),
    ],
    ids=lambda case: type(case).__name__ if not isinstance(case, str) else "",
)
def test_the_error_has_a_remedy(value: object, remedy: str) -> None:
    """It depends on the type: register the class, convert the value, or override the hooks."""
    with pytest.raises(SerializationError) as caught:
        JSONSerializer().dumps(value)

    assert remedy in str(caught.value)


@both
@pytest.mark.parametrize(
    "wrap", [lambda v: [v], lambda v: (v,), lambda v: {"a": v}, lambda v: {1: v}, lambda v: {"!a": v}], ids=[*"ltdpe"]
)
def test_too_deep_is_refused(make: type[TaggedSerializer], wrap: Any) -> None:
    """`MAX_DEPTH` levels are accepted; more, and also very many more, raise the same error."""
    serializer = make()
    value: Any = 1
    for _ in range(MAX_DEPTH):
        value = wrap(value)
    assert serializer.loads(serializer.dumps(value)) == value

    for levels in (2, 10**5):
        for _ in range(levels):
            value = wrap(value)
        with pytest.raises(SerializationError, match="levels deep"):
            serializer.dumps(value)


@both
def test_a_value_that_contains_itself_is_refused(make: type[TaggedSerializer]) -> None:
    """Its path would be endless, so it is cut."""
    value: list[Any] = []
    value.append({"again": value})

    with pytest.raises(SerializationError, match="contains itself") as caught:
        make().dumps(value)

    assert len(str(caught.value)) < 400


@both
def test_running_out_of_stack_raises_a_serialization_error(make: type[TaggedSerializer]) -> None:
    """A caller that is deep in its own recursion does not get a `RecursionError`."""
    value: Any = (1,)
    for _ in range(MAX_DEPTH - 1):
        value = (value,)
    serializer = make()
    data = serializer.dumps(value)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 100)
    try:
        for call in (lambda: serializer.dumps(value), lambda: serializer.loads(data)):
            with pytest.raises(SerializationError, match="recursion"):
                call()
    finally:
        sys.setrecursionlimit(limit)
