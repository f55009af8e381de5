"""A batch of settlements is looked up and removed at once, and touches nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

import pytest

from pyxqueue.backends.redis import ConnectionConfig, RedisBackend
from pyxqueue.errors import BrokerError
from pyxqueue.model.message import (
    Delivery,
    Done,
    Extension,
    Fail,
    Message,
    Record,
    Retry,
    Settlement,
    TaskStatus,
    evolve,
)
from pyxqueue.protocols import StoreOptions


def claimed(backend: RedisBackend, consumer: str, limit: int) -> list[Delivery]:
    deliveries = list(backend.claim(consumer, limit, 0))
    assert len(deliveries) == limit
    return deliveries


Ends = Callable[[Sequence[Delivery]], list[Settlement]]


@pytest.fixture(params=["usual", "any"])
def done(request: pytest.FixtureRequest) -> Ends:
    """Settlements as a worker sends them, which have a script of their own, and without records, which do not."""

    def ends(deliveries: Sequence[Delivery]) -> list[Settlement]:
        return [
            Settlement(one.receipt, Done(), record_of(one) if request.param == "usual" else None) for one in deliveries
        ]

    return ends


def record_of(delivery: Delivery) -> Record:
    return Record(delivery.message.id, TaskStatus.SUCCESS, b"1", fence=delivery.fence)


def entry_of(delivery: Delivery) -> str:
    return delivery.receipt.partition("|")[0][1:]


def statuses(backend: RedisBackend, ids: str) -> list[TaskStatus | None]:
    return [None if info is None else info.status for info in backend.show(list(ids))]


@pytest.fixture
def filled(backend: RedisBackend) -> RedisBackend:
    backend.enqueue([Message(name, "job") for name in "abcdef"])
    return backend


@pytest.mark.parametrize("gap", [0, 1], ids=["at the head", "behind the head"])
def test_what_stands_before_and_behind_a_batch_stays(
    filled: RedisBackend, done: Ends, client: Any, stream_key: str, gap: int
) -> None:
    first = claimed(filled, "x", gap) if gap else []
    batch = claimed(filled, "w", 3)

    assert filled.settle(done(batch)) == [True] * 3
    assert client.xlen(stream_key) == 3
    rest = claimed(filled, "w", 3 - gap)
    assert filled.settle(done([*first, *rest])) == [True] * 3
    assert client.xlen(stream_key) == 0
    assert statuses(filled, "abcdef") == [TaskStatus.SUCCESS] * 6


def test_an_entry_deleted_by_hand_inside_a_batch_does_not_cost_a_neighbour(
    filled: RedisBackend, done: Ends, client: Any, stream_key: str
) -> None:
    """There are then as many entries in the batch's range as it has items, and one is not of the batch."""
    (a,), (theirs,), rest = claimed(filled, "w", 1), claimed(filled, "x", 1), claimed(filled, "w", 2)
    client.xdel(stream_key, entry_of(rest[0]))

    assert filled.settle(done([a, *rest])) == [True] * 3
    assert client.xlen(stream_key) == 3
    assert filled.settle(done([theirs])) == [True]
    assert statuses(filled, "abcdef") == [TaskStatus.SUCCESS] * 4 + [TaskStatus.PENDING] * 2


def test_a_receipt_counts_once_in_a_batch(filled: RedisBackend, done: Ends, client: Any, stream_key: str) -> None:
    a, b = claimed(filled, "w", 2)
    assert filled.settle(done([a, b, a])) == [True, True, False]
    assert client.xlen(f"{{{stream_key}}}:cg:history") == 2


def test_a_repeated_receipt_does_not_cost_a_neighbour(
    filled: RedisBackend, done: Ends, client: Any, stream_key: str
) -> None:
    """There are then as many entries in the batch's range as it has items."""
    (a,), _, (c,) = claimed(filled, "w", 1), claimed(filled, "x", 1), claimed(filled, "w", 1)
    assert filled.settle(done([a, a, c])) == [True, False, True]
    assert client.xlen(stream_key) == 4


