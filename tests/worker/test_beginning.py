"""Whether a task may start: the store is asked just before, about those that it marked."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from types import SimpleNamespace
from unittest.mock import Mock

import pytest

from pyxqueue.backends.memory import MemoryBackend, MemoryStore
from pyxqueue.clock import FakeClock
from pyxqueue.errors import BrokerUnavailableError
from pyxqueue.model.message import Delivery, StartStatus, TaskStatus
from pyxqueue.protocols import StoreOptions
from pyxqueue.worker.events import TaskExpired
from pyxqueue.worker.executors import Threads
from pyxqueue.worker.loop import Loop
from tests.support.until import PATIENCE, until

from .harness import Bench, beside


class Slow(MemoryBackend):
    """Time passes between a claim and the start."""

    def __init__(self, clock: FakeClock, passes: int = 0) -> None:
        super().__init__(MemoryStore(clock), StoreOptions("tasks"))
        self.clock = clock
        self.passes = passes
        self.asked: list[int] = []
        self.failing = 0

    def claim(self, consumer: str, limit: int, wait_ms: int) -> Sequence[Delivery]:
        found = super().claim(consumer, limit, wait_ms)
        if found:
            self.clock.advance(self.passes)
        return found

    def begin(self, receipts: Sequence[str]) -> Sequence[StartStatus]:
        self.asked.append(len(receipts))
        if self.failing:
            self.failing -= 1
            raise BrokerUnavailableError("down")
        return super().begin(receipts)


@pytest.fixture
def bench() -> Bench:
    bench = Bench()
    bench.broker = Slow(bench.clock)
    return bench


def broker_of(bench: Bench) -> Slow:
    assert isinstance(bench.broker, Slow)
    return bench.broker


def test_an_expired_task_does_not_run(bench: Bench) -> None:
    """It expired after the claim: it is not run, and an observer is told of its end."""
    broker, ran = broker_of(bench), list[int]()
    broker.passes = 6_000

    def note() -> None:
        ran.append(1)

    bench.task(note)
    bench.put("note", lifetime_ms=5_000)
    bench.worker(observer=bench.events.append).drain()
    info = broker.show(["t1"])[0]
    assert ran == []
    assert info is not None
    assert info.status is TaskStatus.CANCELLED
    assert bench.events == [TaskExpired("t1", "note", "tasks")]
    assert bench.table.entries() == []


def test_a_claim_that_ends_what_has_expired(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """An observer is told of it, and the log."""
    bench.task(list)
    bench.put("list", lifetime_ms=5_000)
    bench.clock.advance(5_000)

    with caplog.at_level(logging.INFO, "pyxqueue.worker"):
        bench.worker().drain()

    assert bench.events == [TaskExpired("t1", "list", "tasks")]
    assert caplog.messages == ["list t1 expired before it started"]


def test_a_usual_task_is_not_asked_about(bench: Bench) -> None:
    """Only what the store has marked costs a request."""
    bench.task(list)
    bench.put("list")
    bench.worker().drain()
    assert broker_of(bench).asked == []


def test_it_asks_until_the_store_is_back(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task that must be asked about waits for the store, and runs then."""
    broker = broker_of(bench)
    broker.failing = 2
    monkeypatch.setattr("pyxqueue.worker.beginning.time", SimpleNamespace(sleep=lambda _: None))
    bench.task(list)
    bench.put("list", lifetime_ms=5_000)
    bench.worker().drain()
    assert broker.asked == [1, 1, 1]
    assert broker.show(["t1"])[0].status is TaskStatus.SUCCESS  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", ["threads", "loop"])
def test_every_executor_asks(bench: Bench, kind: str) -> None:
    """Threads and the event loop ask as well; on the loop, those that start together are asked about together."""
    broker = broker_of(bench)
    ran, together = list[int](), threading.Lock()

    async def note(number: int) -> None:
        ran.append(number)

    def plain(number: int) -> None:
        with together:
            ran.append(number)

    bench.task(note)
    bench.task(plain)
    for number in range(20):
        name = "note" if kind == "loop" else "plain"
        bench.put(name, number, task_id=f"t{number}", lifetime_ms=5_000 if number % 2 else 0)
    worker = bench.worker(executor=Threads(4), loop=Loop(20) if kind == "loop" else None)
    thread = threading.Thread(target=worker.run, daemon=True)
    thread.start()
    until(lambda: broker.depth().history == 20, "every task has ended")
    worker.stop()
    broker.interrupt()
    thread.join()
    assert sorted(ran) == list(range(20))
    assert sum(broker.asked) == 10


@pytest.mark.parametrize("kind", ["threads", "loop"])
def test_an_unexpected_error_of_the_store(bench: Bench, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """All tasks that were asked about get it, so that none waits for ever: the worker ends as broken."""
    monkeypatch.setattr(bench.broker, "begin", Mock(side_effect=ArithmeticError))

    async def note() -> None: ...

    def plain() -> None: ...

    bench.task(note)
    bench.task(plain)
    for number in range(4):
        bench.put("note" if kind == "loop" else "plain", task_id=f"t{number}", lifetime_ms=5_000)
    worker = bench.worker(executor=Threads(4), loop=Loop(4) if kind == "loop" else None)

    with pytest.raises(RuntimeError, match="a thread of me broke"):
        beside(worker.run).result(PATIENCE)


@pytest.mark.parametrize("kind", ["threads", "loop"])
def test_a_stop_while_the_store_is_down(bench: Bench, kind: str) -> None:
    """Tasks that are not asked about run meanwhile. The worker ends, and leaves the others to the next holder."""
    broker, ran = broker_of(bench), list[str]()
    broker.failing = 10**9

    async def note(name: str) -> None:
        ran.append(name)

    def plain(name: str) -> None:
        ran.append(name)

    bench.task(note)
    bench.task(plain)
    name = "note" if kind == "loop" else "plain"
    for task_id in ("asked", "asked too"):
        bench.put(name, task_id, task_id=task_id.replace(" ", "-"), lifetime_ms=5_000)
    bench.put(name, "usual", task_id="usual")
    worker = bench.worker(executor=Threads(4), loop=Loop(4) if kind == "loop" else None)
    thread = threading.Thread(target=worker.run, daemon=True)
    thread.start()
    until(
        lambda: ran == ["usual"] and broker.asked, "the usual task runs while the store does not say whether others may"
    )

    worker.stop()
    broker.interrupt()
    thread.join(20)

    assert not thread.is_alive()
    assert ran == ["usual"]
    assert bench.table.entries() == []
    assert broker.release("me", []) == 2
