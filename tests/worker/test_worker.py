"""One worker: what it claims, settles and gives back, and that it stops if one of its threads fails."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest

from pyxqueue import Reject, RetryLater, progress
from pyxqueue.codec import Codec
from pyxqueue.errors import BrokerError, BrokerUnavailableError
from pyxqueue.inflight import SLOTS
from pyxqueue.model.message import Returned, Settlement, TaskStatus
from pyxqueue.protocols import DEFAULT_LEASE_MS
from pyxqueue.serializers import JSONSerializer, Seal
from pyxqueue.worker import claiming
from pyxqueue.worker.jobs import Job
from pyxqueue.worker.lifetime import Lifetime
from pyxqueue.worker.worker import Worker
from tests.support.until import until

from .harness import Bench

NONSENSE: Any = ["neither a number nor a text"]


@pytest.fixture
def bench() -> Bench:
    return Bench()


class Refusing:
    """The memory backend, with some of its calls failing first."""

    def __init__(self, bench: Bench, **failures: list[Exception]) -> None:
        self._inner = bench.broker
        self.failures = failures

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any) -> Any:
            if self.failures.get(name):
                raise self.failures[name].pop(0)
            return getattr(self._inner, name)(*args)

        return call


def status(bench: Bench, task_id: str = "t1") -> TaskStatus:
    (info,) = bench.broker.show([task_id])
    assert info is not None
    return info.status


def test_drain_runs_all_there_is(bench: Bench) -> None:
    """It runs what is ready in order, and leaves what is not due."""
    ran: list[int] = []
    bench.task(ran.append)
    for number in range(3):
        bench.put("append", number, task_id=f"t{number}")
    bench.put("append", 3, task_id="later", delay_ms=1000)

    assert bench.worker().drain() == 3
    assert ran == [0, 1, 2]
    bench.clock.advance(1000)
    assert bench.worker().drain() == 1
    assert ran == [0, 1, 2, 3]


def test_retries_run_as_they_become_due(bench: Bench) -> None:
    """A failing task runs again after its pause, and is kept with the failed tasks in the end."""
    runs: list[int] = []

    def fail() -> None:
        runs.append(1)
        raise ValueError("no")

    bench.task(fail, retries=2, backoff=1.0, jitter=0.0)
    bench.put("fail")
    worker = bench.worker()
    for pause in (0, 999, 1, 1999, 1):
        bench.clock.advance(pause)
        worker.drain()

    assert len(runs) == 3
    assert [verdict for _, verdict, _ in bench.settled()] == ["Retry", "Retry", "Fail"]
    assert status(bench) is TaskStatus.FAILURE


@pytest.mark.parametrize(
    ("raised", "verdict"),
    [(RetryLater(5), "Retry"), (RetryLater(float("nan")), "Fail"), (RetryLater(float("inf")), "Fail"),
     (RetryLater(NONSENSE), "Fail"), (RetryLater(10**5000), "Fail"), (Reject(), "Fail"), (Reject(NONSENSE), "Fail"),
     (Reject("\ud800"), "Fail"),
     (SystemExit(3), "Fail"), (KeyboardInterrupt(), "Fail")],
)  # fmt: skip
def test_anything_that_a_task_raises_can_be_settled(bench: Bench, raised: BaseException, verdict: str) -> None:
    """A nonsensical exception fails its task and does not stop the worker."""

    def fail() -> None:
        raise raised

    bench.task(fail, retries=1)
    bench.put("fail")

    bench.worker().drain()

    assert bench.settled() == [("t1", verdict, True)]


def test_a_refused_settlement_is_forgotten(bench: Bench) -> None:
    """Another worker has the message by now: observers hear of the refusal, and nothing else happens."""

    def slow() -> None:
        bench.clock.advance(40_000)
        assert bench.broker.claim("other", 1, 0)

    bench.task(slow)
    bench.put("slow")

    bench.worker().drain()

    assert bench.settled() == [("t1", "Done", False)]
    assert status(bench) is TaskStatus.STARTED
    assert not bench.table.busy()


def test_settling_waits_for_the_store(bench: Bench) -> None:
    """If the store cannot be reached when a task ends, the result is stored when it is back."""
    bench.task(len)
    bench.put("len", [1, 2])
    away = [BrokerUnavailableError("away"), BrokerUnavailableError("still")]

    bench.worker(Refusing(bench, settle=away)).drain()  # type: ignore[arg-type]

    assert bench.settled() == [("t1", "Done", True)]
    (record,) = bench.broker.wait(["t1"], 0)
    assert record is not None
    assert record.value == b"2"


def test_one_settlement_that_is_refused_for_good(bench: Bench) -> None:
    """The worker gives it up and settles the others of its batch."""

    class Picky(Refusing):
        def settle(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
            if any(one.record is not None and one.record.id == "bad" for one in settlements):
                raise BrokerError("not this one")
            return bench.broker.settle(settlements)

    bench.task(len)
    worker = bench.worker(Picky(bench))
    for task_id in ("good", "bad", "better"):
        bench.put("len", [], task_id=task_id)
    deliveries = bench.broker.claim("me", 3, 0)

    decider, settling = worker._queues[0].decider, worker._queues[0].settling
    accepted = settling.insist([decider.settlement(Job(delivery, 0), Returned(b"0")) for delivery in deliveries])

    assert accepted == [True, False, True]


def test_a_store_that_refuses_claims(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """The worker tries again, because an operator may mend the cause."""
    bench.task(len)
    bench.put("len", [])
    running = Running(bench.worker(Refusing(bench, claim=[BrokerError("no"), BrokerError("no")])))

    until(lambda: status(bench) is TaskStatus.SUCCESS, "it ran")
    running.worker.stop()
    running.join()

    assert running.error is None
    assert caplog.text.count("waits for the store: no") == 1


def test_a_message_that_can_neither_be_noted_nor_fail_keeps_no_other_from_running(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other message of its batch runs."""

    def add(task_id: str, *args: Any, **options: Any) -> int:
        if task_id == "bad":
            raise ValueError("no room for that")
        return add_to(task_id, *args, **options)

    bench.task(len)
    for task_id in ("good", "bad"):
        bench.put("len", [], task_id=task_id)
    worker = bench.worker(Refusing(bench, settle=[BrokerError("no")]))
    add_to = worker._jobs.slots.add
    monkeypatch.setattr(worker._jobs.slots, "add", add)
    worker._dispatcher.open(worker._break)

    assert worker._claimer.claim(2, 0) == 2

    assert worker._queues[0].settling._queue.get(timeout=20) is not None
    assert status(bench, "bad") is TaskStatus.STARTED


