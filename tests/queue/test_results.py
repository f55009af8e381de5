"""Handles: waiting, looking, watching, cancelling."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pyxqueue import (
    Cancellation,
    Concurrency,
    ConfigurationError,
    Progress,
    ResultTimeoutError,
    TaskCancelledError,
    TaskError,
    TaskQueue,
    TaskStatus,
    UnknownTaskError,
)
from pyxqueue.context import TaskContext, enter, leave
from pyxqueue.model.message import Done, Extension, Record, Settlement, evolve
from pyxqueue.protocols import Backend
from pyxqueue.testing import FaultyBroker, drain
from tests.conftest import Servers, kinds_to_test
from tests.support.until import until


def work(value: object = None) -> object:
    if value == "no such user":
        raise ValueError(value)
    return value


def test_get_waits_no_longer_than_it_is_told(queue: TaskQueue) -> None:
    """The error is a `TimeoutError`, says where the task is, and the task goes on."""
    handle = queue.task(work)(1)

    with pytest.raises(TimeoutError, match=f"task {handle.task_id} has not ended within 0.01 s: it is PENDING"):
        handle.get(timeout=0.01)
    drain(queue)
    assert handle.get(timeout=0) == 1


@pytest.mark.parametrize("timeout", ["5", float("nan"), [1]])
def test_a_timeout_is_a_number(queue: TaskQueue, timeout: Any) -> None:
    """Every timeout is a number of seconds; anything else is refused."""
    handle = queue.task(work)(1)
    ways: list[Callable[[], object]] = [
        lambda: handle.get(timeout),
        lambda: handle(timeout=timeout),
        lambda: asyncio.run(handle.aget(timeout)),
        lambda: list(handle.watch(timeout)),
    ]

    for wait in ways:
        with pytest.raises(ConfigurationError, match="must be a number of seconds"):
            wait()


def test_get_is_woken(queue: TaskQueue) -> None:
    """`get` returns when the task ends in another thread."""
    handle = queue.task(work)(1)
    worker = threading.Thread(target=drain, args=[queue])
    worker.start()

    assert handle.get(timeout=30) == 1
    worker.join()


@pytest.mark.parametrize("timeout", [None, 30, timedelta(seconds=30)])
@pytest.mark.parametrize("served", [False, True])
def test_a_wait_warns_once_if_no_worker_serves_the_queue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, served: bool, timeout: Any
) -> None:
    """A waiter is warned once; if a worker is known, there is no warning."""
    for name, value in {"_SILENCE": 10, "_SLICE": 10, "_FEW": 1}.items():  # as of many tasks: a look every 10 ms
        monkeypatch.setattr(f"pyxqueue.client.waiting.{name}", value)
    with closing(TaskQueue(f"sqlite:///{tmp_path}/queue.db")) as queue:
        waits: Any = CountingWaits(queue.stores.backend)
        if served:
            queue.stores.backend.claim("worker", 1, 0)
        handle = queue.task(work)(1)
        handle._reader = evolve(handle._reader, backend=waits)
        waiting = threading.Thread(target=handle.get, args=[timeout])
        waiting.start()

        until(lambda: waits.count >= 5, "there was time to say it twice")
        drain(queue)
        waiting.join(30)

    assert not waiting.is_alive()
    assert [handle.task_id in text and "no worker serves its queue" in text for text in caplog.messages] == [True] * (
        not served
    )


def test_who_awaits_is_told_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With a timeout the error has the hint, without one the log has it."""
    monkeypatch.setattr("pyxqueue.client.waiting._SILENCE", 10)

    async def main(queue: TaskQueue) -> object:
        handle = queue.task(work)(1)
        for wait in (handle.aget(0.01), anext(aiter(handle.watch(0.01)))):
            with pytest.raises(ResultTimeoutError, match=r"within 0\.01 s: it is PENDING, and no worker serves"):
                await wait
        waiting = asyncio.create_task(handle.aget())
        await asyncio.to_thread(until, lambda: len(caplog.messages) == 1, "the hint")
        watching = [asyncio.create_task(anext(aiter(handle.watch()), None)), asyncio.to_thread(list, handle.watch())]
        watched = asyncio.gather(*watching, return_exceptions=False)
        await asyncio.to_thread(until, lambda: len(caplog.messages) == 3, "the hints for who watches")
        await asyncio.to_thread(drain, queue)
        assert await watched == [None, []]
        return await waiting

    with closing(TaskQueue(f"sqlite:///{tmp_path}/queue.db")) as queue:
        assert asyncio.run(main(queue)) == 1
    end = "check that one is running on the same store, or start one with `pyxqueue worker MODULE` or queue.start()"
    assert [hint.endswith(end) for hint in caplog.messages] == [True] * 3


