"""The command `failed`."""

from __future__ import annotations

import json
import shlex

from pyxqueue import TaskQueue

from .conftest import Command
from .jobs import fail


def test_a_failure_has_one_short_line(queue: TaskQueue, command: Command) -> None:
    """The reason is cut, because it may be long; `task` and the JSON have all of it."""
    fail(queue, "f" * 60)

    shown = command("failed").stdout

    assert f"ValueError: no {'f' * 60}" in shown


def test_failed_tasks_are_listed(queue: TaskQueue, command: Command) -> None:
    """The newest first, with their reasons."""
    fail(queue, "f1", "f2")

    rows = json.loads(command("failed", "--json").stdout)

    assert [(row["id"], row["task"], row["attempts"], row["reason"]) for row in rows] == [
        ("f2", "jobs.add", 1, "ValueError: no f2"),
        ("f1", "jobs.add", 1, "ValueError: no f1"),
    ]


def test_a_list_that_was_cut_says_so(queue: TaskQueue, command: Command) -> None:
    """The note is on stderr, so that stdout has only the table."""
    fail(queue, "f1", "f2", "f3")

    result = command("failed", "--limit", "2")

    assert [line.split()[0] for line in result.stdout.splitlines()] == ["id", "f3", "f2"]
    assert result.stderr.startswith("... and more: --after ")
    rest = command("failed", "--after", shlex.split(result.stderr)[-1])
    assert ([line.split()[0] for line in rest.stdout.splitlines()], rest.stderr) == (["id", "f1"], "")


def test_json_that_was_cut_says_so(queue: TaskQueue, command: Command) -> None:
    """The note is on stderr, so that stdout is valid JSON."""
    fail(queue, "f1", "f2")

    result = command("failed", "--json", "--limit", "1")

    assert [row["id"] for row in json.loads(result.stdout)] == ["f2"]
    assert result.stderr.startswith("... and more: --after ")