def test_a_refused_item_stays(filled: RedisBackend, done: Ends, client: Any, stream_key: str) -> None:
    """Also where its entry lies between those of the batch."""
    (a,), (theirs,), (c,) = claimed(filled, "w", 1), claimed(filled, "x", 1), claimed(filled, "w", 1)
    stolen = evolve(theirs, receipt=theirs.receipt.replace("|x|", "|w|"))
    assert filled.settle(done([a, stolen, c])) == [True, False, True]
    assert client.xlen(stream_key) == 4
    assert filled.settle(done([theirs])) == [True]


def test_another_spelling_of_an_entry_is_not_a_receipt(filled: RedisBackend, done: Ends) -> None:
    (a,) = claimed(filled, "w", 1)
    assert filled.settle([Settlement("0" + a.receipt, Done())]) == [False]
    assert filled.settle(done([a])) == [True]


def test_the_items_of_a_batch_may_have_several_holders(filled: RedisBackend, done: Ends) -> None:
    mine, theirs = claimed(filled, "w", 2), claimed(filled, "x", 2)
    stolen = [evolve(one, receipt=one.receipt.replace("|w|", "|x|")) for one in mine]

    assert filled.settle(done([*stolen, *mine, *theirs])) == [False] * 2 + [True] * 4


def test_what_was_settled_before_an_item_that_redis_refuses_has_left(
    filled: RedisBackend, done: Ends, client: Any, stream_key: str
) -> None:
    """It cannot be settled again, and does not run again."""
    client.set(f"{{{stream_key}}}:cg:failed", "no stream")
    a, b, c = claimed(filled, "w", 3)
    batch = [*done([a]), Settlement(b.receipt, Fail("broken")), *done([c])]

    with pytest.raises(BrokerError, match="WRONGTYPE"):
        filled.settle(batch)
    assert statuses(filled, "abc") == [TaskStatus.SUCCESS, TaskStatus.STARTED, TaskStatus.STARTED]
    assert client.xlen(stream_key) == 5

    client.delete(f"{{{stream_key}}}:cg:failed")
    assert filled.settle(batch) == [False, True, True]
    assert client.xlen(f"{{{stream_key}}}:cg:history") == 2


def test_what_runs_again_stays_when_its_batch_is_trimmed(filled: RedisBackend, done: Ends) -> None:
    a, b = claimed(filled, "w", 2)
    assert filled.settle([*done([a]), Settlement(b.receipt, Retry())]) == [True, True]
    again = claimed(filled, "w", 5)
    assert [one.message.id for one in again] == list("bcdef")
    assert filled.settle(done(again)) == [True] * 5


def test_an_entry_with_the_last_possible_id_can_be_settled_in_a_batch(
    filled: RedisBackend, done: Ends, client: Any, stream_key: str
) -> None:
    client.xadd(stream_key, {"name": "job", "id": "last"}, id=f"{2**64 - 1}-{2**64 - 1}")
    assert filled.settle(done(claimed(filled, "w", 7))) == [True] * 7
    assert client.xlen(stream_key) == 0


def test_a_batch_costs_four_commands_for_each_task(filled: RedisBackend, done: Ends, client: Any) -> None:
    """Beside some for the whole batch."""
    filled.enqueue([Message(f"m{number}", "job") for number in range(94)])
    batch = done(claimed(filled, "w", 100))

    def calls() -> int:
        inner = (
            "xpending",
            "xrange",
            "xack",
            "xdel",
            "xtrim",
            "xadd",
            "hset",
            "hget",
            "hmget",
            "hdel",
            "get",
            "mget",
            "set",
            "pexpire",
            "type",
        )
        stats = client.info("commandstats")
        return sum(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in inner)

    before = calls()
    assert filled.settle(batch) == [True] * 100
    assert calls() - before <= 4 * 100 + 10


def test_each_item_of_a_mixed_batch_gets_its_own_result(filled: RedisBackend) -> None:
    a, b, c, d = claimed(filled, "w", 4)
    stolen = Settlement(c.receipt.replace("|w|", "|x|"), Done(), record_of(c))
    batch = [
        Settlement(a.receipt, Done(), record_of(a)),
        Settlement(b.receipt, Retry()),
        stolen,
        Settlement(d.receipt, Fail("broken")),
        Settlement(c.receipt, Done(), record_of(c)),
    ]
    assert filled.settle(batch) == [True, True, False, True, True]
    ends = [TaskStatus.SUCCESS, TaskStatus.RETRY, TaskStatus.SUCCESS, TaskStatus.FAILURE]
    assert statuses(filled, "abcd") == ends


