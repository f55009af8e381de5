"""The duties: they renew what is in flight, hand back what a stuck worker sits on, promote what is due."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from pyxqueue.errors import BrokerError, BrokerUnavailableError
from pyxqueue.inflight import STUCK, InFlight, InFlightTable, Slots
from pyxqueue.model.message import Defer, Extension, LeaseStatus, Settlement
from pyxqueue.supervisor.duties import DutyLoop, Loss, Releaser, all_duties
from pyxqueue.supervisor.duties.loop import RETRY_EVERY
from pyxqueue.supervisor.duties.maintenance import MAINTAIN_EVERY
from tests.worker.harness import Bench

START = 1000.0
LEASE = 1500
RENEW = LEASE / 3000
"""A third of the lease, in seconds."""


class FakeBroker:
    """Notes what it is asked."""

    def __init__(self) -> None:
        self.extended: list[list[str]] = []
        self.settled: list[Settlement] = []
        self.promoted = 0
        self.answer = LeaseStatus.HELD
        self.until_due = -1
        self.error: Exception | None = None
        self.unable: Exception | None = None
        self.unready: Exception | None = None
        self.released: list[tuple[str, list[str]]] = []
        self.unreleasable: dict[str, Exception] = {}

    def lease_ms(self) -> int:
        return LEASE

    def extend(self, extensions: Sequence[Extension]) -> list[LeaseStatus]:
        if self.error is not None:
            raise self.error
        self.extended.append([one.receipt for one in extensions])
        return [self.answer] * len(extensions)

    def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        if self.unable is not None:
            raise self.unable
        self.settled += settlements
        return [True] * len(settlements)

    def release(self, consumer: str, started: Sequence[str]) -> int:
        if (error := self.unreleasable.pop(consumer, None)) is not None:
            raise error
        self.released.append((consumer, list(started)))
        return 0

    def maintain(self, limit: int) -> int:
        self.promoted += 1
        if self.unready is not None:
            raise self.unready
        return self.until_due


def not_asked(table: InFlightTable, entry: InFlight) -> None:
    raise AssertionError(entry)


class Table(InFlightTable):
    """With the hand of its worker."""

    def __init__(self) -> None:
        super().__init__()
        self.slots = Slots(self)


class Time:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def broker() -> FakeBroker:
    return FakeBroker()


@pytest.fixture
def time() -> Time:
    return Time()


def loop_of(broker: Any, time: Time, kill: Callable[[InFlightTable, InFlight], None] = not_asked) -> DutyLoop:
    releaser = Releaser(broker, lambda record: record)
    return DutyLoop(all_duties(broker, broker.lease_ms(), releaser, kill), monotonic=time)


@pytest.fixture
def killed() -> list[tuple[InFlightTable, InFlight]]:
    """What was to be ended by force."""
    return []


@pytest.fixture
def duties(broker: FakeBroker, time: Time, killed: list[tuple[InFlightTable, InFlight]]) -> DutyLoop:
    return loop_of(broker, time, lambda table, entry: killed.append((table, entry)))


@pytest.fixture
def table() -> Table:
    return Table()


def hold(table: Table, *names: str) -> list[int]:
    return [table.slots.add(name, name, 1, START) for name in names]


def test_it_renews_all_that_is_held(duties: DutyLoop, broker: FakeBroker, time: Time, table: Table) -> None:
    """Waiting, running and done ones, and not before it is time."""
    _, running, done, gone = hold(table, "waiting", "running", "done", "gone")
    for slot in (running, done, gone):
        table.slots.start(slot, time.now)
    table.slots.finish(done)
    table.slots.free(gone)

    duties.step([table])
    time.now += STUCK / 2
    duties.step([table])

    assert broker.extended == [["waiting", "running", "done"]]

    time.now += RENEW
    duties.step([table])
    assert len(broker.extended) == 2


@pytest.mark.parametrize(
    ("answer", "times"), [(LeaseStatus.CANCEL, 1), (LeaseStatus.CANCEL_AGAIN, 2), (LeaseStatus.KILL, 1)]
)
def test_it_passes_cancellations_on(
    duties: DutyLoop,
    broker: FakeBroker,
    table: Table,
    killed: list[tuple[InFlightTable, InFlight]],
    *,
    answer: LeaseStatus,
    times: int,
) -> None:
    """What the store says about a delivery is marked in its table; what has not begun need not be killed."""
    (slot,) = hold(table, "one")
    broker.answer = answer

    duties.step([table])

    assert table.slots.cancels() == [(slot, times)]
    assert not killed


def test_what_is_to_be_killed_is_said(
    duties: DutyLoop,
    broker: FakeBroker,
    table: Table,
    killed: list[tuple[InFlightTable, InFlight]],
) -> None:
    """Only whoever has the process can do it."""
    (slot,) = hold(table, "one")
    table.slots.start(slot, 0.0)
    broker.answer = LeaseStatus.KILL

    duties.step([table])

    ((which, entry),) = killed
    assert which is table
    assert entry.task_id == "one"
    assert table.runs(entry)
    table.slots.finish(slot)
    assert not table.runs(entry)


def test_a_lost_one_is_no_cancelled_one(duties: DutyLoop, broker: FakeBroker, table: Table) -> None:
    """Its settlement will be refused; until then it is left alone."""
    hold(table, "one")
    broker.answer = LeaseStatus.LOST

    duties.step([table])

    assert table.slots.cancels() == []


def test_it_hands_back_what_waits_behind_a_long_one(
    duties: DutyLoop, broker: FakeBroker, time: Time, table: Table
) -> None:
    """After a moment, uncharged, and exactly what has not begun."""
    long, *_ = hold(table, "long", "b", "c")
    table.slots.start(long, time.now)
    time.now += STUCK * 0.9
    duties.step([table])
    assert broker.settled == []

    time.now += STUCK * 0.2
    duties.step([table])

    assert broker.settled == [Settlement("b", Defer()), Settlement("c", Defer())]
    assert [entry.task_id for entry in table.entries()] == ["long"]


def test_what_could_not_be_handed_back_is_handed_back_later(
    duties: DutyLoop, broker: FakeBroker, time: Time, table: Table
) -> None:
    """The store was away when it was taken from the worker; nobody else knows of it any more."""
    long, _ = hold(table, "long", "waiting")
    table.slots.start(long, time.now)
    time.now += STUCK * 2
    broker.unable = BrokerUnavailableError("away")
    duties.step([table])
    broker.unable = None
    time.now += RETRY_EVERY

    duties.step([table])
    duties.step([table])

    assert broker.settled == [Settlement("waiting", Defer())]


def test_a_worker_that_gets_on_keeps_its_batch(duties: DutyLoop, broker: FakeBroker, time: Time, table: Table) -> None:
    """What was claimed a moment ago waits for its turn, however long another one has been running."""
    (long,) = hold(table, "long")
    table.slots.start(long, time.now)
    time.now += 1.0
    table.slots.add("waiting", "waiting", 1, time.now - STUCK * 0.9)

    duties.step([table])

    assert broker.settled == []


def test_many_that_are_not_long_hold_a_batch_up_too(
    duties: DutyLoop, broker: FakeBroker, time: Time, table: Table
) -> None:
    """None of them takes long enough to be noticed by itself."""
    slots = hold(table, "a", "b", "c")
    for slot in slots[:2]:
        table.slots.start(slot, time.now)
        time.now += STUCK * 0.6
        table.slots.finish(slot)
    table.slots.start(table.slots.add("next", "next", 1, time.now), time.now)

    duties.step([table])

    assert broker.settled == [Settlement("c", Defer())]


def test_an_idle_worker_keeps_what_it_just_claimed(
    duties: DutyLoop, broker: FakeBroker, time: Time, table: Table
) -> None:
    """Nothing runs, so nothing is in the way."""
    hold(table, "one", "two")
    time.now += 60

    duties.step([table])

    assert broker.settled == []


def test_workers_are_judged_apart(duties: DutyLoop, broker: FakeBroker, time: Time, table: Table) -> None:
    """One that is stuck costs another nothing."""
    other = Table()
    table.slots.start(hold(table, "long")[0], time.now)
    hold(other, "waiting")
    time.now += 1.0

    duties.step([table, other])

    assert broker.settled == []


@pytest.mark.parametrize(("until_due", "pause"), [(-1, MAINTAIN_EVERY), (50, 0.05), (0, 0.001), (9000, MAINTAIN_EVERY)])
def test_it_comes_back_when_something_is_due(
    duties: DutyLoop, broker: FakeBroker, until_due: int, pause: float
) -> None:
    """At the next due time, and every moment for what others delay."""
    broker.until_due = until_due

    assert duties.step([]) == pytest.approx(pause)
    assert duties.step([]) == pytest.approx(pause)
    assert broker.promoted == 1


def test_a_store_that_is_away(
    duties: DutyLoop,
    broker: FakeBroker,
    time: Time,
    table: Table,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is asked again every moment, said once, and renewed as soon as it is back."""
    hold(table, "one")
    broker.error = BrokerUnavailableError("away")
    for _ in range(3):
        assert duties.step([table]) == pytest.approx(MAINTAIN_EVERY)
        duties.step([table])  # nothing is due: it asks nothing, and learns nothing
        time.now += MAINTAIN_EVERY
    assert "is back" not in caplog.text
    broker.error = None
    duties.step([table])

    assert broker.extended == [["one"]]
    assert caplog.text.count("leases cannot be renewed now") == 1
    assert caplog.text.count("the store is back after 0.6 s") == 1


