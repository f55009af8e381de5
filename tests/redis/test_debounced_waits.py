"""Debounced tasks that clients wait for."""

from __future__ import annotations

from typing import Any

from pyxqueue.backends.redis import RedisBackend
from pyxqueue.model.locks import LockTerms
from pyxqueue.model.message import Message

LOCK = "0" * 32


def test_those_who_wait_for_a_debounced_task_are_told_after_another_call(
    backend: RedisBackend, client: Any, stream_key: str
) -> None:
    """The call that replaces the message drops none of the notes about its task: whoever waits would look again after
    30 seconds only."""
    message = Message("a", "job", delay_ms=60_000, lock=f"d{LOCK}")
    notes, channel = f"{{{stream_key}}}:cg:notes", f"{{{stream_key}}}:wake:+someone"
    backend.enqueue_unique([message], LockTerms())
    client.hset(notes, "waiters:a", channel)
    backend.enqueue_unique([message], LockTerms())
    assert client.hget(notes, "waiters:a") == channel.encode()
    with client.pubsub() as listener:
        listener.subscribe(channel)
        listener.get_message(timeout=5)
        assert backend.cancel(["a"]) == [True]
        heard = listener.get_message(timeout=5)
    assert heard is not None
    assert heard["data"].startswith(b"a ")
    assert backend.lock_holders([LOCK]) == [""]
    assert client.exists(notes) == 0
