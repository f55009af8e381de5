"""The classes in the annotations of a task are registered."""

from __future__ import annotations

import enum
import functools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    Optional,
    TypedDict,
    TypeVar,
    Union,
)

import attrs
import pytest

from pyxqueue.errors import ConfigurationError, SerializationError
from pyxqueue.serializers import JSONSerializer
from pyxqueue.serializers.annotations import classes_in

from .values import make_class

if TYPE_CHECKING:
    from nowhere import Nothing  # type: ignore[import-not-found]


class Color(enum.Enum):
    RED = 1


class Other(enum.Enum):
    ONE = 1


@dataclass
class Inner:
    color: Color


@dataclass
class Base:
    inner: list[Inner]


@dataclass
class Outer(Base):
    again: Outer | None = None
    unknown: Nothing | None = None


@attrs.define
class Wrapped:
    inner: Optional[Inner]  # noqa: UP045 - the older spelling is the point


class Pair(NamedTuple):
    left: Color
    right: int


class Options(TypedDict):
    inner: Inner


T = TypeVar("T")
Bound = TypeVar("Bound", bound=Color)
OneOf = TypeVar("OneOf", Color, Other)
Name = NewType("Name", Color)


@dataclass
class Box(Generic[T]):
    content: T


class Plain:
    inner: Inner


@dataclass
class Entries(list[int]):
    note: str = ""


def found(hint: Any) -> set[type]:
    def task(argument: Any) -> None: ...

    task.__annotations__ = {"argument": hint}
    return set(classes_in(task))


@pytest.mark.parametrize(
    ("hint", "classes"),
    [
        (Color, {Color}),
        ("Color", {Color}),
        (list[Color], {Color}),
        (list["Color"], {Color}),
        (dict[str, tuple[Color, ...]], {Color}),
        (Color | None, {Color}),
        (Union[Color, Other], {Color, Other}),  # noqa: UP007 - the older spelling is the point
        (Annotated[Color, []], {Color}),
        (Literal[Color.RED, "a"], {Color}),
        (Callable[[Color], Other], {Color, Other}),
        (Awaitable[Color], {Color}),
        (Name, {Color}),
        (Bound, {Color}),
        (OneOf, {Color, Other}),
        (Box[Color], {Box, Color}),
        (Inner, {Inner, Color}),
        (Outer, {Outer, Inner, Color}),
        (Wrapped, {Wrapped, Inner, Color}),
        (Pair, {Pair, Color}),
        (Options, {Inner, Color}),
        ("Nothing", set()),
        ("1 +", set()),
        (Plain, set()),
        (Entries, set()),
        (int, set()),
        (None, set()),
        (Any, set()),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_classes_are_found_in(hint: Any, classes: set[type]) -> None:
    """Generics, unions, aliases and fields are searched, at any depth."""
    assert found(hint) == classes


def test_parameters_and_the_return_value_count() -> None:
    """One annotation that cannot be resolved does not affect the others."""

    def task(first: Color, second: Nothing, /, *rest: Inner, key: Other) -> Box[int]: ...  # type: ignore[empty-body]

    assert set(classes_in(task)) == {Color, Inner, Other, Box}


def test_the_annotations_of_a_decorated_function_are_found() -> None:
    """The wrapper is often defined in a module that does not have the names."""

    def task(first: Color) -> None: ...

    @functools.wraps(task)
    def wrapper(*args: Any) -> None: ...

    wrapper.__annotations__ = {}
    assert classes_in(wrapper) == [Color]


def test_a_callable_without_annotations_has_no_classes() -> None:
    """Partials and builtins can be tasks too."""
    assert classes_in(functools.partial(print)) == []
    assert classes_in(len) == []


def test_annotated_classes_travel() -> None:
    """The caller and the worker register the same task, and so the same classes."""

    def task(order: Outer) -> Color: ...  # type: ignore[empty-body]

    client, worker = JSONSerializer(), JSONSerializer()
    client.register_annotations(task)
    worker.register_annotations(task)
    value = Outer([Inner(Color.RED)], Outer([]))

    assert worker.loads(client.dumps(value)) == value


def test_annotating_twice_does_no_harm() -> None:
    """Many tasks share their classes."""

    def task(color: Color) -> None: ...

    serializer = JSONSerializer(types=[Color])
    serializer.register_annotations(task)
    serializer.register_annotations(task)

    assert serializer.loads(serializer.dumps(Color.RED)) is Color.RED


def test_an_annotated_class_that_cannot_travel_is_refused_when_it_is_passed() -> None:
    """The annotation alone is not an error."""

    def task(entries: Entries) -> None: ...

    serializer = JSONSerializer()
    serializer.register_annotations(task)

    with pytest.raises(SerializationError, match="would come back as a plain list"):
        serializer.dumps(Entries())


def test_two_annotated_classes_of_one_name_are_refused() -> None:
    """As with `register`."""

    def task(first: Any, second: Any) -> None: ...

    twins = [make_class("m", "Twin") for _ in "ab"]
    task.__annotations__ = dict(zip(("first", "second"), twins, strict=True))

    with pytest.raises(ConfigurationError, match=r"two classes are called m\.Twin"):
        JSONSerializer().register_annotations(task)
