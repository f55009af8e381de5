"""Two stores as one backend: the record goes first, and that of a stale holder does not win."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from pyxqueue.backends.memory import MemoryBackend, MemoryResults, MemoryStore
from pyxqueue.clock import FakeClock
from pyxqueue.errors import BrokerUnavailableError
from pyxqueue.model.message import (
    Cancelled,
    Delivery,
    Done,
    Fail,
    Failure,
    Message,
    Record,
    Retry,
    Settlement,
    TaskInfo,
    TaskStatus,
    evolve,
)
from pyxqueue.protocols import StoreOptions
from pyxqueue.split import SplitBackend
from pyxqueue.testing import Fault, FaultyBroker, FaultyResults

from .worker.harness import Bench

LEASE = 30_000


class Halves:
    """A broker and a result store on one clock; each call to either can be made to fail."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        options = StoreOptions("tasks", lease_ms=LEASE)
        self.broker = MemoryBackend(MemoryStore(self.clock), options)
        self.results = MemoryResults(MemoryStore(self.clock), options)
        self.split = SplitBackend(self.broker, self.results)

    def held(self, task_id: str = "t1") -> Delivery:
        self.split.enqueue([Message(task_id, "work")])
        return self.claimed()

    def claimed(self) -> Delivery:
        (delivery,) = self.split.claim("me", 1, 0)
        return delivery

    def value(self, task_id: str = "t1") -> bytes | None:
        (record,) = self.split.wait([task_id], 0)
        return None if record is None else record.value


def success(delivery: Delivery, value: bytes = b"1", **fields: object) -> Settlement:
    record = Record(delivery.message.id, TaskStatus.SUCCESS, value, fence=delivery.fence, **fields)  # type: ignore[arg-type]
    return Settlement(delivery.receipt, Done(), record)


@pytest.fixture
def halves() -> Halves:
    return Halves()


def test_the_record_goes_first(halves: Halves) -> None:
    """When the broker then cannot be reached, the record is there, and a repeat settles."""
    delivery = halves.held()
    broker = FaultyBroker(halves.broker, [Fault.LOSE_CALL], operations={"settle"})
    split = SplitBackend(broker, halves.results)

    with pytest.raises(BrokerUnavailableError):
        split.settle([success(delivery)])
    assert halves.value() == b"1"
    assert halves.broker.depth().in_flight == 1

    assert split.settle([success(delivery)]) == [True]
    assert split.settle([success(delivery)]) == [False]
    assert halves.value() == b"1"


def test_nothing_is_settled_without_its_record(halves: Halves) -> None:
    """When the result store cannot be reached, the broker is not asked, and a repeat does both."""
    delivery = halves.held()
    results = FaultyResults(halves.results, [Fault.LOSE_CALL], operations={"put"})
    split = SplitBackend(halves.broker, results)

    with pytest.raises(BrokerUnavailableError):
        split.settle([success(delivery)])
    assert (halves.value(), halves.broker.depth().in_flight) == (None, 1)

    assert split.settle([success(delivery)]) == [True]
    assert halves.value() == b"1"


@pytest.mark.parametrize("half", ["put", "settle"])
def test_a_lost_reply(halves: Halves, half: str) -> None:
    """A repeat after either reply was lost stores the same record; that the message was settled is known then."""
    delivery = halves.held()
    faults = [Fault.LOSE_REPLY]
    split = SplitBackend(
        FaultyBroker(halves.broker, faults if half == "settle" else [], operations={"settle"}),
        FaultyResults(halves.results, faults if half == "put" else [], operations={"put"}),
    )

    with pytest.raises(BrokerUnavailableError):
        split.settle([success(delivery)])

    assert split.settle([success(delivery)]) == [half == "put"]
    assert (halves.value(), halves.broker.depth().history) == (b"1", 1)


def test_the_broker_keeps_no_value(halves: Halves) -> None:
    """It knows how the task ended, for as long as the record lives; the value is in the result store alone."""
    halves.split.settle([success(halves.held(), b"large", worker="me", ttl_ms=5_000)])

    (own,) = halves.broker.wait(["t1"], 0)
    (stored,) = halves.results.wait(["t1"], 0)
    assert own is not None
    assert stored is not None
    assert (own.status, own.value, own.worker, own.ttl_ms) == (TaskStatus.SUCCESS, b"", "me", 5_000)
    assert (stored.value, stored.worker) == (b"large", "me")


