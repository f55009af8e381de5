"""The command `retry`."""

from __future__ import annotations

import pytest

from pyxqueue import TaskQueue

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
