"""The command `timeline`."""

from __future__ import annotations

import json

from pyxqueue import TaskQueue
from pyxqueue.clock import wall_clock
from pyxqueue.model.message import Retry, Settlement
from pyxqueue.model.past import STOPPED, Attempt, line

from .conftest import Command
from .jobs import WORKER, claim, enqueue, fail


def test_a_timeline_is_drawn(queue: TaskQueue, command: Command) -> None:
    """A line for each time with a bar, and why the task failed."""
    fail(queue, "f1")
    claim(queue, "h1")
    enqueue(queue, "r1")

    failed, running = command("timeline", "f1").stdout, command("timeline", "h1").stdout

    assert failed.startswith("f1  jobs.add  FAILURE, attempt 1\n")
    assert "! ValueError: no f1" in failed
    assert "  runs " in running
    assert f"attempt 1 on {WORKER}" in running
    assert running.splitlines()[-1].endswith("  now")
    assert max(map(len, running.splitlines())) <= 80
    waits = json.loads(command("timeline", "r1", "--json").stdout)
    assert (waits["id"], waits["state"], waits["spans"][-1]["what"]) == ("r1", "PENDING", "waits")


def test_earlier_attempts_are_drawn(queue: TaskQueue, command: Command) -> None:
    """Each with its worker, its host and its error, in 80 columns and without control characters."""
    now = wall_clock()
    receipt = claim(queue, "r1").receipt
    past = line(Attempt(1, STOPPED, "the worker stopped " + "x" * 200, now, WORKER, "web1", 7_000))
    queue.stores.backend.settle([Settlement(receipt, Retry(0, past))])
    (delivery,) = queue.stores.backend.claim(WORKER, 1, 0)
    hostile = json.dumps([2, "E", "\x1b[2J", now, "w", "\x07", 5])
    queue.stores.backend.settle([Settlement(delivery.receipt, Retry(0, hostile))])

    shown = command("timeline", "r1").stdout
    spans = json.loads(command("timeline", "r1", "--json").stdout)["spans"]

    assert f"attempt 1 on {WORKER}, host web1" in shown
    assert "! WorkerStopped: the worker stopped" in shown
    assert r"! E: \x1b[2J" in shown
    assert shown.replace("\n", "").isprintable()
    assert max(map(len, shown.splitlines())) <= 80
    ran = [(one["attempt"], one["worker"], one["host"]) for one in spans if one["what"] == "ran"]
    assert ran == [(1, WORKER, "web1"), (2, "w", r"\x07")]


def test_an_unknown_task_is_an_error(queue: TaskQueue, command: Command) -> None:
    """It has no timeline."""
    enqueue(queue, "r1")

    assert command("timeline", "nope").exit_code == 1
