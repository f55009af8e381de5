"""What type checkers say about the public API. Nothing here runs: mypy and pyright read it (``make types``)."""

from __future__ import annotations

from datetime import datetime
from typing import assert_type

from pyxqueue import (
    AsyncResult,
    EagerSession,
    Progress,
    Task,
    TaskContext,
    TaskQueue,
    TaskSettled,
    TaskStarted,
    TaskStatus,
    current_task,
    eager_mode,
    track,
)

queue = TaskQueue("typed")


@queue.task
def plain(url: str, /) -> bytes:
    return url.encode()


@queue.task
async def coroutine(url: str, times: int = 1) -> bytes:
    return url.encode() * times


@queue.task(retries=5, timeout=30, retry_on=(OSError, ValueError))
def with_options(size: int, *, name: str = "") -> list[str]:
    return [name] * size


@queue.task(name="other")
async def coroutine_with_options(size: int) -> None:
    del size


def a_task_keeps_its_signature() -> None:
    assert_type(plain, Task[[str], bytes])
    assert_type(plain("a"), AsyncResult[bytes])
    assert_type(plain.enqueue("a"), AsyncResult[bytes])
    assert_type(with_options(3, name="a"), AsyncResult[list[str]])
    assert_type(plain.call("a"), bytes)
    assert_type(plain.map([("a",), ("b",)]), list[AsyncResult[bytes]])
    assert_type(plain.with_options(delay=60, headers={"a": "b"}), Task[[str], bytes])
    assert_type(plain.with_options(eta=datetime.now().astimezone())("a"), AsyncResult[bytes])


def an_async_task_answers_what_it_returns() -> None:
    assert_type(coroutine("a", times=2), AsyncResult[bytes])
    assert_type(coroutine("a").get(), bytes)
    assert_type(coroutine_with_options(1), AsyncResult[None])


def a_handle_knows_its_value() -> None:
    handle = plain("a")
    assert_type(handle.get(timeout=5), bytes)
    assert_type(handle.get(show_progress=True), bytes)
    assert_type(handle(block=False), bytes | None)
    assert_type(handle.state, TaskStatus)
    assert_type(handle.progress, Progress | None)
    assert_type(handle.done, bool)
    assert_type(handle.cancel(), bool)
    for step in handle.watch(timeout=1):
        assert_type(step, Progress)


async def a_handle_can_be_awaited() -> None:
    handle = await plain.aenqueue("a")
    assert_type(handle, AsyncResult[bytes])
    assert_type(await handle, bytes)
    assert_type(await handle.aget(timeout=1), bytes)
    async for step in handle.watch():
        assert_type(step, Progress)


def inside_a_task() -> None:
    assert_type(current_task(), TaskContext)
    for number in track([1, 2]):
        assert_type(number, int)


def observe(event: TaskStarted | TaskSettled) -> None:
    assert_type(event.task_id, str)


TaskQueue("redis://localhost", stream_key="a", observer=observe, lease=5, serializer="msgpack", accept=["json"])

with eager_mode(propagate=True) as session:
    assert_type(session, EagerSession)
    session.advance(1.5)
