"""What is claimed ahead for threads: it is held and not running, so it can be given back and is not charged."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from pyxqueue.inflight import STUCK
from pyxqueue.model.message import Delivery, Message
from pyxqueue.model.transitions import Counts, counts_of
from pyxqueue.supervisor.duties.stuck import StuckReturner
from pyxqueue.worker.executors import Threads
from pyxqueue.worker.worker import Worker
from tests.support.until import until

from .harness import Bench

PATIENCE = 20


class Held(Threads):
    """Two threads whose last jobs were so short that two more are claimed ahead, and the task `hold`, which runs until
    `go`."""

    def __init__(self, bench: Bench) -> None:
        now = 0.0
        super().__init__(2, lambda: now)
        for _ in range(2 * 13):
            self._places._ahead.ended()
        now = 0.125
        self.began: list[str] = []
        self.go = threading.Event()

        def hold(name: str) -> None:
            self.began.append(name)
            self.go.wait(PATIENCE)

        bench.task(hold)


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def threads(bench: Bench) -> Held:
    threads = Held(bench)
    for name in "abcdef":
        bench.put("hold", name, task_id=name)
    return threads


@contextmanager
def working(bench: Bench, threads: Held) -> Iterator[Worker]:
    """A worker, from the time when two tasks run and two are claimed ahead."""
    worker = bench.worker(executor=threads)
    thread = threading.Thread(target=worker.run, daemon=True)
    thread.start()
    until(lambda: len(threads.began) == 2 and len(bench.table.entries()) == 4, "two run, two wait")
    try:
        yield worker
    finally:
        threads.go.set()
        worker.stop()
        thread.join(PATIENCE)
        assert not thread.is_alive()


def in_flight(bench: Bench, *, waiting: bool) -> set[str]:
    return {entry.task_id for entry in bench.table.entries() if entry.waiting == waiting}


def test_threads_claim_ahead(bench: Bench, threads: Held) -> None:
    """No more than that; it does not run before a thread is free, and then in order."""
    with working(bench, threads):
        assert in_flight(bench, waiting=False) == set("ab")
        assert in_flight(bench, waiting=True) == set("cd")
        assert threads.room() == 0
        threads.go.set()
        until(lambda: bench.broker.depth().history == 6, "all have ended")

    assert sorted(threads.began[:2]) == ["a", "b"]
    assert sorted(threads.began[2:4]) == ["c", "d"]


def test_what_is_claimed_ahead_goes_to_a_worker_that_has_time(bench: Bench, threads: Held) -> None:
    """The supervisor gives it back uncharged, and no thread runs it any more."""
    with working(bench, threads):
        StuckReturner(bench.broker).step([bench.table], time.monotonic() + 2 * STUCK)
        others = bench.broker.claim("other", 10, 0)
        threads.go.set()
        until(lambda: bench.broker.depth().history == 2, "what ran has ended")

    assert {one.message.id for one in others} == set("cdef")
    assert all(counts_of(one.message) == Counts() for one in others if isinstance(one.message, Message))
    assert sorted(threads.began) == ["a", "b"]
    assert not bench.table.busy()


def test_a_worker_that_stops_gives_back_what_it_has_claimed_ahead(bench: Bench, threads: Held) -> None:
    """What runs ends, and nothing else begins."""
    with working(bench, threads) as worker:
        worker.stop()
        until(lambda: threads._closing, "the threads are told")

    assert sorted(threads.began) == ["a", "b"]
    assert bench.broker.depth().ready == 4
    assert not bench.table.busy()


def test_a_process_that_dies_is_not_charged_for_what_it_has_claimed_ahead(bench: Bench, threads: Held) -> None:
    """Only the tasks that were running count a crash."""
    with working(bench, threads):
        bench.broker.release("me", [entry.receipt for entry in bench.table.entries() if entry.running])

    messages = {info.id: info.message for info in bench.broker.show(list("abcdef")) if info is not None}
    assert {name: one.crashes for name, one in messages.items() if isinstance(one, Message)} == {
        name: int(name in "ab") for name in "abcdef"
    }


@pytest.mark.parametrize(("threads", "limit"), [(None, 1), (3, 3)], ids=["inline", "threads"])
def test_the_first_claim(bench: Bench, threads: int | None, limit: int) -> None:
    """Threads take at once what they can start; the main thread takes one, which may take long."""
    worker = bench.worker() if threads is None else bench.threaded(threads)
    limits: list[int] = []

    class Broker:
        def __getattr__(self, name: str) -> Any:
            return getattr(bench.broker, name)

        def claim(self, _consumer: str, limit: int, _wait_ms: int) -> list[Delivery]:
            limits.append(limit)
            worker.stop()
            return []

    worker._queues[0].broker = Broker()
    worker.run()

    assert limits == [limit]
