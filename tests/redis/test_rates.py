"""What rates are on a Redis server beyond the laws: what is left of many keys, and what others write."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest

from pyxqueue.backends.redis import RedisBackend
from pyxqueue.model.message import FLOW_VERSION, Delivery, Done, Message, Record, Settlement, StartStatus, TaskStatus
from pyxqueue.model.rates import Pace
from pyxqueue.testing.contract.steps import tokens
from tests.support.redis_counts import calls
from tests.support.redis_harness import RedisHarness
from tests.support.until import until

RUN, LATER = StartStatus.RUN, StartStatus.LATER
HOUR = 3_600_000
PACE = Pace(1, 1_000 * HOUR)


def rated(*ids: str, gate: str = "rate:api/k") -> list[Message]:
    return [Message(task_id, "job", gates=(gate,), v=FLOW_VERSION) for task_id in ids]


def key(stream: str, name: str) -> str:
    return f"{{{stream}}}:cg:{name}"


def done(one: Delivery) -> Settlement:
    return Settlement(one.receipt, Done(), Record(one.message.id, TaskStatus.SUCCESS, b"null"))


def begun(backend: RedisBackend, limit: int = 256) -> list[str]:
    """Claim, begin and settle: the ids of what has started."""
    found = backend.claim("w", limit, 0)
    statuses = backend.begin([one.receipt for one in found])
    starting = [one for one, status in zip(found, statuses, strict=True) if status is RUN]
    backend.settle([done(one) for one in starting])
    return [one.message.id for one in starting]


def test_nothing_is_left_of_many_keys(client: Any) -> None:
    """While what they have spent counts, each has one field and one member; some seconds later it has none (L13)."""
    keys = 3_000
    with closing(RedisHarness(client)) as harness:
        backend = harness.open(history=0)
        backend.limits().set_rate("api", PACE)
        for start in range(0, keys, 250):
            backend.enqueue(
                [one for number in range(start, start + 250) for one in rated(f"t{number}", gate=f"rate:api/{number}")]
            )
        while begun(backend):
            pass
        gates, turns = key(harness.stream_key, "gates"), key(harness.stream_key, "turns")
        assert (client.hlen(gates), client.zcard(turns)) == (keys + 2, keys)
        assert 0 < backend.maintain(256) <= HOUR + 10_000

        harness.advance(HOUR + 10_000)
        looks = 0
        while backend.maintain(256) == 0:
            looks += 1

        assert looks <= 4, "one look passes over a thousand gates"
        assert set(client.hkeys(gates)) == {b"limit:rate:api", b"order"}
        assert client.exists(turns, key(harness.stream_key, "delayed"), key(harness.stream_key, "notes")) == 0


def test_an_idle_supervisor_is_told_when_a_rate_has_room(backend: RedisBackend, client: Any, stream_key: str) -> None:
    """The first task that has to wait for it is a wake-up; nothing has to look before."""
    backend.limits().set_rate("api", PACE)
    backend.enqueue(rated("a"))
    with client.pubsub() as listener:
        listener.subscribe(key(stream_key, "delayed"))
        listener.get_message(timeout=5)
        backend.enqueue(rated("b"))
        told = listener.get_message(timeout=5)
    assert HOUR - 60_000 < int(told["data"]) <= HOUR + 1  # a time is rounded up, within the ms of the first call too
    assert client.zscore(key(stream_key, "delayed"), ":turns") == client.zscore(key(stream_key, "turns"), "rate:api/k")


@pytest.mark.parametrize("junk", ["x", "1/x", "9" * 40, "1/2/3", "-1/-1", "inf/inf", ""])
def test_something_else_in_what_is_spent(backend: RedisBackend, client: Any, stream_key: str, junk: str) -> None:
    """It counts as nothing, and the next start is counted again."""
    backend.limits().set_rate("api", PACE)
    client.hset(key(stream_key, "gates"), "spent:rate:api/k", junk)
    backend.enqueue(rated("a", "b"))

    assert begun(backend) == ["a"]
    assert tokens(backend.limits()) == {"rate:api/k": (0, 1)}


@pytest.mark.parametrize("junk", ["x", "1", "1/0/1", "1/1/0", f"1/{'9' * 16}/{'9' * 16}", "1/1/1/1", "", "-1/1/1"])
def test_something_else_as_a_pace(backend: RedisBackend, client: Any, stream_key: str, junk: str) -> None:
    """A rate without a pace that can be read lets everything start, and is not listed."""
    client.hset(key(stream_key, "gates"), "limit:rate:api", junk)
    backend.enqueue(rated("a", "b"))

    assert begun(backend) == ["a", "b"]
    assert backend.limits().rates() == []


@pytest.mark.parametrize("name", ["gates", "lines", "turns"])
def test_something_else_at_a_key(backend: RedisBackend, client: Any, stream_key: str, name: str) -> None:
    """It is replaced, and what is in flight begins."""
    backend.limits().set_rate("api", PACE)
    backend.enqueue(rated("a"))
    (held,) = backend.claim("w", 1, 0)
    client.delete(key(stream_key, name))
    client.set(key(stream_key, name), "x")

    assert backend.begin([held.receipt]) == [RUN]
    assert backend.settle([done(held)]) == [True]


def test_a_message_that_is_written_by_hand(backend: RedisBackend, client: Any, stream_key: str) -> None:
    """It begins at the pace too; a repeat of the question counts once."""
    backend.limits().set_rate("api", PACE)
    for task_id in "ab":
        client.xadd(stream_key, {"name": "job", "id": task_id, "gates": "rate:api/k", "v": "2"})
    found = backend.claim("w", 2, 0)
    receipts = [one.receipt for one in found]

    assert backend.begin(receipts[:1]) == [RUN]
    assert backend.begin(receipts) == [RUN, LATER]
    assert backend.settle([done(found[0])]) == [True]
    assert tokens(backend.limits()) == {"rate:api/k": (0, 1)}


def test_turning_away_costs_the_same_however_many_wait(backend: RedisBackend, client: Any) -> None:
    """The commands of a `begin` that turns a task away do not grow with the line."""
    spent = []
    for number, waiting in enumerate((40, 400)):
        gate = f"rate:api{number}/k"
        backend.enqueue(rated(f"first{number}", gate=gate))
        (held,) = backend.claim("w", 1, 0)
        backend.limits().set_rate(f"api{number}", Pace(0, 1_000))
        backend.enqueue(rated(*(f"{number}-{one}" for one in range(waiting)), gate=gate))
        before = calls(client)
        assert backend.begin([held.receipt]) == [LATER]
        after = calls(client)
        spent.append(
            {name: after[name] - before.get(name, 0) for name in after if name not in {"info", "eval", "script"}}
        )
    assert sum(spent[0].values()) - sum(spent[1].values()) in {0, 1}  # the first one sends the script


@pytest.mark.parametrize("name", ["gates", "turns"])
def test_something_else_at_a_key_delays_nothing_else(
    backend: RedisBackend, client: Any, stream_key: str, name: str
) -> None:
    """What is due is ready at the next look, although a rate has its turn only in an hour."""
    backend.limits().set_rate("api", PACE)
    backend.enqueue(rated("a", "b"))
    backend.enqueue([Message("due", "job", delay_ms=1)])
    client.delete(key(stream_key, name))
    client.set(key(stream_key, name), "x")

    def is_ready() -> bool:
        backend.maintain(256)
        return "due" in [one.message.id for one in backend.claim("w", 9, 0)]

    until(is_ready, "it is ready")