def test_an_entry_written_by_hand_keeps_its_id(backend: RedisBackend, done: Ends, client: Any, stream_key: str) -> None:
    """It has none of its own: the id is that of its first entry."""
    task_id = client.xadd(stream_key, {"name": "job"}).decode()
    batch = claimed(backend, "w", 1)
    backend.extend([Extension(one.receipt) for one in batch])

    assert backend.settle(done(batch)) == [True]
    assert backend.requeue([task_id]) == [True]
    assert [one.message.id for one in claimed(backend, "w", 1)] == [task_id]


def test_nothing_is_left_of_waiters_and_of_a_request_to_cancel(
    filled: RedisBackend, done: Ends, client: Any, stream_key: str
) -> None:
    batch = claimed(filled, "w", 1)
    filled.cancel(["a"])
    assert filled.wait(["a"], 1) == [None]
    notes = f"{{{stream_key}}}:cg:notes"
    assert all(client.hmget(notes, "waiters:a", "cancel:a"))

    assert filled.settle(done(batch)) == [True]
    assert not client.exists(notes)


@pytest.mark.parametrize("first", [0, 1, 2, 3])
def test_a_mixed_batch_is_applied_in_its_order(
    redis_url: str, stream_key: str, client: Any, backend: RedisBackend, *, first: int
) -> None:
    """Whichever item is for the other script; the history keeps the ends that come last."""
    with closing(RedisBackend(ConnectionConfig.from_url(redis_url), StoreOptions(stream_key, history=2))) as short:
        short.enqueue([Message(name, "job") for name in "abcd"])
        client.xadd(stream_key, {"name": "job"})  # which has no id of its own: found to be unusual by the script
        batch = claimed(short, "w", 5)
        moved = [*batch[:first], batch[4], *batch[first:4]]
        assert short.settle([Settlement(one.receipt, Done(), record_of(one)) for one in moved]) == [True] * 5
        kept = [info.id for info in short.tasks()[0] if info.message is not None]
        assert kept == [moved[4].message.id, moved[3].message.id]
        assert client.xlen(stream_key) == 0

        short.enqueue([Message(name, "job") for name in "ABCD"])
        batch = claimed(short, "w", 4)
        ends = [Settlement(one.receipt, Done(), record_of(one)) for one in batch]
        ends[first] = Settlement(batch[first].receipt, Done())
        assert short.settle(ends) == [True] * 4
        assert [info.id for info in short.tasks()[0] if info.message is not None] == ["D", "C"]


def test_an_end_is_of_the_clock_not_of_the_history(
    filled: RedisBackend, done: Ends, client: Any, stream_key: str
) -> None:
    """The history may have an entry of a later time, if the clock has gone back since."""
    later = client.time()[0] * 1000 + 10**9
    client.xadd(f"{{{stream_key}}}:cg:history", {"name": "job"}, id=f"{later}-0")

    assert filled.settle(done(claimed(filled, "w", 1))) == [True]

    (record,) = filled.wait(["a"], 0)
    assert record is not None
    assert later - 2 * 10**9 < record.ended_ms < later


def test_an_end_that_an_older_program_has_stored(
    filled: RedisBackend, done: Ends, client: Any, stream_key: str
) -> None:
    """The time stood in the value of the task, and in the entry of the history, beside the ids that have it too."""
    batch = claimed(filled, "w", 1)
    filled.settle(done(batch))
    key, history = f"{{{stream_key}}}:cg:task:a", f"{{{stream_key}}}:cg:history"
    (info,), (record,) = filled.show(["a"]), filled.wait(["a"], 0)
    ((entry, fields),) = client.xrange(history)
    time = entry.partition(b"-")[0]
    client.delete(history)
    client.xadd(history, {**fields, b"_ended": time}, id=entry)
    client.set(key, client.get(key).replace(b"  ", b" %b " % time), keepttl=True)

    assert filled.show(["a"]) == [info]
    assert filled.wait(["a"], 0) == [record]
    assert filled.requeue(["a"]) == [True]
    ((_, again),) = client.xrange(f"{{{stream_key}}}:cg:again")
    assert again.keys() == fields.keys() - {b"_state"} | {b"_since"}
    assert [one.message for one in claimed(filled, "w", 1)] == [batch[0].message]
