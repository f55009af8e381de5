"""The duties: renewing leases, giving back what waits in a busy worker, releasing, maintenance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from pyxqueue.errors import BrokerError, BrokerUnavailableError
from pyxqueue.inflight import STUCK, InFlight, InFlightTable, Slots
from pyxqueue.model.message import Defer, Extension, LeaseStatus, Settlement
from pyxqueue.supervisor.duties import DutyLoop, Loss, Releaser, all_duties
from pyxqueue.supervisor.duties.loop import RETRY_EVERY
from pyxqueue.supervisor.duties.maintenance import MAINTAIN_EVERY, Maintenance
from tests.worker.harness import Bench

START = 1000.0
LEASE = 1500
RENEW = LEASE / 3000
"""A third of the lease, in seconds."""


class FakeBroker:
    """Notes its calls."""

    def __init__(self) -> None:
        self.extended: list[list[str]] = []
        self.settled: list[Settlement] = []
        self.maintained = 0
        self.status = LeaseStatus.HELD
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
        return [self.status] * len(extensions)

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
        self.maintained += 1
        if self.unready is not None:
            raise self.unready
        return self.until_due


def not_asked(table: InFlightTable, entry: InFlight) -> None:
    raise AssertionError(entry)


class Table(InFlightTable):
    """A table with the worker's access to it."""

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
    """What was to be killed."""
    return []


@pytest.fixture
def duties(broker: FakeBroker, time: Time, killed: list[tuple[InFlightTable, InFlight]]) -> DutyLoop:
    return loop_of(broker, time, lambda table, entry: killed.append((table, entry)))


@pytest.fixture
def table() -> Table:
    return Table()


def hold(table: Table, *names: str) -> list[int]:
    return [table.slots.add(name, name, 1, START) for name in names]


def test_it_renews_all_that_is_in_flight(duties: DutyLoop, broker: FakeBroker, time: Time, table: Table) -> None:
    """It renews what waits, runs or is done, and only when a renewal is due."""
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
    ("status", "times"), [(LeaseStatus.CANCEL, 1), (LeaseStatus.CANCEL_AGAIN, 2), (LeaseStatus.KILL, 1)]
)
def test_it_passes_cancellations_on(
    duties: DutyLoop,
    broker: FakeBroker,
    table: Table,
    killed: list[tuple[InFlightTable, InFlight]],
    *,
    status: LeaseStatus,
    times: int,
) -> None:
    """They are marked in the table of the delivery; the process of one that has not started is not killed."""
    (slot,) = hold(table, "one")
    broker.status = status

    duties.step([table])

    assert table.slots.cancels() == [(slot, times)]
    assert not killed


def test_a_running_task_that_is_cancelled_by_force_is_killed(
    duties: DutyLoop,
    broker: FakeBroker,
    table: Table,
    killed: list[tuple[InFlightTable, InFlight]],
) -> None:
    """The supervisor is told, which has its process."""
    (slot,) = hold(table, "one")
    table.slots.start(slot, 0.0)
    broker.status = LeaseStatus.KILL

    duties.step([table])

    ((which, entry),) = killed
    assert which is table
    assert entry.task_id == "one"
    assert table.runs(entry)
    table.slots.finish(slot)
    assert not table.runs(entry)


def test_a_lost_delivery_is_not_cancelled(duties: DutyLoop, broker: FakeBroker, table: Table) -> None:
    """Its task runs on, and its settlement will be refused."""
    hold(table, "one")
    broker.status = LeaseStatus.LOST

    duties.step([table])

    assert table.slots.cancels() == []


def test_it_gives_back_what_waits_behind_a_long_task(
    duties: DutyLoop, broker: FakeBroker, time: Time, table: Table
) -> None:
    """It gives back exactly what has not started, after a moment and uncharged."""
    long, *_ = hold(table, "long", "b", "c")
    table.slots.start(long, time.now)
    time.now += STUCK * 0.9
    duties.step([table])
    assert broker.settled == []

    time.now += STUCK * 0.2
    duties.step([table])

    assert broker.settled == [Settlement("b", Defer()), Settlement("c", Defer())]
    assert [entry.task_id for entry in table.entries()] == ["long"]


