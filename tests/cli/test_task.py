"""The command `task`."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from pyxqueue import TaskQueue
from pyxqueue.model.locks import LockKind, lock_text
from pyxqueue.model.message import Extension, Message, Progress, Retry, Settlement
from pyxqueue.model.past import Attempt, line

from .conftest import Command
from .jobs import WORKER, claim, enqueue, fail, succeed


def test_task_shows_everything_about_a_task(queue: TaskQueue, command: Command) -> None:
    """The call, the state, the worker and the result."""
    succeed(queue, "s1")

    facts = json.loads(command("task", "s1", "--json").stdout)

    expected = {"id": "s1", "task": "jobs.add", "state": "SUCCESS", "args": [1], "kwargs": {"b": 2}, "result": 3}
    assert {name: facts[name] for name in expected} == expected
    assert facts["worker"] == WORKER


def test_task_shows_why_it_failed(queue: TaskQueue, command: Command) -> None:
    """It prints the worker's traceback as text."""
    fail(queue, "f1")

    shown = command("task", "f1").stdout

    assert "ValueError: no f1" in shown
    assert shown.endswith("\n\n  Traceback: in jobs.py\n")


def test_an_unknown_task_is_an_error(queue: TaskQueue, command: Command) -> None:
    """The error says that the task may have expired."""
    enqueue(queue, "r1")

    result = command("task", "r2")

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: no task has the id 'r2'")


def test_a_task_that_is_due_at_the_end_of_time(queue: TaskQueue, command: Command) -> None:
    """Its time is after the last year that `datetime` has."""
    handle = queue.task(name="jobs.late")(lambda: None).with_options(eta=datetime.max.replace(tzinfo=UTC))()

    shown = command("task", handle.task_id)

    assert shown.exit_code == 0
    assert "after the year 9999" in shown.stdout
    assert json.loads(command("task", handle.task_id, "--json").stdout)["due"] == "after the year 9999"


def test_task_shows_the_lock(queue: TaskQueue, command: Command) -> None:
    """The kind of the lock of a unique task, and its name; a plain task has none."""
    enqueue(queue, "r1")
    text = lock_text(LockKind.FINISHED, b"one")
    queue.stores.backend.enqueue([Message("r2", "jobs.add", lock=text)])

    assert json.loads(command("task", "r1", "--json").stdout)["lock"] is None
    assert json.loads(command("task", "r2", "--json").stdout)["lock"] == f"finished {text[1:]}"
    assert f"lock          until it has finished, {text[1:]}\n" in command("task", "r2").stdout


def test_no_task_is_updated_before_it_began(queue: TaskQueue, command: Command) -> None:
    """The store rounds the times of a task in different directions, and notes no change when it starts."""
    claim(queue, "h1")
    enqueue(queue, "r1")
    for one in ("r1", "h1"):
        facts = json.loads(command("task", one, "--json").stdout)
        assert facts["updated"] >= max(facts["enqueued"], facts["started"] or "")


def test_task_is_short_for_people(queue: TaskQueue, command: Command) -> None:
    """Progress is a bar, a failure stands there once, and what is 0 is left out; the JSON has all of it."""
    fail(queue, "f1")
    delivery = claim(queue, "h1")
    queue.stores.backend.extend([Extension(delivery.receipt, Progress(1, 2))])

    failed, running = command("task", "f1").stdout, command("task", "h1").stdout

    assert failed.count("ValueError: no f1") == 1
    assert "█████░░░░░  50%" in running
    assert "crashes" not in running
    assert "priority" not in running
    assert json.loads(command("task", "h1", "--json").stdout)["crashes"] == 0


def test_task_shows_earlier_attempts(queue: TaskQueue, command: Command) -> None:
    """When each ended, how long it ran, with what, and where."""
    receipt = claim(queue, "r1").receipt
    past = line(Attempt(1, "ValueError", "no r1", 1_000, WORKER, "web1", 7_500))
    queue.stores.backend.settle([Settlement(receipt, Retry(0, past))])

    shown = command("task", "r1").stdout
    (attempt,) = json.loads(command("task", "r1", "--json").stdout)["attempts"]

    assert "ValueError: no r1" in shown
    assert shown.splitlines()[-1].endswith("  web1")
    assert (attempt["attempt"], attempt["ran"], attempt["host"], attempt["worker"]) == (1, 7.5, "web1", WORKER)
    assert attempt["when"] == "1970-01-01T00:00:01.000+00:00"
