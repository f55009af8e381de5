"""The function that runs a job, and the executor that it is submitted to."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pytest

from pyxqueue.codec import Codec
from pyxqueue.errors import BrokerUnavailableError
from pyxqueue.model.message import Delivery, Message, Settlement
from pyxqueue.serializers import JSONSerializer
from pyxqueue.worker.executors import Broke, Inline, Run, Threads
from pyxqueue.worker.interrupts import ThreadInterrupter
from pyxqueue.worker.jobs import Jobs
from pyxqueue.worker.loop import Loop
from tests.support.until import until

from .harness import Bench


class Later(Inline):
    """Keeps what is submitted instead of calling it."""

    def __init__(self) -> None:
        super().__init__(ThreadInterrupter())
        self.runs: list[Run] = []

    def submit(self, run: Run, wait: float = 0.0) -> bool:
        self.runs.append(run)
        return True


def fails(error: BaseException) -> None:
    raise error


BROKE: Broke = fails


class Noting(Inline):
    """Notes the calls."""

    def __init__(self, calls: list[str]) -> None:
        super().__init__(ThreadInterrupter())
        self.calls = calls

    def submit(self, run: Run, wait: float = 0.0) -> bool:
        self.calls.append("submit")
        return super().submit(run, wait)

    def wait_idle(self, timeout: float | None = None) -> bool:
        self.calls.append("idle")
        return True


@pytest.fixture
def bench() -> Bench:
    return Bench()


def state(bench: Bench) -> list[tuple[bool, bool]]:
    return [(entry.waiting, entry.running) for entry in bench.table.entries()]


def test_one_function_runs_a_job(bench: Bench) -> None:
    """It marks the delivery as started before it decodes the arguments, and leaves only the settling."""
    during: list[list[tuple[bool, bool]]] = []

    class Looking(JSONSerializer):
        def loads(self, data: bytes) -> Any:
            during.append(state(bench))
            return super().loads(data)

    bench.codec = Codec.of("tasks", [Looking()], None)
    bench.task(len)
    bench.put("len", [1, 2])
    executor = Later()
    worker = bench.worker(executor=executor)

    assert worker._claimer.claim(1, 0) == 1
    before = state(bench)
    (run,) = executor.runs
    run()

    assert (before, during, state(bench)) == ([(True, False)], [[(False, True)]], [(False, False)])
    assert worker._queues[0].settling.settle_here() == 1
    assert bench.settled() == [("t1", "Done", True)]
    assert state(bench) == []


def test_what_was_given_back_meanwhile_does_not_run(bench: Bench) -> None:
    """The supervisor has taken it from a busy worker, which does not settle it either."""
    ran: list[int] = []
    bench.task(ran.append)
    bench.put("append", 1)
    executor = Later()
    worker = bench.worker(executor=executor)
    worker._claimer.claim(1, 0)

    assert bench.table.take_back([entry.slot for entry in bench.table.entries()])
    executor.runs[0]()

    assert ran == []
    assert worker._queues[0].settling.settle_here() == 0
    assert not bench.table.busy()


@pytest.mark.parametrize("name", ["coroutine", "unknown"])
def test_the_loop_takes_what_blocks_no_thread(bench: Bench, name: str) -> None:
    """A coroutine function, or a task that is not registered here, does not need a thread."""

    async def coroutine() -> int:
        return threading.get_ident()

    def plain() -> None: ...

    bench.task(coroutine)
    bench.task(plain)
    executor, loop = Later(), Loop(2)
    worker = bench.worker(executor=executor, loop=loop)
    worker._dispatcher.open(BROKE)
    try:
        bench.put(name, task_id="first")
        bench.put("plain", task_id="second")
        worker._claimer.claim(2, 0)
        until(worker._queues[0].settling.settle_here, "the first one is settled")
    finally:
        worker._dispatcher.close()

    assert [task_id for task_id, _, _ in bench.settled()] == ["first"]
    assert len(executor.runs) == 1


def test_what_has_not_started_on_the_loop_is_given_back_at_the_end(bench: Bench) -> None:
    """A worker that is stopped while its loop is blocked starts no job that waits for the loop, however long its plain
    functions still take."""
    blocked, go, busy, end = threading.Event(), threading.Event(), threading.Event(), threading.Event()

    async def holds() -> None:
        blocked.set()
        go.wait(20)

    def plain() -> None:
        busy.set()
        end.wait(20)

    bench.task(holds)
    bench.task(plain)
    bench.put("plain", task_id="plain")
    for task_id in ("first", "second"):
        bench.put("holds", task_id=task_id)
    worker = bench.worker(executor=Threads(1), loop=Loop(2))
    runner = threading.Thread(target=worker.run, daemon=True)
    runner.start()
    assert blocked.wait(20)
    assert busy.wait(20)
    until(lambda: len(bench.table.entries()) == 3, "the second waits")
    worker.stop()
    until(
        lambda: worker._dispatcher._loop is not None and worker._dispatcher._loop._closing, "the worker closes its loop"
    )
    go.set()
    until(lambda: bench.broker.depth().in_flight == 2, "the first is settled")
    end.set()
    runner.join(20)

    assert sorted(bench.settled()) == [("first", "Done", True), ("plain", "Done", True)]
    assert bench.broker.depth().ready == 1


def test_a_task_that_came_alone_is_settled_by_the_thread_that_ran_it(bench: Bench) -> None:
    """It does not wait for the settling thread, which does not even run here."""
    bench.task(len)
    bench.put("len", [1])
    worker = bench.worker()

    worker._claimer.claim(2, 0)

    assert bench.settled() == [("t1", "Done", True)]
    assert not bench.table.busy()


@pytest.mark.parametrize(("number", "limit", "threads"), [(1, 1, False), (2, 3, False), (1, 2, True)])
def test_other_tasks_are_settled_by_the_settling_thread(
    bench: Bench, number: int, limit: int, *, threads: bool
) -> None:
    """Those are several, or more are likely to be ready, or they end in other threads."""
    bench.task(len)
    for one in range(number):
        bench.put("len", [], task_id=f"t{one}")
    worker = bench.threaded(1) if threads else bench.worker()
    worker._dispatcher.open(BROKE)

    worker._claimer.claim(limit, 0)
    worker._dispatcher.wait_idle()
    worker._dispatcher.close()

    assert bench.settled() == []
    assert worker._queues[0].settling.settle_here() == number


def test_what_cannot_be_settled_at_once_is_left_to_the_settling_thread(bench: Bench) -> None:
    """It insists until the store is back; until then, what ends later is settled behind it."""

    class Away:
        """The store, which cannot settle at first."""

        away = True

        def __getattr__(self, name: str) -> Any:
            return getattr(bench.broker, name)

        def settle(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
            if self.away:
                raise BrokerUnavailableError("away")
            return bench.broker.settle(settlements)

    broker: Any = Away()
    bench.task(len)
    worker = bench.worker(broker)
    bench.put("len", [], task_id="first")
    worker._claimer.claim(2, 0)
    broker.away = False
    bench.put("len", [], task_id="second")
    worker._claimer.claim(2, 0)
    assert bench.settled() == []

    assert worker._queues[0].settling.settle_here() == 2

    assert bench.settled() == [("first", "Done", True), ("second", "Done", True)]


def test_redelivered_ones_run_alone(bench: Bench) -> None:
    """Before and after submitting one, the worker waits until nothing runs."""
    calls: list[str] = []
    bench.task(calls.append)
    bench.put("append", "first", task_id="first", redelivered=True)
    bench.put("append", "second", task_id="second", redelivered=True)
    bench.put("append", "other", task_id="other")

    bench.worker(executor=Noting(calls))._claimer.claim(3, 0)

    alone = ["idle", "submit", "first", "idle"], ["idle", "submit", "second", "idle"]
    assert calls == ["submit", "other", *alone[0], *alone[1]]


def test_what_has_run_is_settled_before_a_redelivered_one_begins(bench: Bench) -> None:
    """Its outcome would be lost if the process died."""
    ran: list[str] = []
    bench.task(ran.append)
    bench.put("append", "other", task_id="other")
    bench.put("append", "harmful", task_id="harmful", redelivered=True)
    worker = bench.worker()
    worker._claimer._settles_beside = True
    claiming = threading.Thread(target=worker._claimer.claim, args=(2, 0), daemon=True)
    claiming.start()
    until(lambda: ran, "the other one has run")
    claiming.join(0.05)
    assert ran == ["other"]

    assert worker._queues[0].settling.settle_here() == 1
    claiming.join(20)

    assert ran == ["other", "harmful"]


def test_the_limit_of_the_next_job_in_a_slot_does_not_move(bench: Bench) -> None:
    """The job that was kept from running may have ended meanwhile."""
    jobs = Jobs(bench.table)
    old = jobs.add(Delivery(Message("old", "name"), "receipt", 1), None, 0.0)
    jobs.remove(old)
    new = jobs.add(Delivery(Message("new", "name"), "receipt", 1), None, 0.0)
    assert new.slot == old.slot
    jobs.slots.limit(new.slot, 10.0, -1.0)

    jobs.postpone(old, 5.0)
    assert bench.table._times(new.slot)[1] == 10.0
    jobs.postpone(new, 5.0)
    assert bench.table._times(new.slot)[1] == 15.0
