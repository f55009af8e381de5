"""Every field of a message is on the wire, in the message that the kit stores, and in the hostile entries."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve, fields

from pyxqueue.model.message import Message
from pyxqueue.model.wire import message_from_fields, message_to_fields
from pyxqueue.testing.contract.steps import RICH

from .hostile.entries import RESERVED

PLAIN = Message("one", "job")
OTHER: dict[type, Any] = {str: "other", int: 7, bool: True, bytes: b"\x00\xff", dict: {"größe": "ü"}}
"""A value of each type that is not a field's default."""
NOT_CARRIED = {
    "id",  # an entry may do without it: then it has the id of its entry
    "v",  # a message of a larger version is not read
    "delay_ms",  # the store turns it into `due_ms`
}
CARRIED = [one.name for one in fields(Message) if one.name not in NOT_CARRIED]
WRITTEN_BY_THE_STORE = {"attempt", "crashes", "redelivered", "deferrals", "enqueued_ms", "due_ms"}


def changed(*names: str) -> Message:
    """A message in which these fields are not at their default."""
    return evolve(PLAIN, **{name: OTHER[type(getattr(PLAIN, name))] for name in names})


@pytest.mark.parametrize("name", CARRIED)
def test_a_field_survives_the_wire(name: str) -> None:
    """What is written into a store comes back; a field that the wire forgets would be lost without an error."""
    message = changed(name)
    flat = message_to_fields(message)

    assert message != PLAIN
    assert message_from_fields(dict(zip(flat[::2], flat[1::2], strict=True)), "another") == message


def test_the_message_of_the_kit_has_every_field() -> None:
    """The laws about a message as a whole are tested with `RICH`, so a field at its default would not be tested."""
    given = set(CARRIED) - WRITTEN_BY_THE_STORE

    assert [name for name in given if getattr(RICH, name) == getattr(PLAIN, name)] == []


def test_the_hostile_entries_have_every_field() -> None:
    """The hostile tests write into each field that is read."""
    names = {key.decode() for key in message_to_fields(changed(*CARRIED))[::2]}

    assert names - set(RESERVED) == set()
