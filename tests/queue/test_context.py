"""What a running task knows and says about itself."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from pyxqueue import NotInTaskError, Progress, TaskContext, TaskQueue, current_task, progress, track
from pyxqueue.testing import drain


def run(queue: TaskQueue, function: Callable[[], Any], **options: Any) -> tuple[Any, Progress | None]:
    """Run a function as a task; return its result and its last progress."""
    handle = queue.task(name="work")(function).with_options(**options)()
    drain(queue)
    return handle.get(timeout=0), handle.progress


@pytest.mark.parametrize(
    "use",
    [
        current_task,
        lambda: progress(1),
        lambda: next(track([1])),
        lambda: TaskQueue("q").update_task_progress(1),
        lambda: TaskQueue("q").update_task_progress("one"),
    ],
    ids=["current_task", "progress", "track", "update_task_progress", "text"],
)
def test_outside_of_a_task_there_is_none(use: Callable[[], Any]) -> None:
    """The error says that no task runs here, and what to do in a thread."""
    with pytest.raises(NotInTaskError, match=r"no task runs here; .*contextvars.copy_context\(\).run"):
        use()


def test_a_task_knows_itself(queue: TaskQueue) -> None:
    """A task can read its id, name, attempt, queue and headers."""
    seen: list[TaskContext] = []
    run(queue, lambda: seen.append(current_task()), task_id="one", headers={"tenant": "ada"})

    (context,) = seen
    assert (context.id, context.name, context.attempt, context.queue) == ("one", "work", 1, "q")
    assert context.headers == {"tenant": "ada"}
    with pytest.raises(NotInTaskError):
        current_task()


def test_call_has_a_context_too(queue: TaskQueue) -> None:
    """A function that reports progress can be called directly; the progress is discarded."""

    @queue.task(name="plain")
    def plain() -> str:
        progress(1)
        return current_task().id

    @queue.task(name="coroutine")
    async def coroutine() -> str:
        progress(1)
        return current_task().name

    async def awaited() -> Any:
        value: Any = coroutine.call()
        return await value

    assert plain.call() == ""
    assert asyncio.run(awaited()) == "coroutine"
    with pytest.raises(NotInTaskError):
        current_task()


@pytest.mark.parametrize(
    ("say", "expected"),
    [
        (lambda queue: progress(1, 4, "first"), Progress(1, 4, "first")),
        (lambda queue: current_task().progress(2, 4), Progress(2, 4)),
        (lambda queue: queue.update_task_progress(50), Progress(50)),
        (lambda queue: queue.update_task_progress("copying"), Progress(0, None, "copying")),
        (lambda queue: list(track([1, 2, 3])), Progress(3, 3)),
        (lambda queue: list(track({1, 2}, message="sets")), Progress(2, 2, "sets")),
        (lambda queue: list(track(iter([1, 2]))), Progress(2, None)),
        (lambda queue: list(track(iter([1, 2]), total=5)), Progress(2, 5)),
        (lambda queue: list(track([])), Progress(0, 0)),
        (lambda queue: next(iter(track("abc"))), Progress(0, 3)),
    ],
    ids=["progress", "context", "number", "text", "list", "set", "iterator", "total", "empty", "left early"],
)
def test_progress_is_seen(queue: TaskQueue, say: Callable[[TaskQueue], Any], expected: Progress) -> None:
    """Progress can be reported in several ways; the last report counts."""
    assert run(queue, lambda: say(queue) and None)[1] == expected


def test_track_hands_the_items_through(queue: TaskQueue) -> None:
    """`track` yields the items unchanged and reports progress on the side."""
    assert run(queue, lambda: list(track(range(3))))[0] == [0, 1, 2]


def test_the_logger_knows_the_task(queue: TaskQueue, caplog: pytest.LogCaptureFixture) -> None:
    """The records of the logger have the fields that a log aggregator asks for."""
    with caplog.at_level(logging.INFO, "pyxqueue.task"):
        run(queue, lambda: current_task().logger.info("working"), task_id="one")

    (record,) = [record for record in caplog.records if record.message == "working"]
    assert record.name == "pyxqueue.task.work"
    assert vars(record).items() >= {"task_id": "one", "task_name": "work", "attempt": 1}.items()


@pytest.mark.parametrize(("copied", "expected"), [(True, ["one"]), (False, [NotInTaskError])])
def test_threads_of_a_task(queue: TaskQueue, copied: bool, expected: list[Any]) -> None:
    """A thread that was given the context belongs to the task; another thread does not."""
    seen: list[Any] = []

    def look() -> None:
        try:
            seen.append(current_task().id)
        except NotInTaskError as error:
            seen.append(type(error))

    def work() -> None:
        target: Iterable[Any] = [contextvars.copy_context().run, look] if copied else [look]
        first, *args = target
        thread = threading.Thread(target=first, args=args)
        thread.start()
        thread.join()

    run(queue, work, task_id="one")
    assert seen == expected