@pytest.mark.parametrize(
    ("duty", "words"),
    [
        ("error", "leases cannot be renewed now"),
        (
            "unable",
            "messages behind a long task could not be given back; they are claimed again when their lease ends",
        ),
        ("unready", "delayed tasks cannot be made ready now"),
    ],
)
def test_a_store_that_refuses(
    duties: DutyLoop,
    broker: FakeBroker,
    time: Time,
    table: Table,
    caplog: pytest.LogCaptureFixture,
    *,
    duty: str,
    words: str,
) -> None:
    """It is told once, and the other duties go on."""
    runs, *_ = hold(table, "one", "two")
    table.slots.start(runs, START)
    time.now += 2 * STUCK
    setattr(broker, duty, BrokerError("no"))
    for _ in range(8):
        duties.step([table])
        time.now += RENEW

    assert len(broker.extended) == (0 if duty == "error" else 8)
    assert [one.receipt for one in broker.settled] == ([] if duty == "unable" else ["two"])
    assert broker.promoted == (4 if duty == "unready" else 8)
    assert [record.getMessage() for record in caplog.records].count(words) == 1
    setattr(broker, duty, None)
    duties.step([table])
    setattr(broker, duty, BrokerError("no"))
    time.now += 2.0
    duties.step([table])
    assert [record.getMessage() for record in caplog.records].count(words) == (1 if duty == "unable" else 2)


