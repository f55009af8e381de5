"""Statistics: a worker adds up what it settles, and sends that now and then, each count once."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from pyxqueue import RetryLater, TaskQueue
from pyxqueue.errors import BrokerError, BrokerUnavailableError
from pyxqueue.model.message import Delivery, Done, Message, Returned, Settlement
from pyxqueue.model.statistics import OUTCOMES, TaskCounts
from pyxqueue.testing import Fault, FaultyBroker, drain
from pyxqueue.worker.jobs import Job, Ran
from pyxqueue.worker.serving import QueueParts
from pyxqueue.worker.tally import SEND_EVERY, Tally
from pyxqueue.worker.worker import Worker

from ..support.until import PATIENCE, until
from .harness import Bench, beside


class Time:
    """A clock that only the test moves."""

    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def bench() -> Bench:
    """A worker with a task for each outcome."""
    bench = Bench()

    def good() -> int:
        return 1

    def bad() -> None:
        raise ValueError("no")

    def later() -> None:
        raise RetryLater(5)

    bench.task(good)
    bench.task(bad)
    bench.task(later, retries=1)
    return bench


def tally(bench: Bench, store: Any = None, time: Time | None = None) -> Tally:
    return Tally(store or bench.broker, bench.registry, "me", time or Time())


def counted(bench: Bench) -> dict[str, TaskCounts]:
    return {one.name: one for one in bench.broker.statistics(60).totals}


def test_what_was_counted_is_sent_though_hardly_any_time_is_left(bench: Bench) -> None:
    """The wait until then ends in time, also if its timeout passes before it has begun."""
    settling = bench.worker()._queues[0].settling
    ran = Ran(Job(Delivery(Message("id", "good"), "receipt", 1), 0), Returned(b"1"), 0.0)
    pauses = iter([number * 1e-9 for number in range(20)] * 1_000)

    class Brief:
        """There is something to send very soon, again and again."""

        def send_due(self) -> None:
            settling.put(ran)  # as when something is put while nobody waits
            settling._queue.get()

        def left(self) -> float:
            if (pause := next(pauses, None)) is None:
                settling.close()
            return pause or 0.0

    settling.tally = Brief()  # type: ignore[assignment] # as much of a tally as is asked here

    assert beside(settling._next).result(PATIENCE) is None


@pytest.mark.parametrize(
    ("seconds", "number"),
    [(0, 0), (0.005, 0), (0.0051, 1), (0.01, 1), (0.999, 7), (1_800, 14), (1_800.001, 15), (10**9, 15)],
)
def test_a_run_is_in_the_bucket_of_the_next_bound(bench: Bench, seconds: float, number: int) -> None:
    """A bound belongs to its bucket; the last bucket has all that took longer than the last bound."""
    bench.broker.lease_ms()
    tallied = tally(bench)
    ran = Ran(Job(Delivery(Message("id", "good"), "receipt", 1), 0), Returned(b"1"), seconds)

    tallied.settled([ran], [Settlement("receipt", Done())], [True])
    tallied.deliver()

    (found,) = counted(bench).values()
    assert found.run.counts.index(1) == number


def ended(bench: Bench) -> dict[str, dict[str, int]]:
    """What was counted, without what was not."""
    return {name: {what: n for what, n in one.ended.items() if n} for name, one in counted(bench).items()}


def test_each_outcome_is_counted(bench: Bench) -> None:
    """By the name of the task; a task that this program does not know is counted under "other"."""
    for number, name in enumerate(("good", "good", "bad", "later", "\nmy unknown task")):
        bench.put(name, task_id=f"t{number}")

    bench.worker(tally=tally(bench)).drain()

    assert ended(bench) == {
        "good": {"success": 2},
        "bad": {"failure": 1},
        "later": {"retry": 1},
        "other": {"returned": 1},
    }


def test_runs_and_waits_are_counted(bench: Bench) -> None:
    """A histogram has each run of a function, and how long the task was due before it."""
    bench.put("good", task_id="a")
    bench.clock.advance(3_000)
    bench.put("good", task_id="b")
    bench.put("unknown", task_id="c")

    bench.worker(tally=tally(bench)).drain()

    good, other = counted(bench)["good"], counted(bench)["other"]
    assert (good.run.count, good.wait.count, other.run.count) == (2, 2, 0)
    assert good.wait.counts[9] == 1  # up to 5 seconds
    assert 3_000 <= good.wait.sum_ms < 5_000 + good.run.sum_ms


def test_a_refused_settlement_is_counted_as_such(bench: Bench) -> None:
    """It is no success: another worker has the task now."""

    def lost() -> None:
        bench.broker.release("me", [])

    bench.task(lost)
    bench.put("lost")
    worker = bench.worker(tally=tally(bench))

    worker._claimer.claim(1, 0)
    worker._queues[0].settling.settle_here()
    bench.broker.delete(["t1"])
    worker.drain()

    assert (ended(bench), counted(bench)["lost"].refused) == ({"lost": {}}, 1)


def test_an_expired_task_is_counted(bench: Bench) -> None:
    """The worker whose claim ended it counts it, without a run."""
    bench.put("good", lifetime_ms=1_000)
    bench.clock.advance(2_000)

    bench.worker(tally=tally(bench)).drain()

    assert ended(bench) == {"good": {"expired": 1}}
    assert counted(bench)["good"].run.count == 0


def test_many_tasks_are_one_batch(bench: Bench) -> None:
    """The store gets no request per task."""
    broker = FaultyBroker(bench.broker)
    for number in range(50):
        bench.put("good", task_id=f"t{number}")

    bench.worker(broker, tally=tally(bench, broker)).drain()

    assert [call.operation for call in broker.history].count("add_statistics") == 1
    assert ended(bench) == {"good": {"success": 50}}


def test_without_statistics_nothing_is_sent(bench: Bench) -> None:
    """Nor counted."""
    broker = FaultyBroker(bench.broker)
    bench.put("good")

    bench.worker(broker).drain()

    assert "add_statistics" not in [call.operation for call in broker.history]


@pytest.mark.parametrize("fault", [Fault.LOSE_CALL, Fault.LOSE_REPLY, Fault.REPEAT])
def test_an_outage_loses_and_doubles_nothing(bench: Bench, fault: Fault) -> None:
    """A batch that may have arrived is sent again as it was; what was counted meanwhile comes after it."""
    broker = FaultyBroker(bench.broker, [fault, None, fault], operations={"add_statistics"})
    sends = tally(bench, broker)
    for number in range(6):
        bench.put("good", task_id=f"t{number}")
        bench.worker(tally=sends).drain()

    sends.send()

    assert ended(bench) == {"good": {"success": 6}}


def test_an_outage_is_logged_once(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """And the next one again."""

    class Away:
        error: BrokerError | None = BrokerUnavailableError("away")

        def add_statistics(self, batch: Any) -> bool:
            if self.error is not None:
                raise self.error
            return bench.broker.add_statistics(batch)

    store = Away()
    sends = tally(bench, store)
    sends.count("expired", "good")

    for error in (BrokerUnavailableError("away"), BrokerError("no"), None, BrokerError("no")):
        store.error = error
        sends.send()
        sends.count("expired", "good")

    sends.send()
    assert caplog.text.count("me keeps its statistics until the store takes them: away") == 1
    assert caplog.text.count("me keeps its statistics") == 2


def test_nothing_is_sent_too_early_or_for_nothing(bench: Bench) -> None:
    """Ten seconds after the last batch, if there is something new."""
    time, broker = Time(), FaultyBroker(bench.broker)
    sends = tally(bench, broker, time)
    sends.count("expired", "good")

    sends.send_due()
    assert (len(broker.history), sends.left()) == (0, SEND_EVERY)
    time.now += SEND_EVERY
    sends.send_due()
    assert (len(broker.history), sends.left()) == (1, SEND_EVERY)
    time.now += SEND_EVERY
    sends.send_due()
    assert (len(broker.history), sends.left()) == (1, SEND_EVERY)


def test_a_running_worker_sends_when_it_is_time_and_at_its_end(bench: Bench) -> None:
    """Also what the executor's own thread has settled."""
    time = Time()
    sends = tally(bench, time=time)
    worker = bench.worker(tally=sends, observed=False)
    thread = threading.Thread(target=worker.run, daemon=True)
    time.now += SEND_EVERY  # it is time, once it has something
    bench.put("good", task_id="first")
    bench.broker.maintain(1)
    thread.start()
    until(lambda: bench.broker.depth().history == 1, "the first task")
    bench.put("good", task_id="second")
    until(lambda: bench.broker.depth().history == 2, "the second task")
    assert ended(bench) in ({}, {"good": {"success": 1}}, {"good": {"success": 2}})

    worker.stop()
    thread.join()

    assert ended(bench) == {"good": {"success": 2}}


