"""`failed`, `retry`, `cancel`, `delete`, `purge`, `groups`, `remove-group`."""

from __future__ import annotations

import json

import pytest
from redis import Redis

from pyxqueue import TaskQueue

from .conftest import Command
from .jobs import claim, enqueue, fail, states, succeed


def test_failed_tasks_are_listed(queue: TaskQueue, command: Command) -> None:
    """The newest first, with the reason."""
    fail(queue, "f1", "f2")

    rows = json.loads(command("failed", "--json").stdout)

    assert [(row["id"], row["task"], row["attempts"], row["reason"]) for row in rows] == [
        ("f2", "jobs.add", 1, "ValueError: no f2"),
        ("f1", "jobs.add", 1, "ValueError: no f1"),
    ]


def test_a_list_that_was_cut_says_so(queue: TaskQueue, command: Command) -> None:
    """Beside the table, so that the table stays one."""
    fail(queue, "f1", "f2", "f3")

    result = command("failed", "--limit", "2")

    assert [line.split()[0] for line in result.stdout.splitlines()] == ["id", "f3", "f2"]
    assert "these are the newest 2" in result.stderr


def test_failed_tasks_are_retried_by_id(queue: TaskQueue, command: Command) -> None:
    """The others stay where they are."""
    fail(queue, "f1", "f2")

    result = command("retry", "f1")

    assert (result.exit_code, result.stdout) == (0, "retried: 1\n")
    assert states(queue, "f1", "f2") == ["PENDING", "FAILURE"]


def test_all_failed_tasks_are_retried(queue: TaskQueue, command: Command) -> None:
    """And nothing that succeeded."""
    fail(queue, "f1", "f2")
    succeed(queue, "s1")

    assert command("retry", "--all-failed").stdout == "retried: 2\n"
    assert states(queue, "f1", "f2", "s1") == ["PENDING", "PENDING", "SUCCESS"]


def test_what_has_not_failed_is_not_retried(queue: TaskQueue, command: Command) -> None:
    """A task that succeeded would run twice; what can be retried is, and the exit code tells that not all was."""
    fail(queue, "f1")
    succeed(queue, "s1")

    result = command("retry", "s1", "f1", "nope")

    assert (result.exit_code, result.stdout) == (1, "retried: 1\n")
    assert "task s1 has not failed: it is SUCCESS\nno task has the id 'nope'" in result.stderr
    assert states(queue, "f1", "s1") == ["PENDING", "SUCCESS"]


@pytest.mark.parametrize("args", [["retry"], ["retry", "a", "--all-failed"]])
def test_ids_or_all_has_to_be_said(args: list[str], command: Command) -> None:
    """Neither and both are mistakes."""
    result = command(*args)

    assert result.exit_code == 2
    assert "either IDs, or --all-failed" in result.stderr


def test_ended_tasks_are_run_again_where_that_is_said(queue: TaskQueue, command: Command) -> None:
    """A task that succeeded runs twice then, and one that was cancelled after all."""
    succeed(queue, "s1")
    enqueue(queue, "c1")
    command("cancel", "c1")

    assert command("retry", "s1", "c1", "--ended").stdout == "retried: 2\n"
    assert states(queue, "s1", "c1") == ["PENDING", "PENDING"]


def test_tasks_are_deleted(queue: TaskQueue, command: Command) -> None:
    """One by its id, then all that failed, and nothing else."""
    fail(queue, "f1", "f2", "f3")
    succeed(queue, "s1")

    assert command("delete", "f2", "--yes").stdout == "deleted: 1\n"
    assert states(queue, "f1", "f2", "f3", "s1") == ["FAILURE", None, "FAILURE", "SUCCESS"]
    assert command("purge", "--failed", "--yes").stdout == "deleted: 2\n"
    assert states(queue, "f1", "f3", "s1") == [None, None, "SUCCESS"]


@pytest.mark.parametrize("args", [["purge", "--failed"], ["delete", "f1"], ["purge", "--all"], ["remove-group", "cg"]])
def test_what_deletes_asks_first(args: list[str], queue: TaskQueue, command: Command) -> None:
    """A no changes nothing, and is no success."""
    fail(queue, "f1")

    result = command(*args, answer="n\n")

    assert (result.exit_code, states(queue, "f1")) == (1, ["FAILURE"])


