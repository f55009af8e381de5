"""What ends a wait."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pyxqueue import AsyncResult, BrokerUnavailableError, TaskQueue
from pyxqueue.backends.sqlite import SQLiteBackend
from pyxqueue.backends.sqlite.polling import LONGEST, SHORTEST, pause_after
from pyxqueue.client.waiting import Limit
from pyxqueue.model.message import Delivery, Message
from pyxqueue.protocols import StoreOptions
from pyxqueue.testing import drain

from .conftest import Open
from .test_faults import locked

LONG = 50_000


def test_a_delayed_task_wakes_a_waiting_claim(open_store: Open) -> None:
    """It is handed out when it is due though nobody writes anything."""
    backend = open_store()
    backend.enqueue([Message("a", "kit.job", delay_ms=60)])
    assert [delivery.message.id for delivery in backend.claim("one", 1, LONG)] == ["a"]


def test_the_end_of_a_lease_wakes_a_waiting_claim(open_store: Open) -> None:
    """What a silent holder had goes to who waits."""
    first = open_store()
    backend = SQLiteBackend(
        first._store.location,
        StoreOptions(lease_ms=60),
        driver=first._store.opener.driver,
        safe_for_wal=lambda _: False,
    )
    backend.enqueue([Message("a", "kit.job")])
    backend.claim("one", 1, 0)
    assert [delivery.message.id for delivery in backend.claim("two", 1, LONG)] == ["a"]
    backend.close()


def test_an_interrupt_ends_a_waiting_claim(open_store: Open) -> None:
    """From any thread, and also if it comes a moment before the wait begins."""
    backend = open_store()
    answers: list[Sequence[Delivery]] = []
    thread = threading.Thread(target=lambda: answers.append(backend.claim("one", 1, LONG)))
    thread.start()
    backend.interrupt()
    thread.join()
    assert answers == [[]]


def test_an_idle_claim_writes_nothing(open_store: Open) -> None:
    """A sleeping worker costs a question now and then, not a transaction."""
    backend = open_store(clock=lambda: 1_700_000_000_000)
    backend.claim("one", 1, 0)
    before = backend._store.mark()
    for _ in range(5):
        backend.claim("one", 1, 2)
        backend.maintain(256)
    assert backend._store.mark() == before


def test_pauses_grow_with_the_silence() -> None:
    """Short after something has happened, and never so long that a task waits for a tenth of a second."""
    pauses = [pause_after(seconds) for seconds in (0.0, 0.01, 0.1, 1.0, 1000.0)]
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (SHORTEST, LONGEST)
    assert LONGEST <= 0.05


WAITS: list[Callable[[AsyncResult[Any]], object]] = [
    lambda handle: handle.get(),
    lambda handle: asyncio.run(handle.aget()),
    lambda handle: list(handle.watch()) or handle.get(),
]


@pytest.mark.parametrize("wait", WAITS, ids=["get", "await", "watch"])
def test_a_wait_without_a_limit_outlives_a_lock(
    open_store: Open, file: Path, monkeypatch: pytest.MonkeyPatch, wait: Callable[[AsyncResult[Any]], object]
) -> None:
    """Another program that holds the file for longer than a call tries for ends no wait."""
    backend = open_store(busy_limit=0.02)
    queue = TaskQueue(stream_key="tasks", broker=backend)
    handle = queue.task(name="work")(lambda: "done")()
    borne, retry_pause = threading.Event(), Limit.retry_pause

    def put_up_with(self: Limit, error: BrokerUnavailableError, began: float) -> float:
        borne.set()
        return retry_pause(self, error, began)

    monkeypatch.setattr(Limit, "retry_pause", put_up_with)
    with ThreadPoolExecutor(1) as threads:
        with locked(file, "BEGIN EXCLUSIVE"):
            waiting = threads.submit(wait, handle)
            assert borne.wait(20)
        drain(queue)
        assert waiting.result(20) == "done"
