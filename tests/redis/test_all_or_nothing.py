"""If Redis refuses a write in the middle of a step, nothing of the step is left; planted data makes no step long."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest

from pyxqueue.backends.redis import ConnectionConfig, RedisBackend
from pyxqueue.errors import BrokerError
from pyxqueue.model.message import FLOW_VERSION, Done, Fail, Message, Retry, Settlement, TaskInfo, TaskStatus, Verdict
from pyxqueue.protocols import StoreOptions

LAST = "18446744073709551615-18446744073709551615"
"""The largest id of an entry: a stream that has had it takes no more."""


@pytest.mark.parametrize("delay", [0, 60_000])
@pytest.mark.parametrize("kind", ["used up", "a string"])
def test_a_message_goes_into_all_groups_or_none(
    redis_url: str, stream_key: str, client: Any, backend: RedisBackend, *, delay: int, kind: str
) -> None:
    """If one group cannot take it, its id stays free, and the other messages of the batch are enqueued."""
    place = f"{{{stream_key}}}:second:{'parked' if delay else 'stream'}"
    with closing(RedisBackend(ConnectionConfig.from_url(redis_url), StoreOptions(stream_key, "second"))) as second:
        second.lease_ms()
        backend.lease_ms()
        backend.enqueue([Message("before", "job", delay_ms=delay)])
        client.rename(place, f"{place}:kept")
        if kind == "used up":
            client.xadd(place, {"name": "job"}, id=LAST)
        else:
            client.set(place, "x")

        with pytest.raises(BrokerError):
            backend.enqueue([Message("one", "job", delay_ms=delay)])

        assert backend.show(["one"]) == [None]
        assert [info.id for info in backend.tasks()[0]] == ["before"]
        assert client.zscore(f"{{{stream_key}}}:cg:delayed", "one") is None
        client.rename(f"{place}:kept", place)
        assert backend.enqueue([Message("one", "job", delay_ms=delay)]) == [True]
        assert [handle.depth().ready + handle.depth().delayed for handle in (backend, second)] == [2, 2]


def test_a_predecessor_that_is_stored_again_goes_into_all_groups_or_none(
    redis_url: str, stream_key: str, client: Any, backend: RedisBackend
) -> None:
    """If one group cannot take it, its successor waits for the other one only, in each group."""
    flow = [
        Message("c", "job", flow="f", after=("a", "b"), v=FLOW_VERSION),
        Message("b", "job", flow="f", successors=("f:c",), v=FLOW_VERSION),
        Message("a", "job", flow="f", successors=("f:c",), v=FLOW_VERSION),
    ]
    with closing(RedisBackend(ConnectionConfig.from_url(redis_url), StoreOptions(stream_key, "second"))) as second:
        groups = [backend, second]
        for group in groups:
            group.lease_ms()
        backend.enqueue(flow)
        for group in groups:
            first = next(one for one in group.claim("w", 2, 0) if one.message.id == "a")
            group.settle([Settlement(first.receipt, Done())])
            group.delete(["a"])
        place = f"{{{stream_key}}}:second:stream"
        client.rename(place, f"{place}:kept")
        client.set(place, "x")

        with pytest.raises(BrokerError):
            backend.enqueue(flow)

        client.rename(f"{place}:kept", place)
        assert [info.waits_for for group in groups for info in group.show(["c"]) if info] == [1, 1]
        assert backend.enqueue(flow) == [False, False, True]
        assert [info.waits_for for group in groups for info in group.show(["c"]) if info] == [2, 2]


@pytest.mark.parametrize(
    ("verdict", "place", "delay"),
    [
        (Done(), "%s", 0),
        (Done(), "{%s}:cg:parked", 1000),
        (Fail("broken"), "{%s}:cg:failed", 0),
        (Fail("broken"), "{%s}:cg:failed", 1000),
    ],
    ids=str,
)
def test_an_end_comes_with_its_follow_ups_or_not_at_all(
    backend: RedisBackend, stream_key: str, client: Any, *, verdict: Verdict, place: str, delay: int
) -> None:
    """If a stream has no ids left, the task stays in flight and no follow-up is known."""
    backend.enqueue([Message("one", "job")])
    (delivery,) = backend.claim("w", 1, 0)
    then = [Message("two", "job"), Message("three", "job", delay_ms=delay)]
    client.xadd(place % stream_key, {"name": "job"}, id=LAST)

    with pytest.raises(BrokerError):
        backend.settle([Settlement(delivery.receipt, verdict, then=then)])

    held, *others = backend.show(["one", "two", "three"])
    assert held is not None
    assert (held.status, held.worker) == (TaskStatus.STARTED, "w")
    assert others == [None, None]
    assert backend.depth().delayed == 0


def test_a_delay_needs_both_of_its_keys(backend: RedisBackend, stream_key: str, client: Any) -> None:
    """No message is stored as delayed that could never become ready."""
    client.set(f"{{{stream_key}}}:cg:delayed", "x")
    tasks = [TaskInfo("two", TaskStatus.PENDING, Message("two", "job", due_ms=2**50))]

    with pytest.raises(BrokerError, match="delayed is a string"):
        backend.enqueue([Message("one", "job", delay_ms=1000)])
    with pytest.raises(BrokerError, match="delayed is a string"):
        backend.adopt(tasks)

    assert backend.tasks() == ([], "")


@pytest.mark.parametrize("ttl", ["1e300", "9" * 30, "nan", "0x10", "-1", "1.5", "9" * 16])
@pytest.mark.parametrize("verdict", [Done(), Fail("broken"), Retry()], ids=str)
def test_a_planted_time_to_live_stops_no_settlement(
    backend: RedisBackend, stream_key: str, client: Any, verdict: Verdict, ttl: str
) -> None:
    """It stands behind the value of a task that has not ended."""
    backend.enqueue([Message("one", "job")])
    (delivery,) = backend.claim("w", 1, 0)
    client.append(f"{{{stream_key}}}:cg:task:one", f" {'9' * 15} {ttl} 5 5:value1:1")

    assert backend.settle([Settlement(delivery.receipt, verdict)]) == [True]


@pytest.mark.parametrize("ttl", ["1e300", "9" * 30, "nan", "9" * 16])
def test_a_planted_time_to_live_hides_no_task(backend: RedisBackend, stream_key: str, client: Any, ttl: str) -> None:
    """The task is one that is marked as failed and has no message."""
    backend.enqueue([Message("one", "job")])
    client.xadd(stream_key, {"id": "zz", "name": "job"})
    client.set(f"{{{stream_key}}}:cg:task:zz", f"f1-1 1 {ttl} 4 ")

    assert "one" in [info.id for info in backend.tasks()[0]]


def test_what_is_planted_among_the_delayed_stops_no_promotion(
    backend: RedisBackend, stream_key: str, client: Any
) -> None:
    """What cannot be an id is removed, however long it is; a due time out of range is not waited for."""
    delayed = f"{{{stream_key}}}:cg:delayed"
    client.zadd(delayed, {"x" * 1_000_000: 1, "x" * 65: 2, b"\xff": 3, "": 4, "a b": 5, "no-such-task": float("-inf")})
    client.zadd(delayed, {"never": float("inf"), "late": 1e300})

    assert backend.maintain(2) == 0
    assert backend.maintain(100) == -1
    assert set(client.zrange(delayed, 0, -1)) == {b"never", b"late"}


def test_few_of_too_many_channels_are_told(backend: RedisBackend, stream_key: str, client: Any) -> None:
    """The number is limited to what clients would note; the newest ones are told."""

    def published() -> int:
        return int(client.info("commandstats").get("cmdstat_publish", {"calls": 0})["calls"])

    backend.enqueue([Message("one", "job")])
    (delivery,) = backend.claim("w", 1, 0)
    channel = f"{{{stream_key}}}:wake:"
    assert backend.wait(["one"], 1) == [None]
    client.hset(f"{{{stream_key}}}:cg:notes", "waiters:one", f"{channel}x," * 100_000 + f"{channel}me")
    before = published()
    with client.pubsub() as ears:
        ears.subscribe(f"{channel}me")
        assert ears.get_message(timeout=5)["type"] == "subscribe"

        backend.settle([Settlement(delivery.receipt, Done())])

        assert ears.get_message(timeout=5)["data"] == b"one"
    assert published() - before < 10_000
