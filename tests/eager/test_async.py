"""Eager tasks and asyncio: coroutines as tasks, and calls from a running loop."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading

import pytest

from pyxqueue import EagerSession, Progress, TaskCancelledError, TaskError, TaskQueue, current_task
from pyxqueue.testing import eager_mode


@pytest.fixture
def queue() -> TaskQueue:
    return TaskQueue("async-tests")


def test_a_coroutine_runs_without_a_loop(queue: TaskQueue, pyxqueue_eager: EagerSession) -> None:
    """The call makes a loop, and leaves none behind."""

    @queue.task
    async def double(n: int) -> int:
        await asyncio.sleep(0)
        return 2 * n

    assert double(21).get() == 42
    gc.collect()  # an open loop would warn here


def test_a_coroutine_runs_inside_a_loop(queue: TaskQueue, pyxqueue_eager: EagerSession) -> None:
    """A task called from a running loop runs on another one, without a difference for the task."""

    @queue.task
    async def double(n: int) -> int:
        await asyncio.sleep(0)
        return 2 * n

    async def main() -> int:
        return double(21).get()

    assert asyncio.run(main()) == 42


def test_awaiting_a_handle(queue: TaskQueue, pyxqueue_eager: EagerSession) -> None:
    """`aenqueue` and ``await`` take a plain and an ``async def`` task alike, and let the time pass."""

    @queue.task
    def plain(n: int) -> int:
        return n + 1

    @queue.task
    async def waiting(n: int) -> int:
        return n + 1

    async def main() -> list[int]:
        return [
            await (await plain.aenqueue(1)),
            await (await waiting.aenqueue(2)),
            await (await waiting.with_options(delay=3600).aenqueue(3)),
            await plain(4).aget(timeout=5),
        ]

    assert asyncio.run(main()) == [2, 3, 4, 5]


def test_aenqueue_does_not_block_the_loop(queue: TaskQueue, pyxqueue_eager: EagerSession) -> None:
    """A task may need something that runs on the loop of the test."""
    said = threading.Event()

    @queue.task
    def wait() -> bool:
        return said.wait(30)

    async def say() -> None:
        said.set()

    async def main() -> bool:
        handle, _ = await asyncio.gather(wait.aenqueue(), say())
        return await handle

    assert asyncio.run(main())


def test_many_handles_are_awaited_at_once(queue: TaskQueue, pyxqueue_eager: EagerSession) -> None:
    """Whichever thread runs a task, each caller gets the result of its own task."""

    @queue.task
    async def double(n: int) -> int:
        await asyncio.sleep(0)
        return 2 * n

    async def main() -> list[int]:
        handles = [double.with_options(delay=60 - n)(n) for n in range(20)]
        return await asyncio.gather(*handles)

    assert asyncio.run(main()) == [2 * n for n in range(20)]


def test_another_thread_moves_the_clock_at_the_same_moment(
    queue: TaskQueue, pyxqueue_eager: EagerSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task that is ready because of that, and does not run yet, is not given up."""
    handle = queue.task(name="job")(lambda: "done").with_options(delay=60)()
    step = EagerSession.step

    def after_another(session: EagerSession, end: int | None) -> bool:
        step(session, end)
        for backend in session._backends.values():  # as if it claimed another task that is due then
            with backend._store.changed:
                group, now = backend._queue.join()
                group.maintain(None, now)
        return step(session, end)

    monkeypatch.setattr(EagerSession, "step", after_another)

    assert handle.get() == "done"


def test_a_task_of_another_thread_is_waited_for(queue: TaskQueue, pyxqueue_eager: EagerSession) -> None:
    """A task that already runs in another thread is not run again in this one."""
    running, go_on = threading.Event(), threading.Event()

    @queue.task
    def slow() -> str:
        running.set()
        assert go_on.wait(30)
        return "done"

    results: list[str] = []
    caller = threading.Thread(target=slow.with_options(task_id="slow"))
    reader = threading.Thread(target=lambda: results.append(queue.result("slow").get()))
    caller.start()
    assert running.wait(30)
    reader.start()
    go_on.set()
    for thread in (caller, reader):
        thread.join(30)

    assert results == ["done"]


def test_coroutines_wait_for_each_other(queue: TaskQueue, pyxqueue_eager: EagerSession) -> None:
    """A task may call, wait for and await other `async def` tasks, at any depth."""

    @queue.task
    async def child(n: int) -> int:
        await asyncio.sleep(0)
        return n

    @queue.task
    async def parent(n: int) -> int:
        awaited = await (await child.aenqueue(n))
        return awaited + child.with_options(delay=60)(n).get()

    async def main() -> int:
        return await parent(4)

    assert parent(4).get() == 8
    assert asyncio.run(main()) == 8


