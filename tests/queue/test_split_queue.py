"""A queue with a broker and a result store: whoever waits learns of every end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import fakeredis
import pytest

from pyxqueue import ResultTimeoutError, TaskCancelledError, TaskQueue, UnknownTaskError
from pyxqueue.backends.memory import MemoryBackend, MemoryStore
from pyxqueue.backends.redis import RedisBackend
from pyxqueue.backends.redis.connect import Recipe
from pyxqueue.backends.sqlite import SQLiteBackend
from pyxqueue.protocols import StoreOptions
from pyxqueue.testing import drain


class Shared(MemoryBackend):
    """Like a store that other processes share."""

    one_process = False


@pytest.fixture
def queue() -> Iterator[TaskQueue]:
    def store() -> Shared:
        return Shared(MemoryStore(), StoreOptions("two"))

    queue = TaskQueue(stream_key="two", broker=store(), results=store())
    yield queue
    queue.close()


def test_a_result(queue: TaskQueue) -> None:
    """It comes from the result store."""
    handle = queue.task(name="job")(lambda: 7)()
    drain(queue)
    assert handle.get(5) == 7


@pytest.mark.parametrize("kind", ["memory", "sqlite", "redis"])
def test_two_handles_on_one_store(kind: str, tmp_path: Path) -> None:
    """What the broker keeps of an end does not replace the result: the results are in a group of their own."""
    store = MemoryStore()
    server = fakeredis.FakeServer()

    def handle_on_it(group: str) -> MemoryBackend | SQLiteBackend | RedisBackend:
        options = StoreOptions("two", group)
        match kind:
            case "memory":
                return MemoryBackend(store, options)
            case "sqlite":
                return SQLiteBackend(tmp_path / "queue.db", options)
            case _:
                return RedisBackend(Recipe.from_client(fakeredis.FakeRedis(server=server)), options)

    with closing(TaskQueue(stream_key="two", broker=handle_on_it("cg"), results=handle_on_it("results"))) as queue:
        handle = queue.task(name="job")(lambda: 7)()
        drain(queue)
        assert handle.get(5) == 7


def test_a_cancelled_task(queue: TaskQueue) -> None:
    """Only the broker knows of it."""
    handle = queue.task(name="job")(lambda: 7)()
    assert handle.cancel()
    with pytest.raises(TaskCancelledError):
        handle.get()


def test_a_deleted_task(queue: TaskQueue) -> None:
    """Nobody knows it any more."""
    handle = queue.task(name="job")(lambda: 7)()
    queue.clear_tasks()
    with pytest.raises(UnknownTaskError):
        handle.get()


def test_the_time_is_up(queue: TaskQueue) -> None:
    """And the task goes on waiting."""
    handle = queue.task(name="job")(lambda: 7)()
    with pytest.raises(ResultTimeoutError):
        handle.get(0.05)


def test_awaits_that_were_cancelled_keep_no_thread(queue: TaskQueue) -> None:
    """A hundred of them, more than there are threads, and the queue still answers."""
    task = queue.task(name="job")(lambda: 7)

    async def main() -> None:
        handle = await task.aenqueue()
        for _ in range(4):
            tries = [asyncio.wait_for(handle.aget(), 0.05) for _ in range(25)]
            assert all(isinstance(one, TimeoutError) for one in await asyncio.gather(*tries, return_exceptions=True))
        await asyncio.wait_for(task.aenqueue(), 20)

    asyncio.run(main())
