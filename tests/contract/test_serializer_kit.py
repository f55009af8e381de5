"""The kit tells a wrong serializer from a right one, and names the law that it breaks."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st

from pyxqueue.errors import SerializationError
from pyxqueue.testing.contract import SerializerContract
from pyxqueue.testing.contract.serializer import identical

SCALARS = (type(None), bool, int, str)


def check(value: Any) -> None:
    """Raise `SerializationError` unless the value is plain JSON."""
    if type(value) is list:
        for item in value:
            check(item)
    elif type(value) is dict:
        for key, item in value.items():
            check([str(key) if type(key) is str else None, item])
    elif type(value) not in SCALARS:
        raise SerializationError(f"{value!r} is not plain")


class Right:
    """Scalars, lists and objects as JSON; nothing else."""

    name = "plain"
    trusted = True

    def dumps(self, value: Any) -> bytes:
        check(value)
        return json.dumps(value).encode()

    def loads(self, data: bytes) -> Any:
        try:
            return json.loads(data)
        except (ValueError, RecursionError) as error:
            raise SerializationError(str(error)) from error


class CutsTexts(Right):
    def dumps(self, value: Any) -> bytes:
        return super().dumps(value[:1] if type(value) is str else value)


class ReadsFloats(Right):
    def loads(self, data: bytes) -> Any:
        value = super().loads(data)
        return float(value) if type(value) is int and abs(value) < 1_000 else value


class WritesText(Right):
    def dumps(self, value: Any) -> bytes:
        return super().dumps(value).decode()  # type: ignore[return-value]


class HasALongName(Right):
    name = "n" * 65


class TakesSubclasses(Right):
    def dumps(self, value: Any) -> bytes:
        return json.dumps(value, default=str).encode()


class RaisesTypeErrors(Right):
    def loads(self, data: bytes) -> Any:
        return json.loads(data)


class ReadsNothingAsNone(Right):
    def loads(self, data: bytes) -> Any:
        return super().loads(data) if data else None


class RunsPickles(Right):
    def loads(self, data: bytes) -> Any:
        try:
            return super().loads(data)
        except SerializationError:
            try:
                return pickle.loads(data)
            except Exception as error:
                raise SerializationError(str(error)) from error


class IsHalfTrusted(Right):
    trusted = "partly"  # type: ignore[assignment]


WRONG = [
    ("S1", CutsTexts),
    ("S1", ReadsFloats),
    ("S1", WritesText),
    ("S1", HasALongName),
    ("S2", TakesSubclasses),
    ("S3", RaisesTypeErrors),
    ("S3", ReadsNothingAsNone),
    ("S4", RunsPickles),
    ("S4", IsHalfTrusted),
]


settings.register_profile(
    "unshrunk", settings.get_profile("pyxqueue"), phases=[Phase.explicit, Phase.reuse, Phase.generate]
)


class Contract(SerializerContract):
    leaves = st.integers(-9, 9) | st.none() | st.booleans() | st.integers() | st.text()
    # What the wrong ones get wrong comes often: the kit shall find it for certain.
    values = st.integers(-9, 9) | st.text(min_size=2) | st.recursive(leaves, st.lists, max_leaves=5)


class TestRight(Contract):
    serializer = Right()


@pytest.fixture(autouse=True)
def unshrunk() -> Iterator[None]:
    """A failure is enough here; making it small can take Hypothesis minutes."""
    settings.load_profile("unshrunk")
    yield
    settings.load_profile("pyxqueue")


def failures(serializer: Right, law: str) -> list[str]:
    """What the tests of the law say that fail."""
    contract = Contract()
    contract.serializer = serializer
    failed = []
    for name in dir(Contract):
        if name.startswith(f"test_{law.lower()}_"):
            try:
                getattr(contract, name)()
            except AssertionError as error:
                failed.append(str(error))
    return failed


@pytest.mark.parametrize(("law", "wrong"), WRONG, ids=[f"{law}-{wrong.__name__}" for law, wrong in WRONG])
def test_a_wrong_serializer_fails(law: str, wrong: type[Right]) -> None:
    """Each wrong serializer fails a test of the law that it breaks, and the failure names that law."""
    failed = failures(wrong(), law)

    assert failed
    assert all(said.startswith(f"law {law} is broken: ") for said in failed)


@pytest.mark.parametrize(
    ("seen", "wanted"),
    [
        (1, True),
        (1, 1.0),
        ([1], (1,)),
        ([1, 2], [1]),
        ({"a": 1}, {"a": True}),
        ({"a": 1}, {"b": 1}),
        ({1}, {True}),
        ({1}, frozenset([1])),
        (0.0, -0.0),
        (b"x", bytearray(b"x")),
    ],
)
def test_what_only_looks_equal_is_not_identical(seen: object, wanted: object) -> None:
    """A value of another type, anywhere inside, is another value."""
    assert not identical(seen, wanted)


def test_a_value_is_identical_to_its_copy() -> None:
    """NaN included, at any depth."""
    assert identical([float("nan"), {1, 2.0}, {"a": (None,)}], [float("nan"), {2.0, 1}, {"a": (None,)}])