class Running:
    """A worker in a thread of its own."""

    def __init__(self, worker: Worker) -> None:
        self.error: BaseException | None = None
        self.worker = worker
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.worker.run()
        except RuntimeError as error:
            self.error = error

    def join(self) -> None:
        self._thread.join(20)
        assert not self._thread.is_alive()


def test_stopping_gives_back_what_has_not_started(bench: Bench) -> None:
    """The running task ends and is settled; the rest is in the queue again, uncharged."""
    began, go = threading.Event(), threading.Event()

    def wait() -> None:
        began.set()
        go.wait(20)

    bench.task(wait)
    worker = bench.worker()
    worker._claimer._sizer.limit = 8
    for number in range(4):
        bench.put("wait", task_id=f"t{number}")
    running = Running(worker)
    assert began.wait(20)
    assert bench.broker.depth().in_flight == 4

    worker.stop()
    go.set()
    running.join()

    assert [status(bench, f"t{number}") for number in range(4)] == [TaskStatus.SUCCESS, *[TaskStatus.PENDING] * 3]
    assert not bench.table.busy()


def test_a_supervisor_that_sleeps_is_woken_by_what_waits(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that claims more than it starts at once wakes its supervisor before it runs the first; one that claims a
    single message does not."""
    woken: list[list[bool]] = []
    bench.task(len)
    worker = bench.worker()
    monkeypatch.setattr(
        worker._jobs.slots, "wake_supervisor", lambda: woken.append([one.waiting for one in bench.table.entries()])
    )

    bench.put("len", [], task_id="single")
    worker._claimer.claim(8, 0)
    worker._queues[0].settling.settle_here()
    assert woken == []
    for number in range(3):
        bench.put("len", [], task_id=f"t{number}")
    worker._claimer.claim(8, 0)
    worker._queues[0].settling.settle_here()

    assert woken == [[True, True, True]]


def test_a_full_table_waits_for_settlements(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the store does not reply, the worker claims no more than it has room for, and does not spin."""
    monkeypatch.setattr("pyxqueue.worker.claiming._LOOK_EVERY", 60.0)
    full, answer = threading.Event(), threading.Event()
    looks: list[int] = []
    stale: list[bool] = []

    class Slow(Refusing):
        def settle(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
            if bench.broker.depth().history:  # the first one goes through
                answer.wait(20)
            return bench.broker.settle(settlements)

    class Freed(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            stale.append(self.is_set())
            full.set()
            return super().wait(timeout)

    def room() -> int:
        looks.append(room_in())
        return looks[-1]

    bench.task(len)
    bench.put("len", [], task_id="first")
    worker = bench.worker(Slow(bench))
    room_in = worker._jobs.slots.room
    monkeypatch.setattr(worker._jobs.slots, "room", room)
    worker._jobs.freed = Freed()
    running = Running(worker)
    until(lambda: bench.broker.depth().history == 1, "the first is done")
    for number in range(SLOTS + 1):
        bench.put("len", [], task_id=f"t{number}")

    assert full.wait(20)
    assert bench.broker.depth().in_flight == SLOTS
    assert (looks.count(0), stale) == (1, [False])
    answer.set()
    until(lambda: bench.broker.depth().history == SLOTS + 2, "all done")
    worker.stop()
    running.join()


def test_a_redelivered_task_runs_alone(bench: Bench) -> None:
    """It starts when all others have ended, and none starts beside it."""
    began: list[str] = []
    inside: set[str] = set()
    together: list[set[str]] = []

    def note(name: str) -> None:
        began.append(name)
        inside.add(name)
        together.append(set(inside))
        inside.discard(name)

    bench.task(note)
    for number in range(4):
        bench.put("note", f"t{number}", task_id=f"t{number}", redelivered=number == 1)
    worker = bench.threaded(4)
    running = Running(worker)
    until(lambda: bench.broker.depth().history == 4, "all have run")
    worker.stop()
    running.join()

    assert sorted(began) == ["t0", "t1", "t2", "t3"]
    assert [names for names in together if "t1" in names] == [{"t1"}]


def test_one_that_must_run_alone_is_offered_to_other_workers(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """While something long runs here; then it waits for longer, and nothing is claimed that would run beside it."""
    monkeypatch.setattr(claiming, "_PATIENCE", (0.01, 20.0))
    monkeypatch.setattr(claiming, "_OFFER", 0.0)
    begun, gate = threading.Event(), threading.Event()
    ran: list[str] = []

    def hold() -> None:
        begun.set()
        gate.wait(20)
        ran.append("long")

    bench.task(hold)
    bench.task(ran.append)
    bench.put("hold", task_id="long")
    worker = bench.threaded(2)
    worker.executor.open(lambda error: None)
    claim = partial(worker._claimer.claim, 2, 0)
    claim()
    assert begun.wait(20)
    bench.put("append", "suspect", task_id="suspect", redelivered=True)

    claim()
    depth = bench.broker.depth()
    assert (depth.ready, depth.in_flight, ran) == (1, 1, [])

    waiting = threading.Thread(target=claim, daemon=True)
    waiting.start()
    until(lambda: bench.broker.depth().ready == 0, "it is claimed again")
    waiting.join(0.05)
    assert (waiting.is_alive(), ran) == (True, [])
    gate.set()
    waiting.join(20)
    assert ran == ["long", "suspect"]
    worker.executor.close()


def test_one_that_must_run_alone_is_offered_again_and_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process may become idle, or start, while it waits behind something that never ends. Each wait is longer."""
    monkeypatch.setattr(claiming, "_OFFER", 0.0)
    waits: list[float | None] = []
    bench.task(len)
    worker = bench.worker()
    monkeypatch.setattr(worker._claimer.dispatcher, "wait_idle", waits.append)
    bench.put("len", [], task_id="suspect", redelivered=True)

    for _ in range(4):
        worker._claimer.claim(1, 0)
        depth = bench.broker.depth()
        assert (depth.ready, depth.in_flight) == (1, 0)

    first, then = claiming._PATIENCE
    assert waits == [first, then, 2 * then, 4 * then]


@pytest.mark.parametrize("verb", ["settle", "extend"])
def test_a_thread_that_fails_ends_the_worker(bench: Bench, verb: str, caplog: pytest.LogCaptureFixture) -> None:
    """A worker whose settling or monitoring has failed does not go on claiming."""

    def work() -> None:
        progress(1)
        if verb == "extend":
            until(lambda: worker._claimer.stopping, "the worker is told")

    planted: list[Exception] = [ZeroDivisionError("planted")]
    bench.task(work)
    bench.put("work")
    worker = bench.worker(Refusing(bench, settle=planted if verb == "settle" else [], extend=planted))
    running = Running(worker)
    running.join()

    assert isinstance(running.error, RuntimeError)
    assert isinstance(running.error.__cause__, ZeroDivisionError)
    assert "broke: its process ends" in caplog.text


def test_claiming_waits_for_the_store(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """The worker logs once that it waits, and goes on when the store is back."""
    bench.task(len)
    bench.put("len", [])
    worker = bench.worker(Refusing(bench, claim=[BrokerUnavailableError("away")] * 3))
    running = Running(worker)
    until(lambda: bench.broker.depth().history, "it ran")
    worker.stop()
    running.join()

    assert caplog.text.count("waits for the store") == 1


def test_the_record_of_a_success_is_complete(bench: Bench) -> None:
    """It has the attempt, the worker, the time to live and the last progress."""

    def work() -> str:
        progress(3, 4, "almost")
        return "value"

    bench.task(work, result_ttl=5.0)
    bench.put("work", attempt=2)
    bench.worker().drain()

    (record,) = bench.broker.wait(["t1"], 0)
    assert record is not None
    assert (record.value, record.attempt, record.worker, record.ttl_ms) == (b'"value"', 2, "me", 5000)
    assert record.progress is not None
    assert (record.progress.done, record.progress.total, record.progress.message) == (3, 4, "almost")
    assert bench.settled() == [("t1", "Done", True)]


def test_no_sealed_call_runs_before_the_store_has_said_that_it_is_not_a_copy(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the store cannot be reached, the claimed calls run when their leases have ended."""
    ran: list[int] = []

    def append(number: int) -> None:
        ran.append(number)

    def away(_extensions: object) -> Any:
        raise BrokerUnavailableError("away")

    bench.codec = Codec.of("tasks", [JSONSerializer()], Seal("k" * 16))
    bench.task(append)
    bench.put("append", 1)
    with monkeypatch.context() as patch:
        patch.setattr(bench.broker, "extend", away)
        with pytest.raises(BrokerUnavailableError):
            bench.worker().drain()
    assert ran == []

    bench.clock.advance(DEFAULT_LEASE_MS + 1)
    bench.worker().drain()
    assert ran == [1]


def test_a_worker_without_a_task_is_not_replaced_for_its_memory(bench: Bench) -> None:
    """The next one would use as much. It is replaced after its first task."""
    bench.task(len)
    worker = bench.worker()
    worker._claimer.lifetime = lifetime = Lifetime(max_memory=0.5)
    assert lifetime.over() == ""

    running = Running(worker)
    bench.put("len", [])
    running.join()

    assert status(bench) is TaskStatus.SUCCESS
    assert worker.retired.endswith("MiB of memory, and may use 0.5")
