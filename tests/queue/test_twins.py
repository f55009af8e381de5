"""What handles do for asyncio is what they do without it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pyxqueue import AsyncResult, Cancellation, TaskQueue, UnknownTaskError
from pyxqueue.backends.memory import MemoryBackend, MemoryResults, MemoryStore
from pyxqueue.protocols import StoreOptions
from pyxqueue.testing import drain
from tests.conftest import Servers, kinds_to_test

TWINS: dict[str, tuple[Callable[[AsyncResult[Any]], Any], Callable[[AsyncResult[Any]], Awaitable[Any]]]] = {
    "state": (lambda handle: handle.state, lambda handle: handle.astate()),
    "progress": (lambda handle: handle.progress, lambda handle: handle.aprogress()),
    "done": (lambda handle: handle.done, lambda handle: handle.adone()),
    "info": (lambda handle: handle.info(), lambda handle: handle.ainfo()),
}


@pytest.fixture(params=["memory", "sqlite", "two stores", "redis"])
def queue(request: pytest.FixtureRequest, tmp_path: Path, servers: Servers, stream_key: str) -> Iterator[TaskQueue]:
    options = StoreOptions(stream_key)
    made: dict[str, Callable[[], TaskQueue]] = {
        "memory": lambda: TaskQueue("memory://", stream_key=stream_key),
        "sqlite": lambda: TaskQueue(f"sqlite:///{tmp_path}/queue.db", stream_key=stream_key),
        "two stores": lambda: TaskQueue(
            stream_key=stream_key,
            broker=MemoryBackend(MemoryStore(), options),
            results=MemoryResults(MemoryStore(), options),
        ),
        "redis": lambda: TaskQueue(servers(kinds_to_test()[0]).url, stream_key=stream_key),
    }
    with closing(made[request.param]()) as queue:
        yield queue


def work(queue: TaskQueue) -> Callable[[int], int]:
    def work(n: int) -> int:
        queue.update_task_progress(50)
        return 10 // n

    return work


@pytest.mark.parametrize("name", TWINS)
def test_looking(queue: TaskQueue, name: str) -> None:
    """The asyncio methods return the same for a task that waits, has ended, has failed, or is unknown."""
    look, alook = TWINS[name]
    task = queue.task(name="work")(work(queue))
    ended = [task(5), task(0)]
    drain(queue)
    handles = [*ended, task(1)]

    async def main() -> list[Any]:
        return [await alook(handle) for handle in handles]

    assert asyncio.run(main()) == [look(handle) for handle in handles]
    unknown = queue.result("unknown")
    with pytest.raises(UnknownTaskError):
        look(unknown)
    with pytest.raises(UnknownTaskError):
        asyncio.run(main_of(alook(unknown)))


async def main_of(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


def test_info_is_what_admin_says(queue: TaskQueue) -> None:
    """`info` of a handle equals `queue.admin.task`, and has the value wherever it is kept."""
    handle = queue.task(name="work")(work(queue))(5)
    drain(queue)

    assert handle.info() == queue.admin.task(handle.task_id) == asyncio.run(handle.ainfo())
    assert handle.info().result == 2


def test_cancelling_and_forgetting(queue: TaskQueue) -> None:
    """`acancel` is true if the task could be cancelled; a result that was deleted is gone."""
    task = queue.task(name="work")(work(queue))
    first, second = task(1), task(5)

    assert asyncio.run(first.acancel()) is Cancellation.CANCELLED
    assert asyncio.run(first.acancel()) is Cancellation.TOO_LATE
    assert first.state.name == "CANCELLED"
    drain(queue)
    asyncio.run(second.aforget())
    with pytest.raises(UnknownTaskError, match="was deleted"):
        queue.result(second.task_id).get(timeout=0)


def test_on_redis_no_thread_is_used(servers: Servers, stream_key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The event loop sends the same commands itself."""
    with closing(TaskQueue(servers(kinds_to_test()[0]).url, stream_key=stream_key)) as queue:
        handle = queue.task(name="work")(lambda: None)()

        async def main() -> None:
            monkeypatch.setattr("pyxqueue.offload.asyncio", None)
            await handle.astate()
            await handle.aprogress()
            await handle.adone()
            await handle.ainfo()
            await handle.acancel()
            await handle.aforget()

        asyncio.run(main())
    monkeypatch.undo()
