"""Thousands of names that another program has written: they are not all read, and workers go on."""

from __future__ import annotations

import asyncio
from contextlib import closing
from typing import Any

import pytest

from pyxqueue.backends.redis import ConnectionConfig, RedisBackend, RedisResults
from pyxqueue.backends.redis.reading import MAX_FIELDS, MAX_GROUPS
from pyxqueue.client.views import WorkerInfo
from pyxqueue.errors import BrokerError
from pyxqueue.model.message import Done, Extension, Message, Progress, Record, Settlement, TaskStatus
from pyxqueue.protocols import StoreOptions


def planted(stream_key: str, number: int) -> dict[str, str]:
    """So many fields that look like groups."""
    return {f"group:g{i}": f"{{{stream_key}}}:g{i}:stream" for i in range(number)}


@pytest.mark.parametrize("kind", ["groups", "fields"])
def test_too_many_groups_stop_only_producers(
    redis_url: str, stream_key: str, client: Any, backend: RedisBackend, kind: str
) -> None:
    """Their error says what to do; workers read only their own group."""
    backend.enqueue([Message("one", "job")])
    fields = planted(stream_key, MAX_GROUPS) if kind == "groups" else {f"x{i}": "y" for i in range(MAX_FIELDS)}
    client.hset(f"{{{stream_key}}}:meta", mapping={**fields, "version": "new", "lease:cg": "12345"})

    with closing(RedisBackend(ConnectionConfig.from_url(redis_url), StoreOptions(stream_key))) as fresh:
        assert fresh.lease_ms() == 12345
        assert [delivery.message.id for delivery in fresh.claim("w", 5, 0)] == ["one"]
        for _ in range(2):
            with pytest.raises(BrokerError, match="remove there with HDEL"):
                fresh.enqueue([Message("two", "job")])
        with pytest.raises(BrokerError, match="remove there with HDEL"):
            asyncio.run(fresh.asynchronous().enqueue([Message("two", "job")]))
        with pytest.raises(BrokerError, match="remove there with HDEL"):
            fresh.groups()
        client.hdel(f"{{{stream_key}}}:meta", *fields)
        assert fresh.enqueue([Message("two", "job")]) == [True]


def test_a_group_too_many_is_not_made(redis_url: str, stream_key: str, client: Any, backend: RedisBackend) -> None:
    """It would keep all producers from enqueueing."""
    client.hset(f"{{{stream_key}}}:meta", mapping={**planted(stream_key, MAX_GROUPS - 1), "version": "new"})

    late = RedisBackend(ConnectionConfig.from_url(redis_url), StoreOptions(stream_key, "late"))
    with closing(late), pytest.raises(BrokerError, match=f"more than {MAX_GROUPS} groups"):
        late.lease_ms()

    assert backend.enqueue([Message("one", "job")]) == [True]
    assert len(backend.groups()) == MAX_GROUPS
    for group in backend.groups():
        if group != "cg":
            backend.remove_group(group)


@pytest.mark.parametrize(
    "name",
    ["worker-1-1-" + "-" * 36, f"worker-1-{'9' * 5000}-{'0' * 8}-0000-0000-0000-{'0' * 12}", "worker-1-1-" + "0" * 36],
)
def test_a_name_that_only_looks_like_a_workers_is_shown(
    backend: RedisBackend, stream_key: str, client: Any, name: str
) -> None:
    """It names no machine and no process."""
    client.execute_command("XGROUP", "CREATECONSUMER", stream_key, "cg", name)

    (consumer,) = backend.consumers()
    worker = WorkerInfo.of(consumer, {})

    assert (worker.node, worker.pid) == (None, None)


def test_only_our_names_of_a_hash_are_read(redis_url: str, stream_key: str, client: Any, backend: RedisBackend) -> None:
    """However many others another program has added to the notes, or to a record of another broker's task."""
    results = RedisResults(ConnectionConfig.from_url(redis_url), StoreOptions(stream_key))
    results.put([Record("other", TaskStatus.SUCCESS, b"1", ttl_ms=60_000)])
    backend.enqueue([Message("waits", "job")])
    (waits,) = backend.claim("w", 1, 0)
    backend.extend([Extension(waits.receipt, Progress(1))])
    before = backend.show(["waits"]), results.wait(["other"], 0)
    for kind in ("notes", "result:other"):
        key = f"{{{stream_key}}}:cg:{kind}"
        assert client.exists(key)
        client.hset(key, mapping={f"x{number}": "y" for number in range(2_000)})
    sent = client.info("stats")["total_net_output_bytes"]

    assert (backend.show(["waits"]), results.wait(["other"], 0)) == before
    assert client.info("stats")["total_net_output_bytes"] - sent < 10_000
    assert backend.settle([Settlement(waits.receipt, Done())]) == [True]
    results.close()
