"""The command `cancel`."""

from __future__ import annotations

from redis import Redis

from pyxqueue import TaskQueue

from .conftest import Command
from .jobs import claim, enqueue, states, succeed


def test_waiting_and_running_tasks_are_cancelled(queue: TaskQueue, command: Command) -> None:
    """A waiting task ends at once; the worker of a running one gets the request. An ended task is refused."""
    succeed(queue, "s1")
    claim(queue, "h1")
    enqueue(queue, "r1")

    result = command("cancel", "r1", "h1", "s1", "nope")

    assert (result.exit_code, result.stdout) == (1, "cancelled: 2\n")
    assert "task s1 was not cancelled: it has ended with SUCCESS\nno task has the id 'nope'" in result.stderr
    assert states(queue, "r1", "h1") == ["CANCELLED", "STARTED"]


def test_cancelling_keeps_the_history_of_the_app(queue: TaskQueue, command: Command, url: str) -> None:
    """The command does not know the app's limit, and must not cut the history to its own default."""
    enqueue(queue, "r1")
    history = f"{{{queue.stream_key}}}:cg:history"
    with Redis.from_url(url) as client:
        with client.pipeline(transaction=False) as pipe:
            for _ in range(11_000):
                pipe.xadd(history, {"id": "x"})
            pipe.execute()

        command("cancel", "r1")

        assert client.xlen(history) == 11_001


def test_tasks_of_a_place_are_cancelled(queue: TaskQueue, command: Command) -> None:
    """Those that fit the options, after a question; others stay."""
    enqueue(queue, "r1", "r2")
    enqueue(queue, "d1", delay=3600)

    result = command("cancel", "--place", "ready", "--name", "jobs.*", answer="y\n")

    assert "cancel 2 ready tasks? [y/N]: " in result.stdout
    assert states(queue, "r1", "r2", "d1") == ["CANCELLED", "CANCELLED", "PENDING"]


def test_options_without_a_place_are_refused(command: Command) -> None:
    """Otherwise a forgotten option would cancel tasks that are not meant."""
    result = command("cancel", "--name", "jobs.*")

    assert result.exit_code == 2
    assert "--place is missing" in result.stderr