def test_a_coroutine_knows_its_task(queue: TaskQueue, pyxqueue_eager: EagerSession) -> None:
    """`current_task` works in a coroutine, whatever loop it runs on."""

    @queue.task
    async def who() -> str:
        await asyncio.sleep(0)
        current_task().progress(1, 2)
        return str(current_task().id)

    async def main() -> tuple[str, str, Progress | None]:
        handle = who()
        return handle.task_id, await handle, handle.progress

    task_id, said, progress = asyncio.run(main())
    assert said == task_id
    assert progress == Progress(1, 2)


def test_watching_from_a_loop(queue: TaskQueue, pyxqueue_eager: EagerSession) -> None:
    """``async for`` ends when the task has ended."""

    @queue.task
    def work() -> None:
        current_task().progress(3)

    async def main() -> list[float]:
        return [progress.done async for progress in work.with_options(delay=60)().watch()]

    assert asyncio.run(main()) == [3]


def test_awaiting_a_failure_raises(queue: TaskQueue, pyxqueue_eager: EagerSession) -> None:
    """`aget` raises what `get` does."""

    @queue.task
    async def fail() -> None:
        raise ValueError("no")

    @queue.task
    def never() -> None: ...

    async def main() -> None:
        with pytest.raises(TaskError, match="ValueError: no"):
            await fail()
        handle = never.with_options(delay=60)()
        assert handle.cancel()
        with pytest.raises(TaskCancelledError):
            await handle

    asyncio.run(main())


def test_async_tasks_share_what_belongs_to_a_loop(queue: TaskQueue, pyxqueue_eager: EagerSession) -> None:
    """A client made by the first task works for all, called from plain code, a loop, or each other."""
    clients: list[asyncio.Queue[int]] = []
    loops: set[object] = set()

    @queue.task
    async def use(n: int) -> int:
        loops.add(asyncio.get_running_loop())
        if not clients:
            clients.append(asyncio.Queue())
        reading = asyncio.create_task(clients[0].get())  # binds the queue to the loop
        await asyncio.sleep(0)
        await clients[0].put(n)
        return await reading

    @queue.task
    async def outer() -> int:
        return use.with_options(delay=60)(5).get()

    async def main() -> int:
        return use(3).get() + await (await use.aenqueue(4))

    assert use(1).get() + use(2).get() == 3
    assert asyncio.run(main()) == 7
    assert len(loops) == 1
    clients.clear()  # a task that waits in plain code holds the loop: what it waits for needs another one
    assert outer().get() == 5
    assert len(loops) == 2


def test_each_coroutine_has_its_own_context(queue: TaskQueue, pyxqueue_eager: EagerSession) -> None:
    """The tasks share a loop, but not their context."""

    @queue.task
    async def who() -> str:
        await asyncio.sleep(0)
        return str(current_task().id)

    handles = [who(), who()]

    assert [handle.get() for handle in handles] == [handle.task_id for handle in handles]


def test_the_end_of_a_session_closes_its_loop(queue: TaskQueue) -> None:
    """Everything that tasks left running is cancelled, in whatever thread the session ends."""
    ended: list[str] = []

    async def background() -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            ended.append("cancelled")

    @queue.task
    async def leave_something() -> None:
        kept.append(asyncio.create_task(background()))
        await asyncio.sleep(0)

    kept: list[asyncio.Task[None]] = []

    async def main() -> None:
        with eager_mode():
            leave_something().get()
            assert ended == ["cancelled"]

    with eager_mode():
        leave_something().get()
        assert not ended
    assert ended == ["cancelled"]
    asyncio.run(main())
    assert ended == ["cancelled"] * 2


@pytest.mark.parametrize("helper", ["exits", "stops"])
def test_helpers_that_end_loops(queue: TaskQueue, helper: str) -> None:
    """A helper that calls sys.exit() fails its own task alone; ``loop.stop()`` fails none."""

    async def leave() -> None:
        if helper == "stops":
            asyncio.get_running_loop().stop()
        else:
            sys.exit(3)

    @queue.task
    async def parent() -> str:
        await asyncio.gather(leave(), asyncio.sleep(0.01))
        return "done"

    @queue.task
    async def fine() -> str:
        await asyncio.sleep(0)
        return "fine"

    with eager_mode():
        if helper == "stops":
            assert parent().get() == "done"
        else:
            with pytest.raises(TaskError, match="SystemExit: 3"):
                parent().get()
        assert fine().get() == "fine"