def test_two_queues_are_counted_apart(bench: Bench) -> None:
    """Each in its own store, by one worker."""
    other = Bench()

    def fine() -> None: ...

    other.task(fine)
    worker = bench.worker(tally=tally(bench))
    parts = QueueParts(other.broker, other.registry, other.codec, tally=tally(other), name="other")
    both = Worker([*worker.parts, parts], worker.executor, "me", bench.table, chance=lambda: 0.0)
    bench.put("good")
    other.put("fine")

    both.drain()

    assert (ended(bench), ended(other)) == ({"good": {"success": 1}}, {"fine": {"success": 1}})


def test_counting_from_several_threads_loses_nothing(bench: Bench) -> None:
    """While another one sends."""
    bench.broker.lease_ms()  # registers the group
    sends, left = tally(bench), threading.Barrier(4)

    def count() -> None:
        left.wait()
        for _ in range(500):
            sends.count("expired", "good")

    threads = [threading.Thread(target=count) for _ in range(3)]
    for thread in threads:
        thread.start()
    left.wait()
    while any(thread.is_alive() for thread in threads):
        sends.send()
    sends.send()

    assert counted(bench)["good"].ended["expired"] == 1_500


@pytest.mark.parametrize("given", [True, None, False])
def test_a_queue_says_whether_its_tasks_are_counted(given: bool | None) -> None:
    """By default they are; a batch is sent at the end of a drain."""
    queue = TaskQueue("memory://", statistics=given)
    task = queue.task(name="job")(lambda: 1)
    task()

    drain(queue)

    assert [one.ended["success"] for one in queue.admin.statistics().totals] == ([] if given is False else [1])


def test_the_environment_turns_statistics_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the program says counts more."""
    monkeypatch.setenv("PYXQUEUE_STATISTICS", "0")

    assert TaskQueue("memory://").core.statistics is False
    assert TaskQueue("memory://", statistics=True).core.statistics is True


def test_eager_tasks_are_counted() -> None:
    """Coroutines too; the statistics are complete when they are asked for."""
    queue = TaskQueue(eager=True)

    @queue.task(name="slow")
    async def slow() -> None:
        await asyncio.sleep(0)

    @queue.task(name="late", expires=10)
    def late() -> None: ...

    for _ in range(3):
        slow()
    queue.admin.pause()
    late()
    assert queue.eager is not None
    queue.eager.advance(20)

    found = {one.name: one.ended for one in queue.admin.statistics().totals}

    assert found["slow"] == {**dict.fromkeys(OUTCOMES, 0), "success": 3}
    assert found["late"]["expired"] == 1
