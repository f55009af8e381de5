"""Registered enums, dataclasses, attrs classes and named tuples."""

from __future__ import annotations

import abc
import enum
import functools
import sys
import types
from collections import namedtuple
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyxqueue.errors import ConfigurationError, SerializationError
from pyxqueue.serializers import JSONSerializer, TaggedSerializer

from .values import TAGGED, make_class

both = pytest.mark.parametrize("make", TAGGED)
T = TypeVar("T")


class Color(enum.Enum):
    RED = "red"
    CRIMSON = "red"  # noqa: PIE796 - an alias
    BLUE = object()


class Level(enum.IntEnum):
    LOW = 1


class Mode(enum.StrEnum):
    FAST = "fast"


class Permission(enum.Flag):
    READ = 1
    WRITE = 2


class Bits(enum.IntFlag):
    ONE = 1


@dataclass
class Point:
    x: Any
    y: Any = 0


@dataclass(frozen=True, slots=True)
class Order:
    id: int
    lines: tuple[Point, ...]
    color: Color = Color.RED
    tags: set[str] = field(default_factory=set)


@attrs.frozen
class Money:
    amount: int
    currency: str = "EUR"
    _note: str = attrs.field(default="", alias="remark")
    double: int = attrs.field(init=False, default=attrs.Factory(lambda self: self.amount * 2, takes_self=True))
    parts: list[int] = attrs.field(factory=list)


@attrs.define(slots=False)
class Loose:
    x: int


class Pair(NamedTuple):
    left: Any
    right: Any = None


@dataclass
class Box(Generic[T]):
    content: T


@dataclass
class Temperature:
    """A class whose `__post_init__` does not accept its own output."""

    celsius: Any

    def __post_init__(self) -> None:
        self.celsius = float(self.celsius.removesuffix("C"))


@dataclass
class Lazy:
    x: int

    @functools.cached_property
    def square(self) -> int:
        return self.x**2


@dataclass
class Slotted:
    __slots__ = "content"  # noqa: PLC0205 - Python allows it
    content: int


@attrs.define
class LazySlots:
    x: int

    @functools.cached_property
    def square(self) -> int:
        return self.x**2


CLASSES = (
    Slotted,
    LazySlots,
    Color,
    Level,
    Mode,
    Permission,
    Bits,
    Point,
    Order,
    Money,
    Loose,
    Pair,
    Box,
    Temperature,
    Lazy,
)
INSTANCES = [
    Color.RED,
    Color.BLUE,
    Level.LOW,
    Mode.FAST,
    Permission.READ | Permission.WRITE,
    Permission(0),
    Bits(9),
    Point(1, 2),
    Order(1, (Point(1), Point({1: Color.BLUE})), Color.BLUE, {"a"}),
    Money(5, "USD", "hi", [1]),
    Loose(1),
    Pair(1, Pair(Color.RED)),
    Box[int](3),
    Temperature("21.5C"),
    Slotted(1),
    LazySlots(1),
]


@both
@pytest.mark.parametrize("value", INSTANCES, ids=lambda value: f"{type(value).__name__}-{value!r:.20}")
def test_instances_come_back(make: type[TaggedSerializer], value: Any) -> None:
    """Equal, and of the same class, in any container."""
    serializer = make(types=CLASSES)

    for place in (value, [value, {"key": (value,)}]):
        loaded = serializer.loads(serializer.dumps(place))
        assert loaded == place
    assert type(loaded[0]) is type(value)


@both
@given(
    value=st.recursive(
        st.sampled_from(INSTANCES), lambda items: st.builds(Point, items, st.tuples(items)), max_leaves=5
    )
)
def test_nested_instances_come_back(make: type[TaggedSerializer], value: Any) -> None:
    """Fields are values like any other."""
    serializer = make(types=CLASSES)

    assert serializer.loads(serializer.dumps(value)) == value