def test_who_waits_for_a_task_that_is_held_back_is_told_why(tmp_path: Path) -> None:
    """By a limit, and by a pause."""
    with closing(TaskQueue(f"sqlite:///{tmp_path}/queue.db")) as queue:
        one = queue.task(name="one", limits=[Concurrency(1, name="api")])(lambda: None)
        one()
        blocked = one()
        queue.stores.backend.claim("another", 1, 0)
        with pytest.raises(ResultTimeoutError, match=r"it is PENDING, blocked by the limit api$"):
            blocked.get(timeout=0.01)

        queue.admin.pause()
        with pytest.raises(ResultTimeoutError, match="blocked by the limit api, and the queue is paused: "):
            blocked.get(timeout=0.01)


@pytest.mark.parametrize("others", [0, 2])
def test_a_task_that_waits_for_one_that_no_worker_is_free_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, others: int
) -> None:
    """It is told that all running tasks wait too, unless one of them does not."""
    monkeypatch.setattr("pyxqueue.client.waiting._SILENCE", 10)
    with closing(TaskQueue(f"sqlite:///{tmp_path}/queue.db")) as queue:
        inner = queue.task(name="inner")(lambda: None)

        @queue.task(name="outer")
        def outer() -> str:
            handle = inner()
            try:
                handle.get(timeout=0.2)
            except ResultTimeoutError as error:
                return str(error)
            finally:
                handle.cancel()
            return "it ran"

        for _ in range(others):
            inner()
        queue.stores.backend.claim("another", others, 0)
        handle = outer()
        drain(queue)
        said = handle.get(timeout=0)
    why = "all running tasks (1) wait for other tasks, as this one does: no worker is free to run those"
    assert (f"it is PENDING, and {why}" in said) is (not others)
    assert [f" waits, and {why}" in line for line in caplog.messages] == [True] * (not others)


@pytest.fixture(params=["sqlite", "redis"])
def shared(request: pytest.FixtureRequest, tmp_path: Path, servers: Servers, stream_key: str) -> Iterator[TaskQueue]:
    """A queue that other processes could have, too."""
    url = f"sqlite:///{tmp_path}/queue.db" if request.param == "sqlite" else servers(kinds_to_test()[0]).url
    with closing(TaskQueue(url, stream_key=stream_key)) as queue:
        yield queue


@pytest.mark.parametrize("waiting", [1, 2])
def test_who_waits_outside_is_told_that_all_workers_may_wait(
    shared: TaskQueue, monkeypatch: pytest.MonkeyPatch, waiting: int
) -> None:
    """Each running task has enqueued one that has not started; while one has not, a worker may become free."""
    monkeypatch.setattr("pyxqueue.client.waiting._SILENCE", 10)
    task = shared.task(work)
    outer = [task(n) for n in range(2)]
    assert len(shared.stores.backend.claim("worker", 2, 0)) == 2
    for handle in outer[:waiting]:
        token = enter(TaskContext(handle.task_id, task.name, 1, "", {}, lambda _: None))
        task("inner")
        leave(token)

    with pytest.raises(ResultTimeoutError) as caught:
        outer[0].get(timeout=0.05)
    said = "all running tasks (2) have enqueued tasks that have not started; if they wait for them, no worker is free"
    assert (said in str(caught.value)) is (waiting == 2)


def test_a_task_that_no_worker_has_says_so(tmp_path: Path) -> None:
    """A worker of an older program defers the task, and the error of the wait says so."""
    url = f"sqlite:///{tmp_path}/queue.db"
    with closing(TaskQueue(url)) as queue, closing(TaskQueue(url)) as older:
        handle = queue.task(work)(1)
        drain(older)

        with pytest.raises(ResultTimeoutError, match=r"PENDING, deferred 1x by workers that do"):
            handle.get(timeout=0)


class CountingWaits(FaultyBroker):
    """A backend that counts how often it was waited on."""

    def __init__(self, inner: Backend) -> None:
        super().__init__(inner)
        self.count = 0

    def wait(self, ids: Sequence[str], timeout_ms: int | None, least: int | None = None) -> Sequence[Record | None]:
        self.count += 1
        return super().wait(ids, timeout_ms, least)


def test_a_result_that_is_gone_is_not_a_task_that_never_was(queue: TaskQueue) -> None:
    """The id is still known, and the error says so."""
    handle = queue.task(work)(1)
    drain(queue)
    handle.forget()

    assert handle.state is TaskStatus.SUCCESS
    with pytest.raises(UnknownTaskError, match=r"it ended with SUCCESS, and its result has expired \(result_ttl\)"):
        handle.get(timeout=0)


