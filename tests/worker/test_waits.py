"""For how long a task was due before its run began."""

from __future__ import annotations

from math import ceil
from typing import Any

import pytest

from pyxqueue import TaskQueue, TaskSettled, TaskStarted, current_task
from pyxqueue.model.message import Delivery, Message, TaskStatus, Unreadable
from pyxqueue.worker.jobs import Job

from .harness import Bench


def waited(message: Message | Unreadable, claimed_ms: int, claimed: float = 5.0, started: float = 5.25) -> float | None:
    job = Job(Delivery(message, "receipt", 1, claimed_ms=claimed_ms), 0, claimed=claimed, started=started)
    return job.waited()


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        ({"enqueued_ms": 1_000}, 2.25),
        ({"enqueued_ms": 1_000, "due_ms": 2_500}, 0.75),
        ({"enqueued_ms": 1_000, "due_ms": 2_500, "attempt": 2}, 0.75),
        ({"enqueued_ms": 3_001}, 0.25),
        ({"enqueued_ms": 1_000, "attempt": 2}, None),
        ({}, None),
    ],
)
def test_how_long_a_task_waited(fields: dict[str, Any], seconds: float | None) -> None:
    """Until the claim by the store's clock, from then on by that of the worker; a retry without a delay does not say
    from when on."""
    assert waited(Message("a", "job", **fields), 3_000) == seconds


def test_what_is_not_known() -> None:
    """Neither a store that does not say when it was claimed, nor an entry that cannot be read, gives a number."""
    assert waited(Message("a", "job", enqueued_ms=1_000), 0) is None
    assert waited(Unreadable("a", {}, "damaged"), 3_000) is None


def test_it_is_never_negative() -> None:
    """Whatever the clocks say."""
    assert waited(Message("a", "job", enqueued_ms=9_000), 3_000, started=4.0) == 0.0


def test_events_tell_it() -> None:
    """Both of a start and of a settlement, the time that was spent in the worker included."""
    bench = Bench()
    bench.task(len)
    bench.put("len", [1, 2])
    bench.clock.advance(4_000)

    bench.worker().drain()

    started, settled = bench.events
    assert isinstance(started, TaskStarted)
    assert isinstance(settled, TaskSettled)
    assert started.waited is not None
    assert started.waited >= 4.0
    assert settled.waited == started.waited


@pytest.mark.parametrize(("raises", "status"), [(False, TaskStatus.SUCCESS), (True, TaskStatus.FAILURE)])
def test_the_record_says_how_long_the_run_took(raises: bool, status: TaskStatus) -> None:
    """As the event does, in whole ms, and never 0."""
    bench = Bench()
    bench.task(len)
    bench.put("len", 1 if raises else [])

    bench.worker().drain()

    (record,), settled = bench.broker.wait(["t1"], 0), bench.events[-1]
    assert record is not None
    assert isinstance(settled, TaskSettled)
    assert (record.status, record.ran_ms) == (status, ceil(settled.seconds * 1000))
    assert record.ran_ms > 0


def test_a_task_knows_its_times_by_the_clock_of_an_eager_session() -> None:
    """When it was enqueued and due, and how long it waited, exactly; and who runs it."""
    queue = TaskQueue("memory://", eager=True, consumer_group="blue")
    assert queue.eager is not None
    seen = []

    @queue.task(name="look", retries=1, backoff=30.0)
    def look() -> None:
        task = current_task()
        assert task.enqueued is not None
        due = None if task.due is None else (task.due - task.enqueued).total_seconds()
        seen.append((task.group, task.worker, due, task.waited))
        if task.attempt == 1:
            raise ValueError

    look.with_options(delay=60)()
    queue.eager.advance(59)
    queue.eager.clock.advance(11_000)
    queue.eager.advance(0)
    queue.eager.advance(100)

    (group, worker, due, wait), (*_, due_again, wait_again) = seen
    assert (group, due, wait) == ("blue", 60.0, 10.0)
    assert worker
    assert due_again is not None
    assert (due_again > 70, wait_again) == (True, 0.0)


def test_a_task_that_is_called_as_a_function() -> None:
    """It was neither enqueued nor claimed."""
    queue = TaskQueue("memory://")

    @queue.task(name="look")
    def look() -> tuple[object, ...]:
        task = current_task()
        return task.enqueued, task.due, task.group, task.worker, task.waited

    assert look.call() == (None, None, "", "", None)
