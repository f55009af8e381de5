"""The values that travel: two of them are equal if their kinds and their fields are, and none can be changed."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from pyxqueue.model.message import (
    Delivery,
    Done,
    Message,
    Record,
    Returned,
    Settlement,
    TaskInfo,
    TaskStatus,
    Unreadable,
    evolve,
)

MESSAGE = Message("one", "job", b"[]", headers={"a": "b"})
VALUES: list[tuple[Any, str]] = [
    (MESSAGE, "id"),
    (Delivery(MESSAGE, "receipt", 1), "receipt"),
    (Record("one", TaskStatus.SUCCESS, b"1"), "worker"),
    (Returned(b"1"), "serializer"),
    (Settlement("receipt", Done()), "receipt"),
    (Unreadable("one", {b"a": b"b"}, "reason"), "id"),
    (TaskInfo("one", TaskStatus.PENDING, MESSAGE), "worker"),
]


@pytest.mark.parametrize(("value", "name"), VALUES)
def test_a_value_is_compared_by_its_fields_and_never_changes(value: Any, name: str) -> None:
    """Copies are equal, also through pickle; one with another field is not, and assigning to a field fails."""
    other = evolve(value, **{name: "other"})

    assert other != value
    assert getattr(other, name) == "other"
    assert evolve(other, **{name: getattr(value, name)}) == value
    assert value == copy.deepcopy(value) == pickle.loads(pickle.dumps(value))
    with pytest.raises(AttributeError):
        setattr(value, name, "other")


def test_equal_values_count_once_in_a_set() -> None:
    """Values have the hash of their fields."""
    assert len({Returned(b"1"), Returned(b"1"), Returned(b"2")}) == 2


def test_messages_do_not_share_their_headers() -> None:
    """What changes those of one by mistake does not change another."""
    one, two = Message("one", "job"), Message("two", "job")
    one.headers["a"] = "b"  # type: ignore[index]

    assert two.headers == {}