@pytest.mark.parametrize("value", [None, 0, [], (1, 2)])
def test_a_handle_is_called_for_the_value(queue: TaskQueue, value: object) -> None:
    """A task that returns None completes like any other."""
    handle = queue.task(work)(value)

    assert handle(block=False) is None
    with pytest.raises(ResultTimeoutError):
        handle(block=True, timeout=0.01)
    drain(queue)
    assert handle() == value
    assert handle(block=False) == value
    assert handle.done


def test_the_value_stays_with_the_handle(queue: TaskQueue) -> None:
    """A handle keeps the value that it has read; another handle of the task reads it from the store."""
    handle = queue.task(work)(1)
    drain(queue)
    handle.get()
    handle.forget()

    assert handle.get() == 1
    with pytest.raises(UnknownTaskError):
        queue.result(handle.task_id).get()


def test_a_failed_task_raises_what_is_known(queue: TaskQueue) -> None:
    """Each call raises the failure, also a call that does not block."""
    handle = queue.task(work)("no such user")
    drain(queue)

    for _ in range(2):
        with pytest.raises(TaskError) as caught:
            handle(block=False)
    error = caught.value
    assert (error.type, error.message, error.task_id) == ("ValueError", "no such user", handle.task_id)
    assert error.error == "ValueError: no such user"
    assert error.exc_info == error.traceback
    assert str(error).startswith(f"task {handle.task_id} failed: ValueError: no such user\n\nTraceback")
    assert handle.state is TaskStatus.FAILURE


@pytest.mark.parametrize("task_id", ["unknown", b"unknown", b"\xff", "two words", ""])
def test_an_unknown_id_is_told(queue: TaskQueue, task_id: str | bytes) -> None:
    """Every method that needs the task raises an error at once."""
    queue.task(work)()
    handle = queue.result(task_id)

    for ask in (
        handle.get,
        lambda: handle.state,
        lambda: handle.progress,
        lambda: handle.done,
        lambda: list(handle.watch()),
    ):
        with pytest.raises(UnknownTaskError, match="no task has the id"):
            ask()
    assert handle.cancel() is Cancellation.TOO_LATE


def test_handles_are_equal_by_their_task(queue: TaskQueue) -> None:
    """Handles of one task are equal and have one hash."""
    handle = queue.task(work)()

    assert handle == queue.result(handle.task_id) == queue.result(handle.task_id.encode())
    assert handle != queue.task(work)()
    assert handle != handle.task_id
    assert len({handle, queue.result(handle.task_id)}) == 1
    assert repr(queue.result("x")) == "<AsyncResult task x>"


def test_a_cancelled_task_never_runs(queue: TaskQueue) -> None:
    """Waiting for it raises an error that says so."""
    handle = queue.task(work)()

    assert handle.cancel()
    assert drain(queue) == 0
    assert handle.state is TaskStatus.CANCELLED
    with pytest.raises(TaskCancelledError) as caught:
        handle.get()
    assert isinstance(caught.value, TaskError)
    assert str(caught.value) == f"task {handle.task_id} was cancelled"
    assert handle.cancel() is Cancellation.TOO_LATE


def test_watch_shows_each_change(queue: TaskQueue) -> None:
    """Changes come in order and without repeats until the task ends."""
    task_id = queue.task(work)().task_id
    broker = queue.stores.backend
    (delivery,) = broker.claim("worker", 1, 0)
    broker.extend([Extension(delivery.receipt, Progress(1, 2))])
    seen = []

    for progress in queue.result(task_id).watch(timeout=30):
        seen.append(progress)
        broker.extend([Extension(delivery.receipt, Progress(2, 2))])
        if len(seen) == 2:
            broker.settle([Settlement(delivery.receipt, Done())])

    assert seen == [Progress(1, 2), Progress(2, 2)]


def test_watch_ends_with_its_timeout(queue: TaskQueue) -> None:
    """The loop ends at its timeout if nothing changes."""
    handle = queue.task(work)()

    with pytest.raises(ResultTimeoutError, match=r"has not ended within 0\.01 s: it is PENDING"):
        list(handle.watch(timeout=0.01))


def test_watch_of_an_ended_task_shows_its_last(queue: TaskQueue) -> None:
    """The last progress is shown, and the loop ends at once."""

    @queue.task
    def half() -> None:
        queue.update_task_progress(50)

    handle = half()
    assert handle.progress is None
    drain(queue)

    assert list(handle.watch()) == [Progress(50)]
    assert handle.progress == Progress(50)
