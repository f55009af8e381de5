"""A server that lost its data, or a group that was removed: the next operation makes the group again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from typing import Any

import pytest
from redis import Redis

from pyxqueue import AsyncResult, TaskQueue, UnknownTaskError
from pyxqueue.backends.redis import ConnectionConfig, RedisBackend, steps
from pyxqueue.model.message import Defer as HandBack
from pyxqueue.model.message import Extension, LeaseStatus, Message, Settlement
from pyxqueue.protocols import StoreOptions
from tests.support.until import PATIENCE, until

OPERATIONS: dict[str, tuple[Callable[[RedisBackend], object], object]] = {
    "enqueue": (lambda backend: backend.enqueue([Message("a", "job")]), [True]),
    "claim": (lambda backend: backend.claim("one", 1, 0), []),
    "settle": (lambda backend: backend.settle([Settlement("1-1|one|a|", HandBack())]), [False]),
    "extend": (lambda backend: backend.extend([Extension("1-1|one|a|")]), [LeaseStatus.LOST]),
    "release": (lambda backend: backend.release("one", []), 0),
    "maintain": (lambda backend: backend.maintain(10), -1),
    "show": (lambda backend: backend.show(["a"]), [None]),
    "show in asyncio": (lambda backend: asyncio.run(_show(backend)), [None]),
    "depth": (lambda backend: backend.depth().ready, 0),
    "consumers": (lambda backend: backend.consumers(), []),
}


async def _show(backend: RedisBackend) -> object:
    return await backend.asynchronous().show(["a"])


@pytest.mark.parametrize("name", OPERATIONS)
def test_each_operation_repairs_a_lost_group(redis_url: str, stream_key: str, name: str) -> None:
    """It registers the group again and returns what it returns on an empty queue."""
    backend = RedisBackend(ConnectionConfig.from_url(redis_url), StoreOptions(stream_key), reclaim_after=0)
    backend.claim("one", 1, 0)
    with Redis.from_url(redis_url) as client:
        client.flushall()
    operation, wanted = OPERATIONS[name]

    assert operation(backend) == wanted

    backend.close()


def test_a_group_that_is_made_again_hands_out_what_is_in_its_streams(redis_url: str, stream_key: str) -> None:
    """What was ready is not lost; what was in flight is handed out again, since the server has forgotten its holder."""
    backend = RedisBackend(ConnectionConfig.from_url(redis_url), StoreOptions(stream_key))
    with closing(backend), Redis.from_url(redis_url) as client:
        backend.enqueue([Message(task_id, "job", b"[[],{}]", "json") for task_id in "abc"])
        (held,) = backend.claim("one", 1, 0)
        client.xgroup_destroy(stream_key, "cg")

        found = [delivery.message.id for _ in range(3) for delivery in backend.claim("two", 1, 0)]

        assert held.message.id == "a"
        assert sorted(found) == ["a", "b", "c"]


def test_groups_keep_their_streams_if_only_the_list_of_groups_is_lost(redis_url: str, stream_key: str) -> None:
    """Whichever comes first: else it would run the tasks of the first group, and that would have none."""
    config = ConnectionConfig.from_url(redis_url)
    first, second = (RedisBackend(config, StoreOptions(stream_key, group)) for group in ("cg", "eu"))
    with closing(first), closing(second), Redis.from_url(redis_url) as client:
        for backend in (first, second):
            backend.lease_ms()
        second.enqueue([Message("a", "job")])
        (held,) = second.claim("one", 1, 0)
        client.delete(f"{{{stream_key}}}:meta")
        for backend in (second, first):
            backend._registration.refresh()
            backend.lease_ms()

        assert second.settle([Settlement(held.receipt, HandBack())]) == [True]
        assert [len(backend.claim("two", 9, 0)) for backend in (second, first)] == [1, 1]


@pytest.mark.parametrize("lost", ["the list", "the first group"])
def test_a_new_group_does_not_take_the_stream_of_the_first(redis_url: str, stream_key: str, lost: str) -> None:
    """If the list of groups is lost, and it is the first to be made after that."""
    config = ConnectionConfig.from_url(redis_url)
    first, new = (RedisBackend(config, StoreOptions(stream_key, group)) for group in ("cg", "new"))
    with closing(first), closing(new), Redis.from_url(redis_url) as client:
        first.enqueue([Message("a", "job"), Message("b", "job")])
        (held,) = first.claim("one", 1, 0)
        if lost == "the list":
            client.delete(f"{{{stream_key}}}:meta")
        else:
            client.hdel(f"{{{stream_key}}}:meta", "group:cg")

        assert new.claim("two", 9, 0) == []
        first._registration.refresh()
        first.lease_ms()

        assert first.settle([Settlement(held.receipt, HandBack())]) == [True]
        assert sorted(one.message.id for one in first.claim("one", 9, 0)) == ["a", "b"]
        assert new.enqueue([Message("c", "job")]) == [True]
        assert [len(backend.claim("two", 9, 0)) for backend in (first, new)] == [1, 1]


def test_a_group_of_another_program_takes_no_stream(redis_url: str, stream_key: str) -> None:
    """It reads what others write by hand, and so does the first group of the queue."""
    with (
        closing(RedisBackend(ConnectionConfig.from_url(redis_url), StoreOptions(stream_key))) as backend,
        Redis.from_url(redis_url) as client,
    ):
        client.xgroup_create(stream_key, "audit", id="0", mkstream=True)
        client.xadd(stream_key, {"id": "a", "name": "job"})
        client.xreadgroup("audit", "one", {stream_key: ">"})

        assert [one.message.id for one in backend.claim("one", 9, 0)] == ["a"]


def test_a_priority_class_is_in_use_still_if_the_list_of_classes_is_lost(redis_url: str, stream_key: str) -> None:
    """A worker that has enqueued nothing of that class claims what is in it."""
    config = ConnectionConfig.from_url(redis_url)
    producer, worker = (RedisBackend(config, StoreOptions(stream_key)) for _ in range(2))
    with closing(producer), closing(worker), Redis.from_url(redis_url) as client:
        producer.enqueue([Message(f"t{priority}", "job", priority=priority) for priority in (-1, 0, 60)])
        client.delete(f"{{{stream_key}}}:meta")

        assert [one.message.id for one in worker.claim("one", 9, 0)] == ["t60", "t0", "t-1"]


def test_a_lost_group_is_said_and_counted_once(
    redis_url: str, stream_key: str, caplog: pytest.LogCaptureFixture
) -> None:
    """By whoever makes it again; a group or a priority class that is new is none."""
    backend = RedisBackend(ConnectionConfig.from_url(redis_url), StoreOptions(stream_key))
    other = RedisBackend(ConnectionConfig.from_url(redis_url), StoreOptions(stream_key))
    with closing(backend), closing(other), Redis.from_url(redis_url) as client:
        backend.enqueue([Message("a", "job")])
        other.enqueue([Message("b", "job", priority=60)])
        backend.enqueue([Message("c", "job", priority=60)])
        assert caplog.messages == []
        assert other.statistics(1).remade == 0
        client.delete(stream_key)
        for one in (backend, other, backend):
            one.claim("one", 1, 0)
        assert other.statistics(1).remade == 1
        client.flushall()
        for one in (other, backend):
            one.claim("one", 1, 0)
        assert backend.statistics(1).remade == 1

    assert ["had lost the group cg of the queue" in said for said in caplog.messages] == [True, True]


@pytest.mark.parametrize("place", ["{}", "{{{}}}:cg:again"])
def test_a_group_that_was_lost_while_nobody_was_there(
    redis_url: str, stream_key: str, caplog: pytest.LogCaptureFixture, place: str
) -> None:
    """The program that comes next says so, and it is counted: the list of groups has it, and one of its streams is
    gone."""
    config = ConnectionConfig.from_url(redis_url)
    with closing(RedisBackend(config, StoreOptions(stream_key))) as former, Redis.from_url(redis_url) as client:
        former.enqueue([Message("a", "job")])
        client.delete(place.format(stream_key))
    with closing(RedisBackend(config, StoreOptions(stream_key))) as next_one:
        next_one.claim("one", 1, 0)
        assert next_one.statistics(1).remade == 1

    assert ["had lost the group cg of the queue" in said for said in caplog.messages] == [True]


def test_a_lost_group_that_another_program_has_made_again(
    redis_url: str, stream_key: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Those who knew the former one say that it is lost, and it is counted once."""
    config = ConnectionConfig.from_url(redis_url)
    workers = [RedisBackend(config, StoreOptions(stream_key)) for _ in range(2)]
    with ExitStack() as stack, Redis.from_url(redis_url) as client:
        for one in workers:
            stack.callback(one.close)
            one.enqueue([Message("a", "job")])
        for turn in (1, 2):
            client.flushall()
            fresh = RedisBackend(config, StoreOptions(stream_key))
            stack.callback(fresh.close)
            fresh.enqueue([Message("b", "job")])
            assert len(caplog.messages) == 2 * turn - 2
            for one in workers * 2:
                one.lease_ms()
            assert fresh.statistics(1).remade == 1
            assert len(caplog.messages) == 2 * turn

    assert all("had lost the group cg of the queue" in said for said in caplog.messages)