def test_a_crash_between_the_two(halves: Halves) -> None:
    """The record is visible, the task runs again, and its second end replaces the first."""
    first = halves.held()
    halves.results.put([record for record in [success(first, b"old").record] if record])
    assert halves.value() == b"old"
    halves.clock.advance(LEASE + 1)

    assert halves.split.settle([success(halves.claimed(), b"new")]) == [True]

    assert halves.value() == b"new"


def test_the_record_of_a_stale_holder_does_not_win(halves: Halves) -> None:
    """A record that comes later but belongs to an earlier claim is not stored."""
    first = halves.held()
    halves.clock.advance(LEASE + 1)
    second = halves.claimed()

    assert halves.split.settle([success(second, b"new")]) == [True]
    assert halves.split.settle([success(first, b"old")]) == [False]

    assert halves.value() == b"new"


def test_the_record_of_a_stale_holder_is_replaced(halves: Halves) -> None:
    """A stale holder's record that comes first can be read until the current holder's replaces it."""
    first = halves.held()
    halves.clock.advance(LEASE + 1)
    second = halves.claimed()

    assert halves.split.settle([success(first, b"old")]) == [False]
    assert halves.value() == b"old"
    assert halves.split.settle([success(second, b"new")]) == [True]

    assert halves.value() == b"new"


def test_a_record_of_an_earlier_end_is_not_shown_for_a_task_under_way(halves: Halves) -> None:
    """`show`, `watch` and `tasks` show a running task as the broker does."""
    halves.results.put([record for record in [success(halves.held()).record] if record])

    (info,), _ = halves.split.tasks()
    assert (info.status, info.record) == (TaskStatus.STARTED, None)
    assert halves.split.show(["t1"]) == [info]
    assert halves.split.watch("t1", None, 0) == info


@pytest.mark.parametrize("look", ["show", "tasks", "watch"])
def test_looking_merges_the_two(halves: Halves, look: str) -> None:
    """Place and message come from the broker, the record from the result store."""
    delivery = halves.held()
    failure = Failure("ValueError", "no")
    record = Record("t1", TaskStatus.FAILURE, error=failure, fence=delivery.fence)
    halves.split.settle([Settlement(delivery.receipt, Fail("ValueError: no"), record)])

    looks: dict[str, Callable[[], TaskInfo | None]] = {
        "show": lambda: halves.split.show(["t1"])[0],
        "tasks": lambda: halves.split.tasks()[0][0],
        "watch": lambda: halves.split.watch("t1", None, 0),
    }
    info = looks[look]()

    assert info is not None
    assert info.record is not None
    assert (info.status, info.reason, info.record.error) == (TaskStatus.FAILURE, "ValueError: no", failure)


@pytest.mark.parametrize(
    ("verdict", "status"), [(Fail("no use"), TaskStatus.FAILURE), (Cancelled(), TaskStatus.CANCELLED)]
)
def test_an_end_without_a_record_is_the_brokers(halves: Halves, verdict: Fail | Cancelled, status: TaskStatus) -> None:
    """Where no record was put, the one that the broker created counts."""
    halves.split.settle([Settlement(halves.held().receipt, verdict)])

    (record,) = halves.split.wait(["t1"], None)
    assert record is not None
    assert record.status is status


def test_a_cancelled_task_ends_a_wait(halves: Halves) -> None:
    """Only the broker knows that it has ended."""
    halves.split.enqueue([Message("t1", "work")])
    halves.split.cancel(["t1"])

    (record,) = halves.split.wait(["t1"], None)
    assert record is not None
    assert record.status is TaskStatus.CANCELLED


def test_nothing_is_waited_for_that_cannot_come(halves: Halves) -> None:
    """`wait` returns at once for an unknown task, a forgotten record and an expired one."""
    halves.split.settle([success(halves.held("forgotten"))])
    halves.split.forget(["forgotten"])
    halves.split.settle([success(halves.held("expired"), ttl_ms=10)])
    halves.clock.advance(11)

    for task_id in ("forgotten", "expired", "unknown"):
        assert halves.split.wait([task_id], None) == [None]