def test_members_of_enums_come_back_as_the_same_objects() -> None:
    """They are compared by identity."""
    serializer = JSONSerializer(types=[Color])

    assert serializer.loads(serializer.dumps([Color.CRIMSON, Color.BLUE])) == [Color.RED, Color.BLUE]
    assert serializer.loads(serializer.dumps(Color.BLUE)) is Color.BLUE


def test_json_form_of_classes() -> None:
    """The tag is the import path. Enums are written by name, flags by number, others as fields or lists."""
    serializer = JSONSerializer(types=CLASSES)
    here = __name__

    assert serializer.dumps(Color.CRIMSON) == f'{{"!{here}.Color":"RED"}}'.encode()
    assert serializer.dumps(Permission.WRITE) == f'{{"!{here}.Permission":2}}'.encode()
    assert serializer.dumps(Point(1)) == f'{{"!{here}.Point":{{"x":1,"y":0}}}}'.encode()
    assert serializer.dumps(Pair(1)) == f'{{"!{here}.Pair":[1,null]}}'.encode()


def test_a_field_the_bytes_do_not_have_takes_its_default() -> None:
    """A class may get a new field while older messages wait."""
    serializer = JSONSerializer(types=CLASSES)
    here = __name__

    assert serializer.loads(f'{{"!{here}.Point":{{"x":1}}}}'.encode()) == Point(1, 0)
    first, second = (serializer.loads(f'{{"!{here}.Order":{{"id":1,"lines":{{"!tuple":[]}}}}}}'.encode()) for _ in "ab")
    assert first == second == Order(1, ())
    assert first.tags is not second.tags
    assert serializer.loads(f'{{"!{here}.Money":{{"amount":4}}}}'.encode()) == Money(4)


@pytest.mark.parametrize(
    "written",
    [
        '{"!%s.Point":{"y":1}}',
        '{"!%s.Point":{"x":1,"z":1}}',
        '{"!%s.Point":[["x",1]]}',
        '{"!%s.Point":{"!dict":[[1,2]]}}',
        '{"!%s.Money":{}}',
        '{"!%s.Pair":[1]}',
        '{"!%s.Pair":"ab"}',
        '{"!%s.Color":"GREEN"}',
        '{"!%s.Color":["RED"]}',
        '{"!%s.Permission":64}',
        '{"!%s.Permission":true}',
        '{"!%s.Permission":"READ"}',
    ],
)
def test_other_states_are_refused(written: str) -> None:
    """Data that does not fit its class is not completed or shortened."""
    serializer = JSONSerializer(types=CLASSES)

    with pytest.raises(SerializationError):
        serializer.loads((written % __name__).encode())


def test_the_error_tells_the_fields() -> None:
    """People who write a message by hand need them."""
    with pytest.raises(SerializationError, match="Point has the fields x, y and no others"):
        JSONSerializer(types=[Point]).loads(f'{{"!{__name__}.Point":[1,2]}}'.encode())


def test_classes_are_known_to_their_serializer_only() -> None:
    """There is no global registry."""
    data = JSONSerializer(types=[Point]).dumps(Point(1))

    with pytest.raises(SerializationError, match="Point is unknown here"):
        JSONSerializer().loads(data)


def test_register_is_a_decorator() -> None:
    """It returns the class, and may be used twice."""
    serializer = JSONSerializer()

    @serializer.register
    @dataclass
    class Local:
        x: int

    assert serializer.register(Local) is Local
    assert serializer.loads(serializer.dumps(Local(1))) == Local(1)


