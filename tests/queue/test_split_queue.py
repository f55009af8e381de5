"""A queue with a broker and a result store: whoever waits learns of every end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import fakeredis
import pytest

from pyxqueue import ResultTimeoutError, TaskCancelledError, TaskError, TaskQueue, UnknownTaskError
from pyxqueue.backends.memory import MemoryBackend, MemoryResults, MemoryStore
from pyxqueue.backends.redis import RedisBackend, RedisResults
from pyxqueue.backends.redis.connect import ConnectionConfig
from pyxqueue.backends.sqlite import SQLiteBackend, SQLiteResults
from pyxqueue.protocols import Backend, ResultStore, StoreOptions
from pyxqueue.testing import drain

from ..support.until import until


class SharedBackend(MemoryBackend):
    """Like a store that other processes share."""

    one_process = False


class SharedResults(MemoryResults):
    """The same."""

    one_process = False


@pytest.fixture
def queue() -> Iterator[TaskQueue]:
    options = StoreOptions("two")
    broker, results = SharedBackend(MemoryStore(), options), SharedResults(MemoryStore(), options)
    with closing(TaskQueue(stream_key="two", broker=broker, results=results)) as queue:
        yield queue


def test_a_result(queue: TaskQueue) -> None:
    """It comes from the result store."""
    handle = queue.task(name="job")(lambda: 7)()
    drain(queue)
    assert handle.get(5) == 7


def halves_on(kind: str, path: Path, options: StoreOptions) -> tuple[Backend, ResultStore]:
    """A broker and a result store on one store, under the same names."""
    match kind:
        case "memory":
            store = MemoryStore()
            return MemoryBackend(store, options), MemoryResults(store, options)
        case "sqlite":
            return SQLiteBackend(path, options), SQLiteResults(path, options)
        case _:
            config = ConnectionConfig.from_client(fakeredis.FakeRedis(server=fakeredis.FakeServer()))
            return RedisBackend(config, options), RedisResults(config, options)


@pytest.mark.parametrize("kind", ["memory", "sqlite", "redis"])
def test_two_handles_on_one_store(kind: str, tmp_path: Path) -> None:
    """What the broker keeps of an end does not replace the result, and the other way round."""
    broker, results = halves_on(kind, tmp_path / "queue.db", StoreOptions("two"))
    with closing(TaskQueue(stream_key="two", broker=broker, results=results)) as queue:
        good, bad = queue.task(name="job")(lambda: 7)(), queue.task(name="bad")(lambda: 1 / 0)()
        drain(queue)
        assert good.get(5) == 7
        with pytest.raises(TaskError, match="ZeroDivisionError"):
            bad.get(5)
        assert [info and info.status.name for info in broker.show([good.task_id, bad.task_id])] == [
            "SUCCESS",
            "FAILURE",
        ]
        assert broker.groups() == ["cg"]


@pytest.mark.parametrize("kind", ["memory", "sqlite", "redis"])
def test_a_waiter_is_woken_by_the_result_store(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wait does not depend on the next look at the broker, which would come a minute later."""
    monkeypatch.setattr("pyxqueue.split._SLICE", 60_000)
    broker, results = halves_on(kind, tmp_path / "queue.db", StoreOptions("two"))
    with closing(TaskQueue(stream_key="two", broker=broker, results=results)) as queue:
        handle = queue.task(name="job")(lambda: 7)()
        with ThreadPoolExecutor(1) as threads:
            waiting = threads.submit(handle.get, 50)
            until(waiting.running, "it waits")
            drain(queue)
            assert waiting.result(40) == 7


def test_a_cancelled_task(queue: TaskQueue) -> None:
    """Only the broker knows of it."""
    handle = queue.task(name="job")(lambda: 7)()
    assert handle.cancel()
    with pytest.raises(TaskCancelledError):
        handle.get()


def test_a_deleted_task(queue: TaskQueue) -> None:
    """Neither store knows the task any longer."""
    handle = queue.task(name="job")(lambda: 7)()
    queue.clear_tasks()
    with pytest.raises(UnknownTaskError):
        handle.get()


def test_the_time_is_up(queue: TaskQueue) -> None:
    """The task continues to wait."""
    handle = queue.task(name="job")(lambda: 7)()
    with pytest.raises(ResultTimeoutError):
        handle.get(0.05)


def test_awaits_that_were_cancelled_keep_no_thread(queue: TaskQueue) -> None:
    """After a hundred cancelled awaits, more than there are threads, the queue still works."""
    task = queue.task(name="job")(lambda: 7)

    async def main() -> None:
        handle = await task.aenqueue()
        for _ in range(4):
            tries = [asyncio.wait_for(handle.aget(), 0.05) for _ in range(25)]
            assert all(isinstance(one, TimeoutError) for one in await asyncio.gather(*tries, return_exceptions=True))
        await asyncio.wait_for(task.aenqueue(), 20)

    asyncio.run(main())
