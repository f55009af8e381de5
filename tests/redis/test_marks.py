"""The marks that waiting clients leave, so that they are told when a task ends."""

from __future__ import annotations

from functools import partial

import pytest
from redis import Redis

from pyxqueue.backends.redis import ConnectionConfig, RedisBackend, RedisResults
from pyxqueue.backends.redis.results import look
from pyxqueue.model.message import Message
from pyxqueue.protocols import StoreOptions

DAY_MS = 86_400_000


def test_the_mark_of_one_who_still_waits_does_not_expire(redis_url: str, stream_key: str) -> None:
    """In a result store the mark alone is in the key, so it has a time to live; every look starts it again."""
    results = RedisResults(ConnectionConfig.from_url(redis_url), StoreOptions(stream_key))
    with Redis.from_url(redis_url) as client:
        results._session.run(results._look(["a"], "channel", None))
        (key,) = client.scan_iter("*:result:a")
        client.pexpire(key, 60_000)

        results._session.run(results._look(["a"], "channel", None))

        assert client.pttl(key) > DAY_MS / 2
    results.close()


@pytest.mark.parametrize("kind", [RedisBackend, RedisResults])
def test_the_marks_of_many_clients_are_bounded(
    redis_url: str, stream_key: str, kind: type[RedisBackend | RedisResults]
) -> None:
    """Clients come and go while a task waits: the newest are told, older ones look again by themselves."""
    backend = kind(ConnectionConfig.from_url(redis_url), StoreOptions(stream_key))
    look_at = partial(look, backend._registration) if isinstance(backend, RedisBackend) else backend._look
    if isinstance(backend, RedisBackend):
        backend.enqueue([Message("a", "job")])
    for number in range(2_000):
        backend._session.run(look_at(["a"], f"channel-{number:040}", None))
    with Redis.from_url(redis_url) as client:
        key, field = ("notes", "waiters:a") if kind is RedisBackend else ("result:a", "waiters")
        marks = (client.hget(f"{{{stream_key}}}:cg:{key}", field) or b"").split(b",")

    assert 1_000 < len(marks) < 1_400
    assert [int(mark[-40:]) for mark in marks] == list(range(2_000 - len(marks), 2_000))
    backend.close()
