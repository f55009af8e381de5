"""The command `retry`."""

from __future__ import annotations

import json

import pytest

from pyxqueue import TaskQueue
from pyxqueue.cli import filters

from .conftest import Command
from .jobs import enqueue, fail, states, succeed


def test_failed_tasks_are_retried_by_id(queue: TaskQueue, command: Command) -> None:
    """The other failed tasks stay failed."""
    fail(queue, "f1", "f2")

    result = command("retry", "f1")

    assert (result.exit_code, result.stdout) == (0, "retried: 1\n")
    assert states(queue, "f1", "f2") == ["PENDING", "FAILURE"]


def test_all_failed_tasks_are_retried(queue: TaskQueue, command: Command) -> None:
    """Tasks that succeeded are not."""
    fail(queue, "f1", "f2")
    succeed(queue, "s1")

    assert command("retry", "--all-failed").stdout == "retried: 2\n"
    assert states(queue, "f1", "f2", "s1") == ["PENDING", "PENDING", "SUCCESS"]


def test_tasks_that_have_not_failed_are_refused(queue: TaskQueue, command: Command) -> None:
    """The failed tasks are retried all the same, and the exit code says that some were refused."""
    fail(queue, "f1")
    succeed(queue, "s1")

    result = command("retry", "s1", "f1", "nope")

    assert (result.exit_code, result.stdout) == (1, "retried: 1\n")
    assert "task s1 was not retried: it is SUCCESS, not FAILURE\nno task has the id 'nope'" in result.stderr
    assert states(queue, "f1", "s1") == ["PENDING", "SUCCESS"]


@pytest.mark.parametrize("args", [["retry"], ["retry", "a", "--all-failed"]])
def test_either_ids_or_all_failed_must_be_given(args: list[str], command: Command) -> None:
    """Neither and both are errors."""
    result = command(*args)

    assert result.exit_code == 2
    assert "give either IDs or --all-failed" in result.stderr


def test_ended_tasks_are_retried_with_an_option(queue: TaskQueue, command: Command) -> None:
    """Tasks that succeeded and tasks that were cancelled run again."""
    succeed(queue, "s1")
    enqueue(queue, "c1")
    command("cancel", "c1")

    assert command("retry", "s1", "c1", "--ended").stdout == "retried: 2\n"
    assert states(queue, "s1", "c1") == ["PENDING", "PENDING"]


def test_failed_tasks_of_one_kind_are_retried(queue: TaskQueue, command: Command) -> None:
    """It says how many fit and asks; the others stay failed."""
    fail(queue, "f1", "f2", error="TypeError")
    fail(queue, "f3")

    refused = command("retry", "--error", "TypeError", answer="n\n")
    before = states(queue, "f1", "f2", "f3")
    result = command("retry", "--name", "jobs.*", "--error", "TypeError", answer="y\n")

    assert (refused.exit_code, before) == (1, ["FAILURE"] * 3)
    assert "retry 2 failed tasks? [y/N]: " in result.stdout
    assert result.stdout.endswith("retried: 2\n")
    assert states(queue, "f1", "f2", "f3") == ["PENDING", "PENDING", "FAILURE"]


def test_one_call_retries_a_thousand(queue: TaskQueue, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says how many are left for the next call."""
    monkeypatch.setattr(filters, "BULK", 2)
    fail(queue, "f1", "f2", "f3", "f4", "f5")

    first = json.loads(command("retry", "--older", "0s", "--yes", "--json").stdout)
    second = command("retry", "--older", "0s", "--yes").stdout

    assert first == {"done": 2, "left": 3, "counted_all": True}
    assert second.startswith("retried: 2\nleft: 1; ")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--older", "soon"], "'soon' is not an age such as 30s, 10m, 1h or 2d"),
        (["f1", "--name", "jobs.add"], "not both; 'f1' is not a module"),
        (["--all-failed", "--name", "jobs.add"], "not both"),
        (["--ended", "--name", "jobs.add"], "--ended needs IDs"),
    ],
)
def test_options_that_contradict_are_refused(args: list[str], said: str, command: Command) -> None:
    """Nothing is retried, and the message says what to do."""
    result = command("retry", *args)

    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())


def test_what_fits_nothing_is_not_asked(queue: TaskQueue, command: Command) -> None:
    """There is nothing to confirm."""
    fail(queue, "f1")

    assert command("retry", "--name", "other").stdout == "retried: 0\n"
