"""What a worker notes about its contact with the store, for the supervisor to see."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from pyxqueue.errors import BrokerError, BrokerUnavailableError
from pyxqueue.worker.lifetime import Lifetime
from tests.support.until import until

from .harness import Bench
from .test_worker import Refusing, Running


class Watching(Refusing):
    """Notes at each claim and each settlement since when the thread is seen to ask."""

    def __init__(self, bench: Bench, **failures: list[Exception]) -> None:
        super().__init__(bench, **failures)
        self.contact = bench.table.contact
        self.since: dict[str, list[float]] = {"claim": [], "settle": []}

    def __getattr__(self, name: str) -> Any:
        call = super().__getattr__(name)

        def watched(*args: Any) -> Any:
            if name in self.since:
                self.since[name].append(self.contact.asked[["claim", "settle"].index(name)])
            return call(*args)

        return watched


def waiting(bench: Bench) -> bool:
    return bench.table.contact.waits(time.monotonic()) > 0


@pytest.fixture
def bench() -> Bench:
    bench = Bench()
    bench.task(len)
    bench.put("len", [])
    return bench


def run(bench: Bench, broker: Watching, *, threads: bool = False, ended: Callable[[], object] | None = None) -> None:
    """Have a worker run the task, until it has ended."""
    running = Running(bench.threaded(2, broker) if threads else bench.worker(broker))
    until(ended or (lambda: bench.broker.depth().history), "it ended")
    running.worker.stop()
    running.join()


@pytest.mark.parametrize("threads", [False, True], ids=["in_place", "threads"])
def test_a_worker_notes_that_it_asks_and_that_it_was_answered(bench: Bench, *, threads: bool) -> None:
    """Each claim and each settlement is noted before it is sent, and the reply when it is there."""
    broker = Watching(bench)

    run(bench, broker, threads=threads)

    assert broker.since["settle"]
    assert all(broker.since["claim"] + broker.since["settle"])
    assert not waiting(bench)


@pytest.mark.parametrize(
    ("call", "error", "once"),
    [("claim", BrokerUnavailableError, True), ("settle", BrokerUnavailableError, True), ("claim", BrokerError, False)],
)
def test_only_a_reply_ends_a_question(bench: Bench, call: str, error: type[Exception], once: bool) -> None:
    """While the store cannot be reached, a thread counts from its first attempt; a store that refuses has replied."""
    broker = Watching(bench, **{call: [error("no")] * 2})

    run(bench, broker)

    first, second, third, *_ = broker.since[call]
    assert (first == second == third) is once
    assert not waiting(bench)


@pytest.mark.parametrize("why", ["stopped", "retired", "no_room", "no_slot"])
def test_a_worker_that_does_not_claim_again_asks_no_more(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    """What it runs meanwhile may take long, and a claim that failed before that is not waited for."""
    began, go = threading.Event(), threading.Event()

    def wait() -> None:
        began.set()
        assert go.wait(30)

    bench.task(wait)
    bench.put("wait", task_id="long")
    broker = Watching(bench)
    running = Running(worker := bench.threaded(2, broker))
    assert began.wait(30)
    failures: list[Exception] = [BrokerUnavailableError("no")] * 1000
    broker.failures["claim"] = failures
    bench.put("len", [], task_id="t2")  # it ends the claim that waits
    until(lambda: len(failures) < 999, "claims fail")
    assert waiting(bench)

    if why == "stopped":
        worker.stop()
    elif why == "retired":
        worker._claimer.lifetime = Lifetime(max_tasks=0)
    elif why == "no_room":
        monkeypatch.setattr(worker._dispatcher, "room", lambda: 0)
    else:
        monkeypatch.setattr(worker._jobs.slots, "room", lambda: 0)

    until(lambda: not waiting(bench), "it asks no more")
    go.set()
    worker.stop()
    running.join()


def test_a_settlement_that_is_refused_was_answered(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """It is given up, and the thread asks no more."""
    broker = Watching(bench, settle=[BrokerError("no")] * 10)

    run(bench, broker, ended=lambda: "the store refuses to settle" in caplog.text)

    assert all(broker.since["settle"])
    assert not waiting(bench)