@pytest.mark.parametrize("end", ["done", "cancelled"])
def test_what_is_forgotten_is_gone_from_both(halves: Halves, end: str) -> None:
    """`forget` removes the record from both stores, also one that the broker created."""
    delivery = halves.held()
    halves.split.settle([success(delivery) if end == "done" else Settlement(delivery.receipt, Cancelled())])
    halves.split.forget(["t1"])

    (info,) = halves.split.show(["t1"])
    assert (halves.split.wait(["t1"], 0), info and info.record) == ([None], None)


@pytest.mark.parametrize("act", ["requeue", "delete"])
def test_a_record_goes_with_its_task(halves: Halves, act: str) -> None:
    """A task that is requeued or deleted has no record any more."""
    halves.split.settle([success(halves.held())])

    assert getattr(halves.split, act)(["t1"]) == [True]

    assert halves.value() is None


def test_a_refused_act_keeps_the_record(halves: Halves) -> None:
    """A task whose message is no longer in the history cannot be requeued, and keeps its result."""
    none = SplitBackend(MemoryBackend(halves.broker._store, StoreOptions("tasks", history=0)), halves.results)
    none.settle([success(halves.held())])

    assert halves.split.requeue(["t1"]) == [False]

    assert halves.value() == b"1"


def test_the_result_of_the_next_run_is_not_withdrawn() -> None:
    """A worker that is faster than `requeue` has stored it by then: the fencing token tells the two apart."""
    halves = Halves()

    class Overtaken(SplitBackend):
        def _withdraw(self, records: Sequence[Record | None], accepted: Sequence[bool]) -> None:
            self.settle([success(halves.claimed(), b"second")])
            super()._withdraw(records, accepted)

    split = Overtaken(halves.broker, halves.results)
    split.settle([success(halves.held(), b"first")])

    assert split.requeue(["t1"]) == [True]

    assert halves.value() == b"second"


def test_a_retry_needs_no_result_store(halves: Halves) -> None:
    """No record is put for a task that goes on."""
    results = FaultyResults(halves.results, [Fault.LOSE_CALL] * 9, operations={"put"})

    assert SplitBackend(halves.broker, results).settle([Settlement(halves.held().receipt, Retry())]) == [True]


def test_closing_closes_both() -> None:
    """Each of the two may have connections."""
    halves, closed = Halves(), []

    class Broker(FaultyBroker):
        def close(self) -> None:
            closed.append("broker")

    class Results(FaultyResults):
        def close(self) -> None:
            closed.append("results")

    SplitBackend(Broker(halves.broker), Results(halves.results)).close()

    assert closed == ["broker", "results"]


def test_a_worker_with_two_stores() -> None:
    """It gives its records the fencing token of their delivery."""
    bench = Bench()
    results = MemoryResults(MemoryStore(bench.clock), StoreOptions("tasks"))
    bench.task(len)
    bench.put("len", [1, 2, 3])

    bench.worker(SplitBackend(bench.broker, results)).drain()

    (stored,) = results.wait(["t1"], 0)
    assert stored is not None
    assert (stored.value, stored.fence > 0) == (b"3", True)
    assert bench.settled() == [("t1", "Done", True)]


def test_about_both(halves: Halves) -> None:
    """`about` has the facts of both stores; nothing if neither has any."""

    class Broker(FaultyBroker):
        def about(self) -> dict[str, str]:
            return {"server": "x"}

    class Results(FaultyResults):
        def about(self) -> dict[str, str]:
            return {"server": "x"}

    both = SplitBackend(Broker(halves.broker), Results(halves.results))

    assert both.about() == {"server": "x", "results: server": "x"}
    assert halves.split.about() == {}


def test_the_record_is_equal_to_what_was_settled(halves: Halves) -> None:
    """Nothing of it is lost on the way."""
    settlement = success(halves.held(), b"v", serializer="other", seal="00ff", attempt=2, worker="w")
    halves.split.settle([settlement])

    (stored,) = halves.split.wait(["t1"], 0)
    assert stored is not None
    assert evolve(stored, ended_ms=0) == settlement.record