def test_a_group_whose_streams_are_all_there_is_not_lost(
    redis_url: str, stream_key: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Only what the meta hash had was."""
    config = ConnectionConfig.from_url(redis_url)
    with (
        closing(RedisBackend(config, StoreOptions(stream_key))) as one,
        closing(RedisBackend(config, StoreOptions(stream_key))) as other,
        Redis.from_url(redis_url) as client,
    ):
        for backend in (one, other):
            backend.enqueue([Message("a", "job")])
        client.delete(f"{{{stream_key}}}:meta")
        for backend in (one, other, one):
            backend.lease_ms()
        assert other.statistics(1).remade == 0

    assert caplog.messages == []


def test_a_group_that_two_calls_make_at_once_is_not_lost(
    redis_url: str, stream_key: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Also if the call that made it learns of that after the other one, which has found it."""
    config = ConnectionConfig.from_url(redis_url)
    backend = RedisBackend(config, StoreOptions(stream_key))
    with closing(backend), closing(RedisBackend(config, StoreOptions(f"{stream_key}-other"))) as other:
        other.lease_ms()  # so that the server has the script
        registration = backend._registration
        calls = [registration._register() for _ in range(2)]
        asked: list[Any] = [next(one) for one in calls]
        replies = [registration.session.execute(*one.args) for one in asked]
        for one, reply in reversed(list(zip(calls, replies, strict=True))):
            with pytest.raises(StopIteration):
                one.send(reply)
        assert backend.statistics(1).remade == 0

    assert caplog.messages == []


def get(handle: AsyncResult[None]) -> None:
    handle.get()


def await_(handle: AsyncResult[None]) -> None:
    asyncio.run(handle.aget())


@pytest.mark.parametrize("wait", [get, await_])
def test_a_waiter_of_a_server_that_lost_its_data(
    redis_url: str, stream_key: str, monkeypatch: pytest.MonkeyPatch, wait: Callable[[AsyncResult[None]], None]
) -> None:
    """Nothing is published, so the waiter looks from time to time, and learns that its task is gone."""
    monkeypatch.setattr(steps, "RECHECK", 0.05)
    queue = TaskQueue(redis_url, stream_key=stream_key)
    handle = queue.task(name="job")(lambda: None)()
    with ThreadPoolExecutor(1) as threads, Redis.from_url(redis_url, protocol=2) as client:
        waiter = threads.submit(wait, handle)
        until(lambda: client.exists(f"{{{stream_key}}}:cg:notes"), "it waits")
        client.flushall()
        with pytest.raises(UnknownTaskError):
            waiter.result(PATIENCE)
    queue.close()
