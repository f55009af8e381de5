"""How threads are woken."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from unittest.mock import Mock

import pytest

from pyxqueue.backends.memory import MemoryBackend, MemoryStore
from pyxqueue.model.message import Message
from pyxqueue.protocols import StoreOptions
from pyxqueue.waking import Bell, start_thread
from tests.support.until import PATIENCE, until


def test_a_wait_ends_however_soon_it_is_to_end() -> None:
    """The `get` of the queues of Python 3.11 and 3.12 would wait for ever in some of these."""
    pauses = [number / 1e9 for number in range(0, 5_000, 5)] * 20

    def wait() -> None:
        for seconds in pauses:
            Bell().wait(seconds)

    waiting = threading.Thread(target=wait, daemon=True)
    waiting.start()
    waiting.join(PATIENCE)

    assert not waiting.is_alive()


def test_a_ring_is_kept() -> None:
    """For one wait, however often it rang."""
    bell = Bell()
    bell.ring()
    bell.ring()

    bell.wait(None)

    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(bell.wait, None)
        with pytest.raises(TimeoutError):
            second.result(0.05)
        bell.ring()
        second.result(PATIENCE)


def test_a_thread_that_is_the_last_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system has one thread left, where two are started usually: what waits for the thread is not left alone."""
    runs = threading.Event()
    monkeypatch.setattr(threading.Thread, "start", Mock(side_effect=RuntimeError("can't start new thread")))

    start_thread(runs.set, "last")

    assert runs.wait(PATIENCE)


def test_a_wait_in_memory_for_ages() -> None:
    """It may be longer than Python lets a thread wait at once."""
    store = MemoryStore()
    backend = MemoryBackend(store, StoreOptions("tasks"))
    backend.enqueue([Message("id", "job")])
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(backend.wait, ["id"], sys.maxsize)
        until(lambda: waiting.done() or store.changed._waiters, "it waits")  # type: ignore[attr-defined] # of Python
        backend.delete(["id"])
        assert waiting.result(PATIENCE) == [None]


@pytest.mark.parametrize("seconds", [None, 1e18, float("inf")])
def test_a_ring_ends_a_wait(seconds: float | None) -> None:
    bell = Bell()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(bell.wait, seconds)
        bell.ring()
        waiting.result(PATIENCE)