def test_it_looks_when_something_is_to_be_given_back(
    duties: DutyLoop, broker: FakeBroker, time: Time, table: Table
) -> None:
    """It comes back when the oldest that waits has waited for so long, not some time after that."""
    duties.step([])
    table.slots.start(hold(table, "long")[0], time.now)
    time.now += STUCK / 2
    table.slots.add("waiting", "waiting", 1, time.now)
    time.now += STUCK / 4

    pause = duties.step([table])
    assert pause == pytest.approx(STUCK * 3 / 4)
    time.now += pause
    duties.step([table])

    assert broker.settled == [Settlement("waiting", Defer())]


def test_what_could_not_be_given_back_is_given_back_later(
    duties: DutyLoop, broker: FakeBroker, time: Time, table: Table
) -> None:
    """If the store could not be reached when it was taken from the worker, the duty tries again."""
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


def test_a_worker_keeps_what_it_has_just_claimed(
    duties: DutyLoop, broker: FakeBroker, time: Time, table: Table
) -> None:
    """A message that was claimed a moment ago may wait, however long another one has been running."""
    (long,) = hold(table, "long")
    table.slots.start(long, time.now)
    time.now += 1.0
    table.slots.add("waiting", "waiting", 1, time.now - STUCK * 0.9)

    duties.step([table])

    assert broker.settled == []


def test_many_short_tasks_delay_a_batch_too(duties: DutyLoop, broker: FakeBroker, time: Time, table: Table) -> None:
    """What counts is how long a message has waited, not how long one task runs."""
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
    """Nothing runs there, so the messages do not wait behind a task."""
    hold(table, "one", "two")
    time.now += 60

    duties.step([table])

    assert broker.settled == []


def test_workers_are_independent(duties: DutyLoop, broker: FakeBroker, time: Time, table: Table) -> None:
    """A long task in one worker does not matter for what waits in another."""
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
    """Maintenance is called at the next due time, and at least every 0.2 s for what other programs delay."""
    broker.until_due = until_due

    assert duties.step([]) == pytest.approx(pause)
    assert duties.step([]) == pytest.approx(pause)
    assert broker.maintained == 1


class FakeWakeups:
    """Has what the test puts into `heard`; it is readable all the time."""

    def __init__(self) -> None:
        self.longest = 5_000
        self.heard = [-1]

    def listen(self) -> int:
        return self.longest

    def fileno(self) -> int:
        return 7 if self.longest else -1

    def read(self) -> int:
        return self.heard.pop()


@pytest.fixture
def wakeups(broker: FakeBroker, monkeypatch: pytest.MonkeyPatch) -> FakeWakeups:
    found = FakeWakeups()
    monkeypatch.setattr(broker, "wakeups", lambda: found, raising=False)
    return found


def maintaining(broker: FakeBroker, time: Time) -> DutyLoop:
    return DutyLoop([Maintenance(broker)], monotonic=time)  # type: ignore[arg-type] # it has what maintenance calls


@pytest.mark.parametrize(("until_due", "pause"), [(-1, 5.0), (50, 0.05), (9000, 5.0)])
def test_it_sleeps_longer_with_wake_ups(
    wakeups: FakeWakeups, broker: FakeBroker, time: Time, until_due: int, pause: float
) -> None:
    """Maintenance is called at the next due time, and as often as the wake-ups ask for."""
    broker.until_due = until_due

    assert maintaining(broker, time).step([]) == pytest.approx(pause)


@pytest.mark.parametrize("longest", [0, 50])
def test_it_does_not_sleep_longer_without_wake_ups(
    wakeups: FakeWakeups, broker: FakeBroker, time: Time, longest: int
) -> None:
    """If they are not heard now, it looks by itself at short intervals, and never at shorter ones than that."""
    wakeups.longest = longest

    assert maintaining(broker, time).step([]) == pytest.approx(MAINTAIN_EVERY)


