"""The command `purge`."""

from __future__ import annotations

import json

import pytest

from pyxqueue import TaskQueue

from .conftest import Command
from .jobs import claim, enqueue, fail, states, succeed


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
def test_purge_deletes_the_chosen_places(
    flags: list[str], left: list[str | None], queue: TaskQueue, command: Command
) -> None:
    """The waiting tasks by default; tasks in flight always stay."""
    fail(queue, "f1")
    succeed(queue, "s1")
    claim(queue, "h1")
    enqueue(queue, "r1")
    enqueue(queue, "d1", delay=3600)

    result = command("purge", "--yes", *flags)

    assert states(queue, "f1", "s1", "h1", "r1", "d1") == left
    assert result.stdout == f"deleted: {left.count(None)}\n"


def test_purge_goes_through_all_pages(queue: TaskQueue, command: Command) -> None:
    """There are more tasks than one page has."""
    enqueue(queue, *(f"r{number}" for number in range(300)))

    assert command("purge", "--yes").stdout == "deleted: 300\n"
    assert queue.stores.backend.depth().ready == 0


def test_purge_asks_about_all_that_wait(queue: TaskQueue, command: Command) -> None:
    """Also about tasks that wait for others of their flow."""
    task = queue.task(name="link")(abs)
    with queue.flow() as flow:
        flow.add(task, flow.add(task, 1))

    assert "delete 2 waiting?" in command("purge", answer="n\n").stdout


def test_purge_as_json(queue: TaskQueue, command: Command) -> None:
    """The question is on stderr, so that stdout is JSON."""
    fail(queue, "f1", "f2")

    result = command("purge", "--failed", "--json", answer="y\n")

    assert json.loads(result.stdout) == {"done": 2}
    assert "delete 2 failed? [y/N]" in result.stderr
