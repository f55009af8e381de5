"""A holder that an operator removed: Redis would never hand the message out again, so it is made ready."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from redis import Redis

from pyxqueue.backends.redis import ConnectionConfig, RedisBackend
from pyxqueue.model.message import Done, Message, Settlement
from pyxqueue.protocols import StoreOptions

Harm = Callable[[Redis, str, list[bytes]], object]
HARMS: dict[str, Harm] = {
    "XGROUP DELCONSUMER": lambda client, stream, _: client.xgroup_delconsumer(stream, "cg", "one"),
    "XACK": lambda client, stream, entries: client.xack(stream, "cg", *entries),
    "XGROUP SETID": lambda client, stream, entries: (
        client.xack(stream, "cg", *entries),
        client.xgroup_setid(stream, "cg", "$"),
    ),
}


@pytest.mark.parametrize("name", HARMS)
def test_a_message_without_a_holder_comes_back(redis_url: str, stream_key: str, name: str) -> None:
    """Each comes back once, and what others hold is left alone."""
    backend = RedisBackend(ConnectionConfig.from_url(redis_url), StoreOptions(stream_key), reclaim_after=0)
    backend.enqueue([Message(task_id, "job") for task_id in "abcd"])
    lost = backend.claim("one", 2, 0)
    (kept,) = backend.claim("two", 1, 0)
    with Redis.from_url(redis_url) as client:
        entries = [entry for entry, _ in client.xrange(stream_key) or ()][:2]
        HARMS[name](client, stream_key, entries)

    found = [delivery.message.id for _ in range(3) for delivery in backend.claim("three", 9, 0)]

    assert sorted(found) == ["a", "b", "d"]
    assert list(backend.settle([Settlement(one.receipt, Done()) for one in (*lost, kept)])) == [False, False, True]
    backend.close()
