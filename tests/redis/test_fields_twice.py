"""Entries in which a field's name occurs twice: scripts and Python take the same value, the last one."""

from __future__ import annotations

from typing import Any

import pytest

from pyxqueue.backends.redis import RedisBackend
from pyxqueue.model.message import Defer, Fail, Message, Retry, Settlement, Unreadable, Verdict


def write(client: Any, stream_key: str, *fields: str) -> None:
    client.execute_command("XADD", stream_key, "*", "name", "job", *fields)


@pytest.mark.parametrize(
    ("counter", "again"), [("attempt", Retry()), ("deferrals", Defer(1)), ("crashes", "a crash")], ids=str
)
def test_a_counter_that_occurs_twice_goes_up(
    backend: RedisBackend, stream_key: str, client: Any, counter: str, again: Verdict | str
) -> None:
    """Otherwise a task that fails, or kills its worker, would run for ever."""
    write(client, stream_key, counter, "1", counter, "1", "due", "1", "due", "1")
    (delivery,) = backend.claim("w", 1, 0)

    for _ in range(2):
        if isinstance(again, str):
            backend.release("w", [delivery.receipt])
        else:
            assert backend.settle([Settlement(delivery.receipt, again)]) == [True]
        while not (found := backend.claim("w", 1, 0)):
            backend.maintain(1)
        (delivery,) = found

    assert getattr(delivery.message, counter) == 3


def test_a_requeue_removes_both_values(backend: RedisBackend, stream_key: str, client: Any) -> None:
    """The task starts with its first attempt."""
    write(client, stream_key, "id", "one", "attempt", "5", "attempt", "6", "redelivered", "1", "redelivered", "1")
    (delivery,) = backend.claim("w", 1, 0)
    backend.settle([Settlement(delivery.receipt, Fail("broken"))])

    assert backend.requeue(["one"]) == [True]

    (again,) = backend.claim("w", 1, 0)
    assert isinstance(again.message, Message)
    assert (again.message.attempt, again.message.redelivered) == (1, False)


@pytest.mark.parametrize("name", ["id", "_id"])
def test_an_id_that_occurs_twice(backend: RedisBackend, stream_key: str, client: Any, name: str) -> None:
    """The task keeps the id under which it was claimed."""
    write(client, stream_key, name, "first", name, "second")
    for _ in range(2):
        (delivery,) = backend.claim("w", 1, 0)
        assert delivery.message.id == "second"
        assert backend.settle([Settlement(delivery.receipt, Retry())]) == [True]


def test_an_empty_packed_field_is_kept(backend: RedisBackend, stream_key: str, client: Any) -> None:
    """No script would write such a field."""
    client.xadd(stream_key, {"packed": ""})
    (delivery,) = backend.claim("w", 1, 0)
    backend.settle([Settlement(delivery.receipt, Fail("broken"))])

    (info,) = backend.show([delivery.message.id])

    assert info is not None
    assert isinstance(info.message, Unreadable)
    assert info.message.fields[b"packed"] == b""
