"""The command `retry` with other arguments."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pyxqueue import TaskQueue, TaskStatus

from .conftest import Command, Write
from .jobs import enqueue, fail, states


def arguments(queue: TaskQueue, task_id: str) -> tuple[object, object]:
    details = queue.admin.task(task_id)
    return details.args, details.kwargs


def test_a_failed_task_runs_with_other_arguments(queue: TaskQueue, command: Command) -> None:
    """What is not given stays, and the old task is gone."""
    fail(queue, "f1")

    result = command("retry", "f1", "--args", "[7]", "--priority", "0")
    (new,) = queue.admin.tasks(TaskStatus.PENDING).tasks

    assert (result.exit_code, result.stdout) == (0, f"enqueued: {new.id}, instead of f1\n")
    assert arguments(queue, new.id) == ([7], {"b": 2})
    assert states(queue, "f1") == [None]


def test_a_program_reads_the_new_id(queue: TaskQueue, command: Command) -> None:
    """And what `task` and `timeline` say of it names the old one."""
    fail(queue, "f1")

    found = json.loads(
        command("retry", "f1", "--kwargs", '{"b": {"!datetime": "2024-02-29T12:00:00"}}', "--json").stdout
    )
    task, timeline = (json.loads(command(name, found["id"], "--json").stdout) for name in ("task", "timeline"))

    assert found["retry_of"] == task["retry_of"] == timeline["retry_of"] == "f1"
    assert task["kwargs"] == {"b": {"!datetime": "2024-02-29T12:00:00"}}
    assert "instead of f1, with other arguments" in command("timeline", found["id"]).stdout
    assert "retry_of f1" in " ".join(command("task", found["id"]).stdout.split())


@pytest.fixture
def module(queue: TaskQueue, write: Write, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module with the queue and two tasks."""
    monkeypatch.chdir(tmp_path)
    return write(
        f"from pyxqueue import TaskQueue\nqueue = TaskQueue({url!r}, stream_key={queue.stream_key!r})\n"
        "@queue.task(name='jobs.add')\ndef add(a, b): ...\n@queue.task(name='jobs.other')\ndef other(x): ...\n"
    )


def test_the_function_of_a_module_decides(queue: TaskQueue, command: Command, module: str) -> None:
    """What it does not take is refused; another task of the module can run instead."""
    fail(queue, "f1")

    refused = command("retry", module, "f1", "--args", "[1, 2, 3]")
    unknown = command("retry", module, "f1", "--as", "jobs.none")
    done = command("retry", module, "f1", "--as", "jobs.other", "--args", "[1]", "--kwargs", "{}")

    assert 0 not in (refused.exit_code, unknown.exit_code)
    assert done.exit_code == 0, done.output
    assert "jobs.add(a, b) does not take these arguments" in " ".join(refused.stderr.split())
    assert "no task 'jobs.none'; it has jobs.add, jobs.other" in " ".join(unknown.stderr.split())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--args", "[1"], "--args is not JSON that can be read"),
        (["--args", ""], "--args is not JSON that can be read"),
        (["--args", "[" * 100_000], "--args is not JSON that can be read"),
        (["--args", "[1e999]"], "--args"),
        (["--args", '["\\ud800"]'], "--args"),
        (["--args", '[{"!no such tag": 1}]'], "--args is not JSON that can be read"),
        (["--args", "\udcff"], "--args is not JSON that can be read"),
        (["--args", "{}"], "args= must be a list of the positional arguments, not"),
        (["--args", "null"], "--args is null: write []"),
        (["--kwargs", "[]"], "kwargs= must be a mapping of the named arguments, not"),
        (["--kwargs", '{"!dict": [[1, 2]]}'], "must be a mapping"),
        (["--kwargs", "null"], "--kwargs is null"),
        (["--as", "no name"], "is not valid"),
        (["--as", ""], "is not valid"),
        (["--priority", "500"], "must be a whole number from -100 to 100"),
    ],
)
def test_what_is_not_a_call_changes_nothing(options: list[str], said: str, queue: TaskQueue, command: Command) -> None:
    """The failed task is kept, and the error says which option it is about."""
    fail(queue, "f1")

    result = command("retry", "f1", *options)

    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())
    assert states(queue, "f1") == ["FAILURE"]
    assert queue.admin.tasks(TaskStatus.PENDING).tasks == []


def test_only_failed_tasks_that_are_there(queue: TaskQueue, command: Command) -> None:
    """Another is refused with what it is."""
    enqueue(queue, "w1")

    waiting, unknown = (command("retry", one, "--args", "[1]") for one in ("w1", "nope"))

    assert (waiting.exit_code, unknown.exit_code) == (1, 1)
    assert "task w1 was not edited: it is PENDING, not FAILURE" in waiting.stderr
    assert "no task has the id 'nope'" in unknown.stderr


@pytest.mark.parametrize(
    "others", [["f2"], ["--ended"], ["--fresh"], ["--all-failed"], ["--name", "jobs.add"]], ids=" ".join
)
def test_it_is_about_one_task(others: list[str], queue: TaskQueue, command: Command) -> None:
    """Several at once, or a choice of them, are an error."""
    fail(queue, "f1", "f2")

    result = command("retry", "--queue", queue.stream_key, "f1", "--args", "[1]", *others)

    assert result.exit_code == 2
    assert "need one ID" in " ".join(result.stderr.split())
    assert states(queue, "f1", "f2") == ["FAILURE", "FAILURE"]