def test_it_keeps_a_lease_over_many(time: Time) -> None:
    """A delivery that is renewed every third of its lease is nobody else's, however long it runs."""
    bench = Bench()
    lease = bench.broker.lease_ms()
    duties = loop_of(bench.broker, time)
    bench.put("any")
    (delivery,) = bench.broker.claim("me", 1, 0)
    slots = Slots(bench.table)
    slots.start(slots.add("t1", delivery.receipt, 1, time.now), time.now)
    for _ in range(12):
        duties.step([bench.table])
        time.now += lease / 3000
        bench.clock.advance(lease // 3)
        assert bench.broker.claim("other", 1, 0) == []

    bench.clock.advance(lease)  # nobody keeps it any more
    assert len(bench.broker.claim("other", 1, 0)) == 1


def test_a_refused_release_keeps_no_other_back(
    broker: FakeBroker, time: Time, caplog: pytest.LogCaptureFixture
) -> None:
    """What the dead process had comes back when its lease ends, and that is said; the next one is released."""
    releaser = Releaser(broker, lambda record: record)  # type: ignore[arg-type]
    duties = DutyLoop([releaser], monotonic=time)
    broker.unreleasable["first"] = BrokerError("no")
    for consumer in ("first", "second"):
        releaser.add(Loss(consumer, ["ran"], None, in_flight=True))

    duties.step([])
    duties.step([])

    assert broker.released == [("second", ["ran"])]
    text = "the messages of first could not be released; they are claimed again when their leases end: no"
    assert caplog.text.count(text) == 1


def test_a_release_is_repeated_until_the_store_is_back(broker: FakeBroker, time: Time) -> None:
    """The others wait behind it: each would wait until its request times out."""
    releaser = Releaser(broker, lambda record: record)  # type: ignore[arg-type]
    duties = DutyLoop([releaser], monotonic=time)
    broker.unreleasable["first"] = BrokerUnavailableError("away")
    for consumer in ("first", "second"):
        releaser.add(Loss(consumer, [], None, in_flight=True))

    duties.step([])
    duties.step([])
    assert broker.released == []
    time.now += RETRY_EVERY
    duties.step([])

    assert [consumer for consumer, _ in broker.released] == ["first", "second"]
