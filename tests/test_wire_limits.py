"""Stored text is measured before it is read: any program may have written it."""

from __future__ import annotations

import pytest

from pyxqueue.client.queue import TaskQueue
from pyxqueue.errors import SerializationError
from pyxqueue.model.message import Delivery, Message, Rejected, TaskStatus, Unreadable, Unsupported
from pyxqueue.model.wire import MAX_NAME, message_from_fields, record_from_fields
from pyxqueue.worker.execution import prepare
from pyxqueue.worker.failures import MAX_MESSAGE, failure_of

LONG = b"x" * (MAX_NAME + 1)


@pytest.mark.parametrize("name", ["name", "serializer", "parent", "reply", "seal", "id", "_id"])
def test_a_long_text_in_a_header_is_not_read(name: str) -> None:
    """An entry with too long a text is kept as it is; the reason does not repeat the text."""
    fields = {b"name": b"job", name.encode(): LONG}

    found = message_from_fields(fields, "known")

    assert found.id == "known"
    if name == "_id":
        assert found == Message("known", "job")
    else:
        assert isinstance(found, Unreadable)
        assert found.fields == fields
        assert len(found.reason) < 100


@pytest.mark.parametrize("name", ["name", "serializer", "parent", "reply", "seal"])
def test_a_text_of_usual_length_is_read(name: str) -> None:
    """A text up to the limit is read; a name has a limit of its own."""
    text = b"x" * (200 if name == "name" else MAX_NAME)

    assert isinstance(message_from_fields({b"name": b"job", name.encode(): text}, "known"), Message)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("serializer", LONG),
        ("seal", LONG),
        ("worker", LONG),
        ("error", b'["a","%s",""]' % (b"x" * (1 << 18))),
        ("progress", b'[1,2,"%s"]' % (b"x" * (1 << 16))),
    ],
    ids=["serializer", "seal", "worker", "error", "progress"],
)
def test_a_long_text_in_a_record_is_not_read(name: str, value: bytes) -> None:
    """A record with too long a text counts as damaged, or as missing."""
    with pytest.raises(SerializationError) as caught:
        record_from_fields("one", {b"v": b"1", b"state": b"%d" % TaskStatus.FAILURE, name.encode(): value})

    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, value) for name in ("attempt", "ended", "ttl", "fence", "ran") for value in (b"-1", b"9" * 4_000)),
        ("fence", b"%d" % (1 << 128)),
        ("progress", b'[1%s,2,""]' % (b"0" * 400)),
        ("progress", b'[1,-1%s,""]' % (b"0" * 400)),
    ],
)
def test_a_number_of_no_place_in_a_record_is_not_read(name: str, value: bytes) -> None:
    """A number that another store could not keep, or that could not be shown, makes a record damaged."""
    with pytest.raises(SerializationError) as caught:
        record_from_fields("one", {b"v": b"1", b"state": b"%d" % TaskStatus.SUCCESS, name.encode(): value})

    assert len(str(caught.value)) < 200


def test_the_largest_fencing_token_is_read() -> None:
    """A fencing token of 128 bits is read."""
    record = record_from_fields("one", {b"v": b"1", b"state": b"5", b"fence": b"%d" % ((1 << 128) - 1)})

    assert record is not None
    assert record.fence == (1 << 128) - 1


def test_the_longest_failure_can_be_read() -> None:
    """The longest failure is read, also if each character takes six bytes and the class name has no limit."""
    error = type("E" * 100_000, (Exception,), {})("\x00" * 100_000)
    failure = failure_of(error)

    record = record_from_fields(
        "one",
        {
            b"v": b"1",
            b"state": b"4",
            b"error": b"[%s]" % b",".join(_json(one) for one in (failure.type, failure.message, failure.message * 4)),
        },
    )

    assert record is not None
    assert record.error is not None
    assert record.error.type == failure.type
    assert len(failure.type) == MAX_MESSAGE


def _json(text: str) -> bytes:
    return b'"' + b"".join(b"\\u%04x" % ord(one) for one in text) + b'"'


@pytest.mark.parametrize("body", [b'[[],{"%s":1}]', b'[[{"!%s":1}],{}]', b'[["%s"],{}]'], ids=["name", "tag", "value"])
def test_what_refuses_a_call_does_not_repeat_it(body: bytes) -> None:
    """An error about a call is short, although a name or a tag in it may be as long as a payload."""
    queue = TaskQueue("memory://", stream_key="limits")
    queue.task(name="job")(lambda: None)
    message = Message("one", "job", body % (b"x" * 100_000))

    outcome = prepare(
        Delivery(message, "r", 1), queue.core.registry.get(message.name), queue.core.codec, lambda _progress: None
    )

    assert isinstance(outcome, Rejected | Unsupported)
    assert len(outcome.failure.message) <= MAX_MESSAGE


@pytest.mark.parametrize("name", ["v", "attempt", "crashes", "enqueued", "priority", "name", "headers"])
@pytest.mark.parametrize("value", [b"9" * 4_000, b"\x1b[2J\n" * 100_000, b"\xff" * 100_000, b'{"\x1b' * 100_000])
def test_the_reason_why_an_entry_cannot_be_read_is_bounded(name: str, value: bytes) -> None:
    """The reason is bounded and printable: it quotes the entry and is kept with the failed tasks."""
    fields = {b"name": b"x", b"body": b"[]", name.encode(): value}

    found = message_from_fields(fields, "id-1")

    assert isinstance(found, Unreadable)
    assert len(found.reason) < 600
    assert found.reason.isprintable()
