"""Another program deletes what is noted of tasks that wait, or the server evicts it: they go on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from pyxqueue import AsyncResult, Concurrency, Task, TaskQueue, chain, current_task
from pyxqueue.backends.redis import RedisBackend, unnoted
from pyxqueue.model.message import Message, TaskStatus
from pyxqueue.testing import drain
from tests.support.until import until

Job = Task[..., Any]


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is looked at with each maintenance."""
    monkeypatch.setattr(unnoted, "EVERY", 0.0)


@pytest.fixture
def queue(redis_url: str, stream_key: str) -> Iterator[TaskQueue]:
    with closing(TaskQueue(redis_url, stream_key)) as queue:
        yield queue


def backend_of(queue: TaskQueue) -> RedisBackend:
    found = queue.stores.backend
    assert isinstance(found, RedisBackend)
    return found


def delayed(queue: TaskQueue, job: Job) -> list[AsyncResult[Any]]:
    return [job.with_options(delay=0.05)(1), job.with_options(delay=0.1, priority=90)(2)]


def limited(queue: TaskQueue, job: Job) -> list[AsyncResult[Any]]:
    limited = queue.task(name="limited", limits=[Concurrency(1)])(same)
    return [limited(number) for number in range(3)]


def in_a_fair_line(queue: TaskQueue, job: Job) -> list[AsyncResult[Any]]:
    fair = TaskQueue(backend_of(queue)._registration.session.config.url, queue.stream_key, fair_by="value")
    with closing(fair):
        return [queue.result(fair.task(name="job")(same)(number).task_id) for number in range(3)]


def in_a_flow(queue: TaskQueue, job: Job) -> list[AsyncResult[Any]]:
    return [*chain(job.of(1), job.of(), job.of())()]


def suspended(queue: TaskQueue, job: Job) -> list[AsyncResult[Any]]:
    def parent() -> list[int]:
        later = job.with_options(delay=0.1)
        return list(current_task().gather("children", [later.of(1), later.of(2)]))

    handle = queue.task(name="parent")(parent)()
    drain(queue)  # until it waits for its children
    return [handle]


WAITING: dict[Callable[[TaskQueue, Job], list[AsyncResult[Any]]], str] = {
    delayed: "delayed", limited: "lines", in_a_fair_line: "lines", in_a_flow: "dependents", suspended: "dependents",
}  # fmt: skip


@pytest.mark.parametrize("wait", WAITING, ids=lambda wait: wait.__name__)
def test_what_is_noted_of_waiting_tasks_is_deleted(
    queue: TaskQueue, client: Any, wait: Callable[..., list[AsyncResult[Any]]], caplog: pytest.LogCaptureFixture
) -> None:
    """Each ends, once, and a warning says that something was lost."""
    runs: list[int] = []

    def run(value: int) -> int:
        runs.append(value)
        return value

    job = queue.task(name="job")(run)
    handles = wait(queue, job)
    assert client.delete(f"{{{queue.stream_key}}}:cg:{WAITING[wait]}") == 1

    until(lambda: ended(queue, handles), "all end")

    assert [handle.state.name for handle in handles] == ["SUCCESS"] * len(handles)
    assert len(runs) == len(set(runs)) or wait is in_a_flow
    assert caplog.text.count("They go on") == 1
    depth = backend_of(queue).depth()
    assert depth is not None
    assert (depth.ready, depth.delayed, depth.blocked, depth.dependent) == (0, 0, 0, 0)


def test_a_delayed_task_keeps_its_time(backend: RedisBackend, client: Any, stream_key: str) -> None:
    """It is due as before, whether its own key is still there or not."""
    key = f"{{{stream_key}}}:cg:delayed"
    backend.enqueue([Message("a", "job", delay_ms=500_000), Message("b", "job", delay_ms=900_000)])
    before = client.zrange(key, 0, -1, withscores=True)
    client.delete(key, backend._registration.keys.task("b"))

    backend.maintain(100)

    assert client.zrange(key, 0, -1, withscores=True) == before
    assert [one is not None and one.status for one in backend.show(["a", "b"])] == [TaskStatus.PENDING] * 2


def test_only_what_is_missing_is_noted_again(backend: RedisBackend, client: Any, stream_key: str) -> None:
    """Whatever else waits, and however much of it."""
    key = f"{{{stream_key}}}:cg:delayed"
    backend.enqueue([Message(f"n{number}", "job", delay_ms=900_000) for number in range(100)])
    client.zrem(key, "n7", "n70")
    client.zadd(key, {"n8": 1e15})

    backend.maintain(100)

    assert client.zcard(key) == 100
    assert client.zscore(key, "n8") == 1e15


def ended(queue: TaskQueue, handles: list[AsyncResult[Any]]) -> bool:
    backend_of(queue).maintain(100)
    drain(queue)
    return all(handle.state.ended for handle in handles)


def same(value: int) -> int:
    return value
