"""The command `timeline`."""

from __future__ import annotations

import json

from pyxqueue import TaskQueue
from pyxqueue.cli.commands.timeline import spans_of
from pyxqueue.client.views import TaskDetails
from pyxqueue.model.message import Message, Record, TaskInfo, TaskStatus

from .conftest import Command
from .jobs import WORKER, claim, enqueue, fail


def details(queue: TaskQueue, info: TaskInfo) -> TaskDetails:
    return TaskDetails.of(info, queue.core.codec)


def test_the_life_of_a_task_has_no_gaps(queue: TaskQueue) -> None:
    """It was delayed, then waited for a worker, then ran."""
    record = Record("t1", TaskStatus.SUCCESS, worker=WORKER, ended_ms=20_000, ran_ms=5_000)
    message = Message("t1", "jobs.add", enqueued_ms=1_000, due_ms=11_000)
    ended = details(queue, TaskInfo("t1", TaskStatus.SUCCESS, message, record=record))
    running = details(queue, TaskInfo("t1", TaskStatus.STARTED, message, worker=WORKER, started_ms=15_000))
    waiting = details(queue, TaskInfo("t1", TaskStatus.PENDING, message))

    def told(task: TaskDetails, now: int) -> list[tuple[str, int, int]]:
        return [(span.what, span.start_ms, span.end_ms) for span in spans_of(task, now)]

    before = [("delayed", 1_000, 11_000), ("waited", 11_000, 15_000)]
    assert told(ended, 99_000) == [*before, ("ran", 15_000, 20_000)]
    assert told(running, 18_000) == [*before, ("runs", 15_000, 18_000)]
    assert told(waiting, 13_000) == [("delayed", 1_000, 11_000), ("waits", 11_000, 13_000)]
    assert told(waiting, 3_000) == [("delayed", 1_000, 3_000)]


def test_earlier_attempts_are_not_called_a_delay(queue: TaskQueue) -> None:
    """What came before the last attempt is one span."""
    message = Message("t1", "jobs.add", enqueued_ms=1_000, due_ms=11_000, attempt=3)

    spans = spans_of(details(queue, TaskInfo("t1", TaskStatus.RETRY, message)), 12_000)

    assert [(span.what, span.note) for span in spans] == [("before", "earlier attempts, and delays"), ("waits", "")]


def test_a_timeline_is_drawn(queue: TaskQueue, command: Command) -> None:
    """A line for each time with a bar, and why the task failed."""
    fail(queue, "f1")
    claim(queue, "h1")
    enqueue(queue, "r1")

    failed, running = command("timeline", "f1").stdout, command("timeline", "h1").stdout

    assert failed.startswith("f1  jobs.add  FAILURE, attempt 1\n")
    assert "! ValueError: no f1" in failed
    assert "  runs " in running
    assert f"attempt 1 on {WORKER}" in running
    assert running.splitlines()[-1].endswith("  now")
    assert max(map(len, running.splitlines())) <= 80
    waits = json.loads(command("timeline", "r1", "--json").stdout)
    assert (waits["id"], waits["state"], waits["spans"][-1]["what"]) == ("r1", "PENDING", "waits")


def test_an_unknown_task_is_an_error(queue: TaskQueue, command: Command) -> None:
    """It has no timeline."""
    enqueue(queue, "r1")

    assert command("timeline", "nope").exit_code == 1