@pytest.mark.parametrize(("heard", "pause"), [(20, 0.02), (0, 0.0), (-1, 4.0), (60_000, 4.0)])
def test_a_wake_up_brings_maintenance_forward(
    wakeups: FakeWakeups, broker: FakeBroker, time: Time, heard: int, pause: float
) -> None:
    """It is due when the wake-up says so, if that is earlier, and no store is asked for that."""
    duties = maintaining(broker, time)
    duties.step([])
    time.now += 1.0
    assert duties.watched() == [7]
    wakeups.heard = [heard]

    duties.wake([7])
    assert broker.maintained == 1

    time.now += pause
    duties.step([])
    assert broker.maintained == 2


def test_only_what_is_readable_is_read(wakeups: FakeWakeups, broker: FakeBroker, time: Time) -> None:
    """The supervisor also wakes for other reasons."""
    duties = maintaining(broker, time)
    duties.step([])

    duties.wake([8])

    assert wakeups.heard == [-1]


def test_a_store_that_cannot_be_reached(
    duties: DutyLoop,
    broker: FakeBroker,
    time: Time,
    table: Table,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The duties try again at intervals, log it once, and renew as soon as the store is back."""
    hold(table, "one")
    broker.error = BrokerUnavailableError("away")
    for _ in range(3):
        assert duties.step([table]) == pytest.approx(MAINTAIN_EVERY)
        duties.step([table])  # nothing is due, so no request is made
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
@pytest.mark.parametrize("error", [BrokerError("no"), KeyError("no")], ids=["refusal", "fault"])
def test_a_store_that_refuses(
    duties: DutyLoop,
    broker: FakeBroker,
    time: Time,
    table: Table,
    caplog: pytest.LogCaptureFixture,
    *,
    duty: str,
    words: str,
    error: Exception,
) -> None:
    """The refusal is logged once, and the other duties go on. So it is with a backend that has a fault."""
    runs, *_ = hold(table, "one", "two")
    table.slots.start(runs, START)
    time.now += 2 * STUCK
    setattr(broker, duty, error)
    for _ in range(8):
        duties.step([table])
        time.now += RENEW

    assert len(broker.extended) == (0 if duty == "error" else 8)
    assert [one.receipt for one in broker.settled] == ([] if duty == "unable" else ["two"])
    assert broker.maintained == (4 if duty == "unready" else 8)
    assert [record.getMessage() for record in caplog.records].count(words) == 1
    setattr(broker, duty, None)
    duties.step([table])
    setattr(broker, duty, error)
    time.now += 2.0
    duties.step([table])
    assert [record.getMessage() for record in caplog.records].count(words) == (1 if duty == "unable" else 2)


def test_it_keeps_a_lease_over_many(time: Time) -> None:
    """A delivery that is renewed every third of its lease stays with its holder, however long it runs."""
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

    bench.clock.advance(lease)  # no renewal any more
    assert len(bench.broker.claim("other", 1, 0)) == 1


def test_a_refused_release_keeps_no_other_back(
    broker: FakeBroker, time: Time, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says that those messages are claimed again when their leases end; the next consumer is released."""
    releaser = Releaser(broker, lambda record: record)  # type: ignore[arg-type]
    duties = DutyLoop([releaser], monotonic=time)
    broker.unreleasable["first"] = BrokerError("no")
    for consumer in ("first", "second"):
        ran = InFlight(0, 0, "one", "ran", attempt=1, fence=1, running=True, waiting=False, retry_delay_ms=-1)
        releaser.add(Loss(consumer, [ran], None, in_flight=True))

    duties.step([])
    duties.step([])

    assert broker.released == [("second", ["ran"])]
    text = "the messages of first could not be released; they are claimed again when their leases end: no"
    assert caplog.text.count(text) == 1


def test_a_release_is_repeated_until_the_store_is_back(broker: FakeBroker, time: Time) -> None:
    """The others wait meanwhile: each request would wait until it times out."""
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
