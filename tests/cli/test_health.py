"""The command `health`: probes of containers."""

from __future__ import annotations

import json

import pytest

from pyxqueue import TaskQueue

from .conftest import Command
from .jobs import claim, enqueue


def test_a_queue_that_can_be_used(queue: TaskQueue, command: Command) -> None:
    """It says what it saw, for people and as JSON."""
    enqueue(queue, "r1")

    result = command("health")

    assert (result.exit_code, result.stdout.startswith("healthy: ready 1, oldest 0.")) == (0, True)
    facts = json.loads(command("health", "--json").stdout)
    assert (facts["healthy"], facts["ready"], facts["workers"], facts["faults"]) == (True, 1, 0, [])


def test_too_few_workers(queue: TaskQueue, command: Command) -> None:
    """Each one that gave a sign of life within a lease counts."""
    claim(queue, "h1")

    result = command("health", "--workers", "2")

    assert (result.exit_code, result.stderr) == (1, "1 worker alive, fewer than 2\n")
    assert command("health", "--workers", "1").exit_code == 0


def test_a_task_that_is_ready_for_too_long(queue: TaskQueue, command: Command) -> None:
    """The fault says for how long."""
    enqueue(queue, "r1")
    result = command("health", "--oldest", "0", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["faults"][0].startswith("a task has been ready for ")
    assert command("health", "--oldest", "3600").exit_code == 0


def test_a_store_that_is_down(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its exit code is not that of an unhealthy queue."""
    monkeypatch.setenv("PYXQUEUE_URL", "redis://127.0.0.1:1/0")

    assert command("health").exit_code == 3


def test_a_queue_that_does_not_exist(command: Command, queue: TaskQueue) -> None:
    """It is not created by the probe."""
    assert command("health").exit_code == 1
    assert list(queue.admin.groups()) == []