def test_what_a_worker_has_is_not_deleted(queue: TaskQueue, command: Command) -> None:
    """The rest is, and the exit code tells that not all was."""
    claim(queue, "h1")
    enqueue(queue, "r1")

    result = command("delete", "h1", "r1", "nope", "--yes")

    assert (result.exit_code, result.stdout) == (1, "deleted: 1\n")
    assert "task h1 was not deleted: it is STARTED; cancel it first\nno task has the id 'nope'" in result.stderr
    assert states(queue, "h1", "r1") == ["STARTED", None]


def test_a_yes_will_do(queue: TaskQueue, command: Command) -> None:
    """The question names what would go."""
    fail(queue, "f1")

    result = command("purge", "--failed", answer="y\n")

    assert f"Of {queue.stream_key}, group cg, delete 1 failed?" in result.stdout
    assert states(queue, "f1") == [None]


def test_waiting_and_running_tasks_are_cancelled(queue: TaskQueue, command: Command) -> None:
    """A waiting one ends at once; for a running one its worker sees to it. One that has ended is refused."""
    succeed(queue, "s1")
    claim(queue, "h1")
    enqueue(queue, "r1")

    result = command("cancel", "r1", "h1", "s1", "nope")

    assert (result.exit_code, result.stdout) == (1, "cancelled: 2\n")
    assert "task s1 has ended: SUCCESS\nno task has the id 'nope'" in result.stderr
    assert states(queue, "r1", "h1") == ["CANCELLED", "STARTED"]


def test_cancelling_keeps_the_history_of_the_app(queue: TaskQueue, command: Command, url: str) -> None:
    """The command does not know the app's limit, so it must not cut the history down to a default of its own."""
    enqueue(queue, "r1")
    history = f"{{{queue.stream_key}}}:cg:history"
    with Redis.from_url(url) as client:
        with client.pipeline(transaction=False) as pipe:
            for _ in range(11_000):
                pipe.xadd(history, {"id": "x"})
            pipe.execute()

        command("cancel", "r1")

        assert client.xlen(history) == 11_001


@pytest.mark.parametrize(
    ("flags", "left"),
    [
        ([], ["FAILURE", "SUCCESS", "STARTED", None, None]),
        (["--waiting"], ["FAILURE", "SUCCESS", "STARTED", None, None]),
        (["--failed"], [None, "SUCCESS", "STARTED", "PENDING", "PENDING"]),
        (["--history"], ["FAILURE", None, "STARTED", "PENDING", "PENDING"]),
        (["--failed", "--waiting"], [None, "SUCCESS", "STARTED", None, None]),
        (["--all"], [None, None, "STARTED", None, None]),
    ],
)
def test_purge_deletes_what_is_said(
    flags: list[str], left: list[str | None], queue: TaskQueue, command: Command
) -> None:
    """The waiting tasks unless something else is said; what a worker holds always stays."""
    fail(queue, "f1")
    succeed(queue, "s1")
    claim(queue, "h1")
    enqueue(queue, "r1")
    enqueue(queue, "d1", delay=3600)

    result = command("purge", "--yes", *flags)

    assert states(queue, "f1", "s1", "h1", "r1", "d1") == left
    assert result.stdout == f"deleted: {left.count(None)}\n"


def test_purge_goes_through_all_pages(queue: TaskQueue, command: Command) -> None:
    """More tasks than one page has."""
    enqueue(queue, *(f"r{number}" for number in range(300)))

    assert command("purge", "--yes").stdout == "deleted: 300\n"
    assert queue.stores.backend.depth().ready == 0


def test_groups_are_listed_and_removed(queue: TaskQueue, url: str, command: Command) -> None:
    """Removing one leaves the others, and makes none."""
    other = TaskQueue(url, stream_key=queue.stream_key, consumer_group="eu")
    other.stores.backend.promote(1)
    other.close()
    enqueue(queue, "r1")

    assert command("groups").stdout == "cg\neu\n"
    assert command("remove-group", "eu", "--yes", "--group", "typo").stdout == "group eu removed\n"
    assert json.loads(command("groups", "--json").stdout) == ["cg"]
    assert states(queue, "r1") == ["PENDING"]


def test_a_group_that_is_not_there_is_not_removed(queue: TaskQueue, command: Command) -> None:
    """The error lists those that are."""
    enqueue(queue, "r1")

    result = command("remove-group", "eu", "--yes")

    assert result.exit_code == 1
    assert "has no group 'eu', only cg" in result.stderr