def test_a_class_of_a_script_has_its_import_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader may have imported the script as a module."""
    script = types.ModuleType("__main__")
    script.__file__ = "/srv/rpc.py"
    monkeypatch.setitem(sys.modules, "__main__", script)
    here = make_class("__main__", "Job")
    there = make_class("rpc", "Job")

    data = JSONSerializer(types=[here]).dumps(here(1))

    assert data == b'{"!rpc.Job":{"x":1}}'
    assert JSONSerializer(types=[there]).loads(data) == there(1)


def test_two_classes_of_one_name_are_refused() -> None:
    """The bytes could mean either of them."""
    serializer = JSONSerializer()
    first, second = (make_class("m", "Twin") for _ in "ab")
    serializer.register(first)

    with pytest.raises(ConfigurationError, match=r"two classes are called m\.Twin"):
        serializer.register(second)


class Abstract(abc.ABC):
    @abc.abstractmethod
    def run(self) -> None: ...


UNFIT = {
    "plain": type("Plain", (), {}),
    "int": int,
    "dict": dict,
    "abstract": dataclass(type("AbstractRecord", (Abstract,), {})),
    "list": dataclass(type("ListRecord", (list,), {})),
    "error": attrs.define(type("ErrorRecord", (Exception,), {})),
    "slot": dataclass(type("SlotRecord", (), {"__slots__": ("hidden",)})),
    "one-slot": dataclass(type("OneSlotRecord", (), {"__slots__": "hidden"})),
    "cached-hash": attrs.define(cache_hash=True, frozen=True)(type("HashRecord", (), {})),
    "no-class": Box[int],
}


@pytest.mark.parametrize("unfit", UNFIT)
def test_classes_that_cannot_travel_are_refused(unfit: str) -> None:
    """When they are registered, not at the first value; the error names the hooks."""
    with pytest.raises(ConfigurationError, match="override encode_custom and decode_custom"):
        JSONSerializer(types=[UNFIT[unfit]])


def test_attributes_that_are_not_fields_are_refused() -> None:
    """They would be silently lost."""
    serializer = JSONSerializer(types=CLASSES)
    point, loose = Point(1), Loose(1)
    point.extra = 1  # type: ignore[attr-defined]
    loose.extra = 1  # type: ignore[attr-defined]
    subclass = type("SubPair", (Pair,), {})
    serializer.register(subclass)
    pair = subclass(1)
    pair.extra = 1

    for value in (point, loose, pair):
        with pytest.raises(
            SerializationError, match=r"value\[0\]: this \w+ has an attribute 'extra' that is not a field"
        ):
            serializer.dumps([value])


def test_cached_properties_are_not_written() -> None:
    """They can be computed again."""
    serializer = JSONSerializer(types=CLASSES)
    lazy = Lazy(3)
    assert lazy.square == 9

    loaded = serializer.loads(serializer.dumps(lazy))

    assert vars(loaded) == {"x": 3}


def test_a_field_without_a_value_is_refused() -> None:
    """A field may have been deleted, or never set."""
    serializer = JSONSerializer(types=CLASSES)
    point = Point(1)
    del point.x

    with pytest.raises(SerializationError, match=r"value\[0\]: a value of type Point could not be taken apart"):
        serializer.dumps([point])


def test_subclasses_of_registered_classes_are_refused() -> None:
    """They may have more fields."""

    @dataclass
    class Point3(Point):
        z: int = 0

    with pytest.raises(SerializationError, match="Point3 is not registered"):
        JSONSerializer(types=[Point]).dumps(Point3(1))


def test_the_path_shows_fields() -> None:
    """They are shown as attributes."""
    serializer = JSONSerializer(types=CLASSES)

    with pytest.raises(SerializationError, match=r"^value\[0\]\.x\['when'\]: "):
        serializer.dumps([Point({"when": 1j})])


def test_members_that_an_enum_does_not_define_are_refused() -> None:
    """An enum can make members in `_missing_`; no other process has the same ones."""

    class Open(enum.Enum):
        KNOWN = 1

        @classmethod
        def _missing_(cls, value: object) -> Open:
            member = object.__new__(cls)
            member._name_, member._value_ = "MADE_UP", value
            return member

    with pytest.raises(SerializationError, match="not one of the members"):
        JSONSerializer(types=[Open]).dumps(Open(7))


def test_untyped_named_tuples_come_back() -> None:
    """Those of `collections.namedtuple`."""
    place = namedtuple("place", "row column")  # noqa: PYI024 - the untyped one is the point
    serializer = JSONSerializer(types=[place])

    loaded = serializer.loads(serializer.dumps(place(1, 2)))

    assert type(loaded) is place
    assert loaded == place(1, 2)
