"""The command `delete`, and the question before anything is deleted."""

from __future__ import annotations

import pytest

from pyxqueue import TaskQueue

from .conftest import Command
from .jobs import claim, enqueue, fail, states, succeed


def test_tasks_are_deleted(queue: TaskQueue, command: Command) -> None:
    """One by its id, then all that failed, and no others."""
    fail(queue, "f1", "f2", "f3")
    succeed(queue, "s1")

    assert command("delete", "f2", "--yes").stdout == "deleted: 1\n"
    assert states(queue, "f1", "f2", "f3", "s1") == ["FAILURE", None, "FAILURE", "SUCCESS"]
    assert command("purge", "--failed", "--yes").stdout == "deleted: 2\n"
    assert states(queue, "f1", "f3", "s1") == [None, None, "SUCCESS"]


@pytest.mark.parametrize("args", [["purge", "--failed"], ["delete", "f1"], ["purge", "--all"], ["remove-group", "cg"]])
def test_commands_that_delete_ask_first(args: list[str], queue: TaskQueue, command: Command) -> None:
    """The answer no changes nothing, and the exit code is not 0."""
    fail(queue, "f1")

    result = command(*args, answer="n\n")

    assert (result.exit_code, states(queue, "f1")) == (1, ["FAILURE"])


def test_tasks_in_flight_are_not_deleted(queue: TaskQueue, command: Command) -> None:
    """The others are, and the exit code says that some were refused."""
    claim(queue, "h1")
    enqueue(queue, "r1")

    result = command("delete", "h1", "r1", "nope", "--yes")

    assert (result.exit_code, result.stdout) == (1, "deleted: 1\n")
    assert "task h1 was not deleted: it is STARTED; cancel it first\nno task has the id 'nope'" in result.stderr
    assert states(queue, "h1", "r1") == ["STARTED", None]


def test_the_answer_yes_deletes(queue: TaskQueue, command: Command) -> None:
    """The question says what will be deleted."""
    fail(queue, "f1")

    result = command("purge", "--failed", answer="y\n")

    assert f"Of {queue.stream_key}, group cg, delete 1 failed?" in result.stdout
    assert states(queue, "f1") == [None]


def test_tasks_of_a_place_are_deleted(queue: TaskQueue, command: Command) -> None:
    """Those that fit the options; ids beside a place are refused."""
    fail(queue, "f1", error="TypeError")
    fail(queue, "f2")

    assert command("delete", "f1", "--place", "failed").exit_code == 2
    assert command("delete", "--place", "failed", "--error", "TypeError", "--yes").stdout == "deleted: 1\n"
    assert states(queue, "f1", "f2") == [None, "FAILURE"]
