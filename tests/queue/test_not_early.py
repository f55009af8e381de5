"""Nothing is due before its time, not by a part of a millisecond."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pyxqueue import TaskQueue
from pyxqueue.clock import milliseconds
from pyxqueue.errors import RetryLater
from pyxqueue.model.message import Defer, Message, Retry, Settlement
from pyxqueue.options import TaskOptions
from pyxqueue.policy import decide
from pyxqueue.protocols import Backend
from pyxqueue.worker.failures import outcome_of

from ..conftest import Servers, kinds_to_test

TIMES = 40
"""A millisecond that has begun shows in nearly every try."""


@pytest.fixture(params=["memory", "sqlite", *kinds_to_test()])
def queue(request: pytest.FixtureRequest, servers: Servers, stream_key: str, tmp_path: Path) -> Iterator[TaskQueue]:
    urls = {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path}/queue.db"}
    queue = TaskQueue(urls.get(request.param) or servers(request.param).url, stream_key=stream_key)
    yield queue
    queue.close()


def due(backend: Backend, task_id: str) -> int:
    """When it is due, in microseconds."""
    info = backend.show([task_id])[0]
    assert info is not None
    assert isinstance(info.message, Message)
    return info.message.due_ms * 1000


def micros() -> int:
    return time.time_ns() // 1000


def test_a_delay_is_never_short(queue: TaskQueue) -> None:
    """The delay counts from the moment of the call."""
    task = queue.task(name="job")(lambda: None)
    for _ in range(TIMES):
        begun = micros()
        handle = task.with_options(delay=60)()
        assert due(queue.stores.backend, handle.task_id) >= begun + 60_000_000


def test_a_moment_is_never_early(queue: TaskQueue) -> None:
    """A moment that lies inside of a millisecond is rounded up."""
    task = queue.task(name="job")(lambda: None)
    for part in range(TIMES):
        eta = datetime.now(UTC) + timedelta(seconds=60, microseconds=part * 23)
        handle = task.with_options(eta=eta)()
        assert due(queue.stores.backend, handle.task_id) >= round(eta.timestamp() * 1e6)


@pytest.mark.parametrize("verdict", [Retry(60_000), Defer(60_000)])
def test_a_retry_is_never_early(queue: TaskQueue, verdict: Retry | Defer) -> None:
    """Neither a retry, a deferred message nor a follow-up starts early."""
    backend: Backend = queue.stores.backend
    for number in range(TIMES):
        backend.enqueue([Message(f"a{number}", "job")])
        (delivery,) = backend.claim("worker", 1, 0)
        begun = micros()
        follow_up = Message(f"b{number}", "job", delay_ms=60_000)
        backend.settle([Settlement(delivery.receipt, verdict, then=[follow_up])])
        assert due(backend, f"a{number}") >= begun + 60_000_000
        assert due(backend, f"b{number}") >= begun + 60_000_000


def test_seconds_are_rounded_up() -> None:
    """Seconds become whole milliseconds, rounded up, but not for an error of floating point."""
    assert [milliseconds(one) for one in (0, 60, 0.0004, 1.0001, 16.1, 4.1, 1.13)] == [
        0,
        60_000,
        1,
        1_001,
        16_100,
        4_100,
        1_130,
    ]


def test_a_pause_that_a_task_asks_for_is_rounded_up() -> None:
    """`RetryLater` rounds like a delay."""
    outcome = outcome_of(RetryLater(0.0102), TaskOptions())

    assert decide(Message("a", "job"), outcome, TaskOptions(retries=1), 0.5) == Retry(11)
