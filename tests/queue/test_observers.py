"""What an observer is told of beside starts and settlements."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from pyxqueue import (
    CallConflicted,
    Debounce,
    EagerSession,
    Event,
    Missed,
    TaskExpired,
    TaskQueue,
    TaskSettled,
    TaskStarted,
    Throttle,
    TickSkipped,
    Unique,
    eager_mode,
)

seen: list[Event] = []


@pytest.fixture(autouse=True)
def eager() -> Iterator[EagerSession]:
    seen.clear()
    with eager_mode() as session:
        yield session


@pytest.fixture
def queue() -> TaskQueue:
    return TaskQueue("observed", observer=seen.append)


def conflicts() -> list[tuple[str, str, str]]:
    found = [event for event in seen if isinstance(event, CallConflicted)]
    assert {event.queue for event in found} <= {"observed"}
    return [(event.task_id, event.task_name, event.reason) for event in found]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"unique": Unique()}, "unique"),
        ({"debounce": Debounce(60)}, "debounce"),
        ({"debounce": Debounce(60, keep="first")}, "debounce"),
        ({"throttle": Throttle(60)}, "throttle"),
    ],
)
def test_a_call_that_meets_another_task(queue: TaskQueue, options: Any, reason: str) -> None:
    """It is told with the id of that task, once for each call, of `map` and from asyncio too; a first call is not."""

    @queue.task(name="work", **options)
    def work(n: int) -> None:
        pass

    later = work.with_options(delay=60) if reason == "unique" else work
    first = later(1)
    assert conflicts() == []

    later(1)
    later.map([(1,), (2,)])
    asyncio.run(later.aenqueue(1))

    assert conflicts() == [(first.task_id, "work", reason)] * 3


def test_an_id_that_is_known_is_not_a_conflict(queue: TaskQueue) -> None:
    """The call is a repeat of the same task."""

    @queue.task(unique=Unique())
    def work() -> None:
        pass

    for _ in range(2):
        work.with_options(task_id="mine", delay=60)()

    assert conflicts() == []


def test_a_task_that_expires(queue: TaskQueue, eager: EagerSession) -> None:
    """One event says so, and there is neither a start nor a settlement."""

    @queue.task(name="work")
    def work() -> None:
        pass

    queue.admin.pause()
    handle = work.with_options(expires=5)()
    eager.advance(5)

    assert seen == [TaskExpired(handle.task_id, "work", "observed")]


def test_a_tick_that_is_skipped(queue: TaskQueue, eager: EagerSession) -> None:
    """It overlaps with the task of an earlier tick, which waits."""

    @queue.every(timedelta(minutes=5), name="beat", missed=Missed("skip"), overlap="skip")
    def beat() -> None:
        pass

    queue.admin.pause()
    queue.schedules["beat"].trigger()
    eager.advance(600)
    (event,) = (one for one in seen if isinstance(one, TickSkipped))
    assert (event.schedule, event.task_name, event.number, event.reason, event.queue) == (
        "beat",
        "beat",
        1,
        "overlap",
        "observed",
    )


def test_an_observer_of_starts_and_settlements(eager: EagerSession) -> None:
    """One that was written before there were others goes on working; what it raises about them is logged."""
    ended: list[str] = []

    def observe(event: Event) -> None:
        if isinstance(event, TaskSettled):
            ended.append(event.task_id)
        elif not isinstance(event, TaskStarted):
            raise TypeError(event)

    queue = TaskQueue("before", observer=observe)

    @queue.task(unique=Unique())
    def work() -> None:
        pass

    first = work.with_options(delay=60)()
    assert work().task_id == first.task_id
    eager.advance(60)

    assert ended == [first.task_id]
