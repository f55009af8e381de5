"""Pickle, whose errors become `SerializationError`."""

from __future__ import annotations

import contextlib
import pickle
import threading
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyxqueue.errors import SerializationError
from pyxqueue.serializers import PickleSerializer

from .values import VALUES, exact


class Trap:
    """An object whose pickle calls a function when it is loaded."""

    def __init__(self, call: Any, *args: Any) -> None:
        self.call = call, args

    def __reduce__(self) -> Any:
        return self.call


@given(value=VALUES)
def test_every_value_of_the_domain_comes_back(value: Any) -> None:
    """The domain of the JSON serializer is a part of its own."""
    serializer = PickleSerializer()

    assert exact(serializer.loads(serializer.dumps(value))) == exact(value)


def test_an_int_of_twenty_thousand_digits_comes_back() -> None:
    """Pickle does not use decimals."""
    serializer = PickleSerializer()

    assert serializer.loads(serializer.dumps([Fraction(10**20_000)])) == [Fraction(10**20_000)]


def deep() -> Any:
    value: Any = []
    for _ in range(10**5):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value", [lambda: None, threading.Lock(), deep(), (i for i in [1])], ids=["lambda", "lock", "deep", "generator"]
)
def test_what_cannot_be_pickled_is_refused(value: Any) -> None:
    """The error is the same as that of every serializer."""
    with pytest.raises(SerializationError, match="cannot be pickled"):
        PickleSerializer().dumps(value)


@given(data=st.binary())
def test_arbitrary_bytes(data: bytes) -> None:
    """Random bytes raise no other error than `SerializationError`."""
    with contextlib.suppress(SerializationError):
        PickleSerializer().loads(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"cnowhere\nnothing\n.",
        pickle.dumps(Trap(int, "x")),
        pickle.dumps(Trap(exit, "bye")),
    ],
    ids=["empty", "import", "raises", "exits"],
)
def test_a_pickle_that_fails_to_load_is_refused(data: bytes) -> None:
    """A pickle can run any code, also code that would end the worker."""
    with pytest.raises(SerializationError, match="cannot be loaded"):
        PickleSerializer().loads(data)


def test_older_pythons_can_read_a_pickle() -> None:
    """The protocol is one that all supported versions of Python have."""
    assert PickleSerializer().dumps(1)[:2] == b"\x80\x05"
