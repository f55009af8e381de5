"""The commands `groups` and `remove-group`."""

from __future__ import annotations

import json

from pyxqueue import TaskQueue

from .conftest import Command
from .jobs import enqueue, states


def test_groups_are_listed_and_removed(queue: TaskQueue, url: str, command: Command) -> None:
    """Removing one leaves the others, and creates none."""
    other = TaskQueue(url, stream_key=queue.stream_key, consumer_group="eu")
    other.stores.backend.maintain(1)
    other.close()
    enqueue(queue, "r1")

    assert command("groups").stdout == "cg\neu\n"
    assert command("remove-group", "eu", "--yes", "--group", "typo").stdout == "group eu removed\n"
    assert json.loads(command("groups", "--json").stdout) == ["cg"]
    assert states(queue, "r1") == ["PENDING"]


def test_removing_an_unknown_group_is_an_error(queue: TaskQueue, command: Command) -> None:
    """The error lists the groups of the queue."""
    enqueue(queue, "r1")

    result = command("remove-group", "eu", "--yes")

    assert result.exit_code == 1
    assert "does not have a group 'eu'; its groups: cg" in result.stderr


def test_remove_group_as_json(queue: TaskQueue, command: Command) -> None:
    """It names what was removed."""
    enqueue(queue, "r1")

    assert json.loads(command("remove-group", "cg", "--yes", "--json").stdout) == {"removed": "cg"}
