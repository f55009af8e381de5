"""The command `failed`."""

from __future__ import annotations

import json
import shlex

from pyxqueue import TaskQueue

from .conftest import Command
from .jobs import fail


def ids(shown: str) -> list[str]:
    """The ids in a list: each has a line of its own below the reason."""
    return [line.split()[0] for line in shown.splitlines()[1::2]]


def test_a_failure_has_two_short_lines(queue: TaskQueue, command: Command) -> None:
    """The reason is cut, because it may be long; `task` and the JSON have all of it. The id is whole."""
    fail(queue, "f" * 64)

    reason, task_id = command("failed").stdout.splitlines()

    assert "ago  jobs.add  ValueError: no fff" in reason
    assert len(reason) == 80
    assert task_id.split() == ["f" * 64]


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

    assert ids(result.stdout) == ["f3", "f2"]
    assert result.stderr.startswith("... and more: --after ")
    rest = command("failed", "--after", shlex.split(result.stderr)[-1])
    assert (ids(rest.stdout), rest.stderr) == (["f1"], "")


def test_json_that_was_cut_says_so(queue: TaskQueue, command: Command) -> None:
    """The note is on stderr, so that stdout is valid JSON."""
    fail(queue, "f1", "f2")

    result = command("failed", "--json", "--limit", "1")

    assert [row["id"] for row in json.loads(result.stdout)] == ["f2"]
    assert result.stderr.startswith("... and more: --after ")


def test_failures_are_counted_by_kind(queue: TaskQueue, command: Command) -> None:
    """By task and type of error, each with an example, and with the command that retries the largest group."""
    fail(queue, "f1", "f2", error="TypeError")
    fail(queue, "f3")

    shown = command("failed", "--by", "kind").stdout.splitlines()
    groups = json.loads(command("failed", "--by", "kind", "--json").stdout)["groups"]

    assert shown[1].split()[:4] == ["2", "jobs.add", "TypeError:", "no"]
    assert shown[2].endswith("such as f2")
    assert shown[3].split()[:3] == ["1", "jobs.add", "ValueError:"]
    assert shown[-1] == "pyxqueue retry --name jobs.add --error TypeError"
    assert [(one["name"], one["error"], one["count"]) for one in groups] == [
        ("jobs.add", "TypeError", 2),
        ("jobs.add", "ValueError", 1),
    ]


def test_failures_of_one_kind_are_listed(queue: TaskQueue, command: Command) -> None:
    """The options choose among the failed tasks."""
    fail(queue, "f1", error="TypeError")
    fail(queue, "f2")

    assert ids(command("failed", "--error", "TypeError").stdout) == ["f1"]
    assert ids(command("failed", "--text", "NO F2", "--newer", "1h").stdout) == ["f2"]
    assert command("failed", "--name", "other.*").stdout == "no failed task fits\n"
