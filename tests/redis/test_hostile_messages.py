"""Malformed messages that other programs put on the stream: they fail, and the worker goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import pytest
from redis import Redis

from pyxqueue import TaskQueue
from pyxqueue.backends.redis import ConnectionConfig, RedisBackend, commands
from pyxqueue.backends.redis.reading import Groups
from pyxqueue.batching import MAX_BYTES
from pyxqueue.model.message import Fail, Message, Settlement, TaskStatus, Unreadable
from pyxqueue.protocols import StoreOptions
from pyxqueue.testing import drain

GOOD = {"name": "job", "body": "[[],{}]"}
HOSTILE: Mapping[str, Mapping[str, str]] = {
    "negative attempt": {**GOOD, "attempt": "-1"},
    "huge attempt": {**GOOD, "attempt": "99999999999"},
    "huge time": {**GOOD, "due": "9" * 30},
    "negative crashes": {**GOOD, "crashes": "-5"},
    "long internal id": {**GOOD, "_id": "x" * 600, "attempt": "-1"},
    "many fields": {f"field-{number}": "x" for number in range(10_000)},
    "nearly too many fields": {f"field-{number}": "x" for number in range(1_999)},
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_entry_fails_listed_and_can_be_requeued(redis_url: str, stream_key: str, name: str) -> None:
    """It is kept whole with the failed tasks, and becomes ready as it was; the good message after it runs."""
    queue = TaskQueue(redis_url, stream_key=stream_key)
    queue.task(name="job")(lambda: "done")
    with Redis.from_url(redis_url) as client:
        entry = client.xadd(stream_key, dict(HOSTILE[name])).decode()
        good = client.xadd(stream_key, dict(GOOD)).decode()
    inspector = queue.stores.backend

    drain(queue)

    assert queue.result(good).get(5) == "done"
    (failed,), _ = inspector.tasks(TaskStatus.FAILURE)
    assert failed.id == entry
    assert isinstance(failed.message, Unreadable)
    kept = {key.decode(): value.decode() for key, value in failed.message.fields.items() if key != b"_id"}
    assert kept == {key: value for key, value in HOSTILE[name].items() if key != "_id"}

    assert list(inspector.requeue([entry])) == [True]
    assert inspector.depth().ready == 1
    assert inspector.depth().failed == 0
    assert list(inspector.delete([entry])) == [True]
    queue.close()


def test_an_id_that_only_looks_like_an_entry(redis_url: str, stream_key: str) -> None:
    """Numbers beyond 64 bits are an id like any other and cause no error of the server."""
    backend = RedisBackend(ConnectionConfig.from_url(redis_url), StoreOptions(stream_key))

    assert backend.show(["1-99999999999999999999999"]) == [None]
    assert list(backend.cancel(["1-99999999999999999999999"])) == [False]

    backend.close()


def test_groups_of_a_server_that_lost_its_data(redis_url: str, stream_key: str) -> None:
    """A producer with the old list of groups notices, although there are as many groups again."""
    producer = RedisBackend(ConnectionConfig.from_url(redis_url), StoreOptions(stream_key, "one"))
    producer.lease_ms()
    other = RedisBackend(ConnectionConfig.from_url(redis_url), StoreOptions(stream_key, "two"))
    other.lease_ms()
    producer.enqueue([Message("before", "job")])
    with Redis.from_url(redis_url) as client:
        client.flushall()
    for group in ("two", "one"):  # in the other order, so that they swap their streams
        again = RedisBackend(ConnectionConfig.from_url(redis_url), StoreOptions(stream_key, group))
        again.lease_ms()
        again.close()

    producer.enqueue([Message("after", "job")])

    for group in ("one", "two"):
        reader = RedisBackend(ConnectionConfig.from_url(redis_url), StoreOptions(stream_key, group), reclaim_after=0)
        (delivery,) = reader.claim("c", 5, 0)
        assert delivery.message.id == "after"
        assert reader.settle([Settlement(delivery.receipt, Fail("seen"))]) == [True]
        reader.close()
    producer.close()
    other.close()


@pytest.mark.parametrize("asynchronous", [False, True])
def test_large_headers_are_sent_in_parts(
    redis_url: str, stream_key: str, monkeypatch: pytest.MonkeyPatch, *, asynchronous: bool
) -> None:
    """They count towards the bytes that one script call may have."""
    backend = RedisBackend(ConnectionConfig.from_url(redis_url), StoreOptions(stream_key))
    messages = [Message(str(number), "job", headers={"h": "x" * (MAX_BYTES // 2)}) for number in range(3)]
    sent: list[int] = []
    build = commands.enqueue

    def enqueue(key: str, groups: Groups, batch: Sequence[Message]) -> commands.Command[list[bool]]:
        sent.append(len(batch))
        return build(key, groups, batch)

    monkeypatch.setattr(commands, "enqueue", enqueue)

    if asynchronous:
        asyncio.run(backend.asynchronous().enqueue(messages))
    else:
        backend.enqueue(messages)

    assert sent == [1, 1, 1]
    backend.close()
