"""One thread of a process looks for all who wait on a file."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from pyxqueue.backends.sqlite import SQLiteBackend, polling
from pyxqueue.backends.sqlite.polling import Poller, poller_of
from pyxqueue.model.message import Done, Extension, Message, Progress, Settlement

from .conftest import Open

LONG = 50_000
IDS = [f"t{number:03}" for number in range(1_000)]


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread ends as soon as nobody waits, and those of earlier tests have ended."""
    assert gone(pollers())
    monkeypatch.setattr(polling, "LINGER", 0.0)


class Looks:
    """Counts the looks of a backend, and is told when each of many waits."""

    def __init__(self, backend: SQLiteBackend, monkeypatch: pytest.MonkeyPatch) -> None:
        self.number = 0
        self.armed = threading.Semaphore(0)
        look, arm = backend._records.look, Poller.arm

        def counted(ids: Sequence[str], least: int | None) -> Any:
            self.number += 1
            return look(ids, least)

        def told(poller: Poller, waiter: Any, seen: Any) -> None:
            arm(poller, waiter, seen)
            self.armed.release()

        monkeypatch.setattr(backend._records, "look", counted)
        monkeypatch.setattr(Poller, "arm", told)

    def wait_for(self, number: int) -> None:
        for _ in range(number):
            assert self.armed.acquire(timeout=30)


def pollers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "pyxqueue-poll"]


def finish(backend: SQLiteBackend, count: int = 1) -> list[str]:
    """Run the next tasks in a moment."""
    deliveries = backend.claim("one", count, 0)
    backend.settle([Settlement(one.receipt, Done(), None) for one in deliveries])
    return [one.message.id for one in deliveries]


def gone(threads: Sequence[threading.Thread]) -> bool:
    for thread in threads:
        thread.join(30)
    return not any(thread.is_alive() for thread in threads)


def test_a_thousand_awaits_cost_one_thread_and_no_looks(open_store: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the one whose task has ended looks again."""
    backend, other = open_store(wal=True), open_store(wal=True)
    backend.enqueue([Message(task_id, "kit.job") for task_id in IDS])
    looks = Looks(backend, monkeypatch)
    before = set(threading.enumerate())  # a queue of another test may have such threads until it is collected

    async def main() -> None:
        producer = backend.asynchronous()
        waiting = [asyncio.create_task(producer.wait([task_id], LONG)) for task_id in IDS]
        await asyncio.to_thread(looks.wait_for, len(IDS))
        assert len(pollers()) == 1
        began = set(threading.enumerate()) - before
        assert not [thread for thread in began if thread.name.startswith("pyxqueue-wait")]
        finish(other)
        (record,) = await waiting[0]
        assert record is not None
        assert looks.number == len(IDS) + 1
        for one in waiting[1:]:
            one.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    asyncio.run(main())
    assert gone(pollers())


def test_threads_of_two_handles_share_a_poller_which_ends_with_them(
    open_store: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever handle they use on the file."""
    one, two, other = (open_store(wal=True) for _ in range(3))
    one.enqueue([Message(task_id, "kit.job") for task_id in IDS[:20]])
    looks = Looks(one, monkeypatch)
    with ThreadPoolExecutor(20) as threads:
        waits: list[Callable[[], Any]] = [
            partial((one, two)[number % 2].wait, [IDS[number]], LONG) for number in range(20)
        ]
        answers = [threads.submit(wait) for wait in waits]
        looks.wait_for(20)
        ours = pollers()
        assert len(ours) == 1
        assert len(finish(other, 20)) == 20
        assert all(answer.result(30)[0] for answer in answers)
    assert gone(ours)


def test_a_closed_loop_hurts_nobody(open_store: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody's loop that ended while it waited does not keep the others from their result."""
    backend, other = open_store(wal=True), open_store(wal=True)
    backend.enqueue([Message(task_id, "kit.job") for task_id in IDS[:2]])
    looks = Looks(backend, monkeypatch)
    loop = asyncio.new_event_loop()
    waiting = loop.create_task(backend.asynchronous().wait([IDS[0]], LONG))
    loop.run_until_complete(loop.run_in_executor(None, looks.wait_for, 1))
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(backend.wait, [IDS[1]], LONG)
        looks.wait_for(1)
        finish(other, 2)
        assert answer.result(30)[0] is not None
    waiting._log_destroy_pending = False  # type: ignore[attr-defined]


def test_an_end_between_the_look_and_the_wait_is_not_missed(open_store: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing else is written afterwards, and still it is seen."""
    backend, other = open_store(wal=True), open_store(wal=True)
    backend.enqueue([Message("a", "kit.job")])
    look = backend._records.look

    def slow(ids: Sequence[str], least: int | None) -> Any:
        found = look(ids, least)
        finish(other)
        return found

    monkeypatch.setattr(backend._records, "look", slow)
    assert backend.wait(["a"], LONG)[0] is not None


def test_progress_of_the_same_millisecond_is_seen(open_store: Open) -> None:
    """Who watches is woken by each change, however close they are."""
    backend, other = (
        open_store(wal=True, clock=lambda: 1_700_000_000_000),
        open_store(wal=True, clock=lambda: 1_700_000_000_000),
    )
    backend.enqueue([Message("a", "kit.job")])
    (delivery,) = other.claim("one", 1, 0)
    seen = backend.show(["a"])[0]
    for value in range(1, 4):
        with ThreadPoolExecutor(1) as threads:
            watching = threads.submit(backend.watch, "a", seen, LONG)
            other.extend([Extension(delivery.receipt, Progress(value))])
            seen = watching.result(30)
        assert seen is not None
        assert seen.progress == Progress(value)


def test_a_fork_has_a_poller_of_its_own(open_store: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parent and child wait on, each with a thread of its own."""
    backend, other = open_store(wal=True), open_store(wal=True)
    backend.enqueue([Message(task_id, "kit.job") for task_id in ("a", "b")])
    looks = Looks(backend, monkeypatch)
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(backend.wait, ["b"], LONG)
        looks.wait_for(1)
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            Poller.arm, arm = (  # type: ignore[method-assign]
                lambda self, waiter, seen: (arm(self, waiter, seen), os.write(writing, b"."))[0],
                Poller.arm,
            )
            os._exit(0 if backend.wait(["a"], LONG)[0] is not None else 1)
        assert os.read(reading, 1) == b"."
        finish(other, 2)
        assert os.waitpid(child, 0)[1] == 0
        assert answer.result(30)[0] is not None
        for end in (reading, writing):
            os.close(end)


def test_pollers_belong_to_a_process_and_a_file() -> None:
    """The same for the same file, another for another."""
    assert poller_of("/one") is poller_of("/one")
    assert poller_of("/one") is not poller_of("/two")
