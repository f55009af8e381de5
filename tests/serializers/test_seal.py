"""Seals: who wrote the bytes, and for which task."""

from __future__ import annotations

import hashlib
import hmac
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pyxqueue.errors import ConfigurationError, SealError
from pyxqueue.model.message import Message, evolve
from pyxqueue.model.wire import message_from_fields, message_to_fields
from pyxqueue.serializers import Seal, SealContext

OLD, NEW, FOREIGN = b"o" * 16, "n" * 32, b"f" * 16
CONTEXT = SealContext(queue="mail", name="rpc.send", id="1", direction="call", serializer="json")
CONTEXTS = st.builds(
    SealContext,
    st.text(),
    st.text(),
    st.text(),
    st.sampled_from(("call", "end")),
    st.text(),
    st.lists(st.text(), max_size=3).map(tuple),
)


@given(context=CONTEXTS, data=st.binary())
def test_what_was_sealed_is_accepted(context: SealContext, data: bytes) -> None:
    """Any bytes, in any context."""
    seal = Seal([NEW])

    seal.verify(context, data, seal.sign(context, data))


@given(first=CONTEXTS, second=CONTEXTS, data=st.binary(), other=st.binary())
def test_different_contexts_or_bytes_have_different_seals(
    first: SealContext, second: SealContext, data: bytes, other: bytes
) -> None:
    """Also if the parts of two contexts are the same text when joined."""
    assume((first, data) != (second, other))

    assert Seal([NEW]).sign(first, data) != Seal([NEW]).sign(second, other)


def test_parts_cannot_be_shifted() -> None:
    """The seal covers the boundaries between the parts."""
    seal = Seal([NEW])
    context = evolve(CONTEXT, queue="a", name="bc")

    with pytest.raises(SealError):
        seal.verify(evolve(context, queue="ab", name="c"), b"x", seal.sign(context, b"x"))


@pytest.mark.parametrize(
    "change",
    [
        {"queue": "other"},
        {"name": "rpc.delete"},
        {"id": "2"},
        {"direction": "end"},
        {"serializer": "pickle"},
        {"facts": ("tenant", "a")},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_seal_for_something_else_is_refused(change: dict[str, Any]) -> None:
    """Sealed bytes cannot be moved to another task, queue, id, direction or serializer."""
    seal = Seal([NEW])

    with pytest.raises(SealError, match="does not fit"):
        seal.verify(evolve(CONTEXT, **change), b"data", seal.sign(CONTEXT, b"data"))


def test_changed_bytes_are_refused() -> None:
    """One changed bit is enough."""
    seal = Seal([NEW])

    with pytest.raises(SealError, match="the seal of the call of task 1 does not fit"):
        seal.verify(CONTEXT, b"dat`", seal.sign(CONTEXT, b"data"))


def test_missing_seals_are_refused() -> None:
    """A sender cannot avoid the check by leaving out the seal."""
    with pytest.raises(SealError, match="the call of task 1 is not sealed"):
        Seal([NEW]).verify(CONTEXT, b"data", "")


def test_unknown_keys_are_refused_by_name() -> None:
    """The error has the ids of the keys on both sides, but not the keys."""
    foreign, own = Seal([FOREIGN]), Seal([NEW])
    text = foreign.sign(CONTEXT, b"data")

    with pytest.raises(SealError, match=f"sealed with the key {text.split(':')[1]}, this side has ") as caught:
        own.verify(CONTEXT, b"data", text)

    assert FOREIGN.decode() not in str(caught.value)
    assert NEW not in str(caught.value)


@pytest.mark.parametrize(
    "shape",
    [
        "{0}",
        "{0}:",
        "{0}:{1}",
        "{0}:{1}:",
        "{0}:{1}:{2}0",
        "{0}:{1}:\u00fc",
        "{0}:{1}:{2}:x",
        "v1:{1}:{2}",
        "::",
        "\x00",
    ],
)
def test_malformed_seals_are_refused(shape: str) -> None:
    """Any other text in the field raises the same error."""
    seal = Seal([NEW])
    text = shape.format(*seal.sign(CONTEXT, b"data").split(":"))

    with pytest.raises(SealError):
        seal.verify(CONTEXT, b"data", text)


@given(text=st.text())
def test_arbitrary_seals_are_refused(text: str) -> None:
    """Random text."""
    with pytest.raises(SealError):
        Seal([NEW]).verify(CONTEXT, b"data", text)


def test_keys_rotate_without_a_gap() -> None:
    """New key last, then first, then alone: processes at two successive steps accept each other's seals."""
    steps = [Seal([OLD]), Seal([OLD, NEW]), Seal([NEW, OLD]), Seal([NEW])]

    for earlier, later in pairwise(steps):
        later.verify(CONTEXT, b"data", earlier.sign(CONTEXT, b"data"))
        earlier.verify(CONTEXT, b"data", later.sign(CONTEXT, b"data"))
    with pytest.raises(SealError):
        steps[-1].verify(CONTEXT, b"data", steps[0].sign(CONTEXT, b"data"))


def test_the_form_of_a_seal_is_documented() -> None:
    """A program in another language can make it: HMAC-SHA256 over the parts, each after its length."""
    parts = (b"v2", b"mail", b"rpc.send", b"1", b"call", b"json", b"tenant", b"a", b"data")
    frame = b"".join(len(part).to_bytes(8, "big") + part for part in parts)
    key_id = hmac.new(OLD, b"pyxqueue key id", hashlib.sha256).hexdigest()[:16]

    context = evolve(CONTEXT, facts=("tenant", "a"))
    assert Seal(OLD).sign(context, b"data") == f"v2:{key_id}:{hmac.new(OLD, frame, hashlib.sha256).hexdigest()}"


def test_a_seal_travels_in_the_header() -> None:
    """The wire format of a message keeps it."""
    message = Message(id="1", name="rpc.send", body=b"data", seal=Seal([NEW]).sign(CONTEXT, b"data"))
    flat = message_to_fields(message)

    assert message_from_fields(dict(zip(flat[::2], flat[1::2], strict=True)), "x") == message


@pytest.mark.parametrize("keys", [[], "short", b"x" * 15, [NEW, "short"], ["ü" * 7]], ids=str)
def test_weak_keys_are_refused(keys: Any) -> None:
    """A short key can be guessed."""
    with pytest.raises(ConfigurationError):
        Seal(keys)


def test_text_and_bytes_are_the_same_key() -> None:
    """One side may read the key from a file, the other from its environment."""
    Seal(b"n" * 32).verify(CONTEXT, b"data", Seal("n" * 32).sign(CONTEXT, b"data"))


def test_keys_come_from_the_environment() -> None:
    """The first key signs, the others are accepted; blanks and a comma at the end do not matter."""
    seal = Seal.from_env(f" {NEW} ,{OLD.decode()}, ")

    assert seal.sign(CONTEXT, b"data") == Seal([NEW]).sign(CONTEXT, b"data")
    seal.verify(CONTEXT, b"data", Seal([OLD]).sign(CONTEXT, b"data"))


@pytest.mark.parametrize("value", ["", " , ", "short"])
def test_an_environment_without_a_good_key_is_refused(value: str) -> None:
    """An empty variable must not switch off the seal."""
    with pytest.raises(ConfigurationError):
        Seal.from_env(value)


def test_a_seal_does_not_show_its_keys() -> None:
    """Its repr may be logged."""
    assert NEW not in repr(Seal([NEW]))
