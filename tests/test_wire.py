"""Every field of a message is on the wire, in the message that the kit stores, and in the hostile entries."""

from __future__ import annotations

from typing import Any

import pytest

from pyxqueue.model.message import Message, evolve
from pyxqueue.model.wire import (
    MAX_NAME,
    _any_message,
    _usual_message,
    _valid_name,
    message_from_fields,
    message_to_fields,
)
from pyxqueue.testing.contract.steps import RICH

from .hostile.entries import RESERVED

PLAIN = Message("one", "job")
OTHER: dict[type, Any] = {
    str: "other",
    int: 7,
    bool: True,
    bytes: b"\x00\xff",
    dict: {"größe": "ü"},
    tuple: ("größe/1%20a", "two/"),
}
"""A value of each type that is not a field's default."""
OF_FLOWS = {"after": ("one", "many.*12"), "successors": ("f:one", "w:two")}
NOT_CARRIED = {
    "id",  # an entry may do without it: then it has the id of its entry
    "v",  # a message of a larger version is not read
    "delay_ms",  # the store turns it into `due_ms`
    "lifetime_ms",  # the store turns it into `expires_ms`
}
CARRIED = [name for name in Message.__struct_fields__ if name not in NOT_CARRIED]
WRITTEN_BY_THE_STORE = {"attempt", "crashes", "redelivered", "deferrals", "enqueued_ms", "due_ms", "doomed", "past"}
HOLDS_BACK = {"after"}
"""A message with this field is not ready; a test of L10 compares it."""


def changed(*names: str) -> Message:
    """A message in which these fields are not at their default."""
    return evolve(PLAIN, **{name: OF_FLOWS.get(name, OTHER[type(getattr(PLAIN, name))]) for name in names})


@pytest.mark.parametrize("name", CARRIED)
def test_a_field_survives_the_wire(name: str) -> None:
    """What is written into a store comes back; a field that the wire forgets would be lost without an error."""
    message = changed(name)
    flat = message_to_fields(message)

    assert message != PLAIN
    assert message_from_fields(dict(zip(flat[::2], flat[1::2], strict=True)), "another") == message


USUAL = {b"enqueued": b"5", b"v": b"1", b"id": b"one", b"name": b"job", b"body": b"[]"}
ODD: dict[bytes, list[bytes]] = {
    b"v": [b"1", b"2", b"01", b"", b"x"],
    b"id": [b"one", b"", b"a/b", b"\xff", "ä".encode(), b"x" * 64, b"x" * 65, b"one\n"],
    b"name": [
        b"job",
        b"",
        "größe".encode(),
        b"\xff",
        b"a b",
        b"job\n",
        b"x" * 200,
        b"x" * 201,
        b"\xf0\x9d\x92\xb3" * 200,
    ],
    b"body": [b"[]", b"", b"\xff"],
    b"enqueued": [b"5", b"0", b"007", b"-1", b"5 ", b"", b"x", b"9" * 15, b"9" * 16, b"9" * 5000, "٣".encode()],
}


@pytest.mark.parametrize("key", USUAL)
def test_a_usual_message_is_read_as_any_other(key: bytes) -> None:
    """The short way for the fields of a first run reads what the general way reads, and nothing else."""
    wrong = []
    for value in ODD[key]:
        fields = {**USUAL, key: value}
        for given in (
            fields,
            fields,
            dict(reversed(fields.items())),
            {**fields, b"more": b"x"},
            {**fields, b"_id": b"y"},
        ):
            if message_from_fields(given, "known") != _any_message(given, "known"):
                wrong.append(given)  # noqa: PERF401 - a comprehension would be unreadable
        without = {name: value for name, value in fields.items() if name != key}
        assert message_from_fields(without, "known") == _any_message(without, "known")

    assert wrong == []
    assert _usual_message(USUAL) == Message("one", "job", b"[]", enqueued_ms=5)


def test_names_that_are_remembered_are_few_and_short() -> None:
    """What other programs write into a store cannot fill the memory of a worker."""
    for number in range(1100):
        message_from_fields({**USUAL, b"name": b"job%d" % number}, "known")
    known = _valid_name.cache_info()
    message_from_fields({**USUAL, b"name": b"x" * (MAX_NAME - 1)}, "known")

    assert known.currsize == known.maxsize == 1024
    assert _valid_name.cache_info() == known


def test_the_message_of_the_kit_has_every_field() -> None:
    """The laws about a message as a whole are tested with `RICH`, so a field at its default would not be tested."""
    given = set(CARRIED) - WRITTEN_BY_THE_STORE - HOLDS_BACK

    assert [name for name in given if getattr(RICH, name) == getattr(PLAIN, name)] == []


def test_the_hostile_entries_have_every_field() -> None:
    """The hostile tests write into each field that is read."""
    names = {key.decode() for key in message_to_fields(changed(*CARRIED))[::2]}

    assert names - set(RESERVED) == set()
