"""What earlier attempts of a task say, read from outside: how each run ended that did not end its task, and where."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest

from pyxqueue import TaskError, TaskStatus
from pyxqueue.model.past import LOST, STOPPED, Attempt
from tests.support.until import until

from .app import App, Site
from .conftest import StartTree, kill_host, on_every_store

pytestmark = on_every_store


@pytest.fixture(autouse=True)
def _host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYXQUEUE_HOST", "web1")


def attempts(app: App, task_id: str) -> list[Attempt]:
    return list(app.queue.admin.task(task_id).attempts)


def only(app: App, task_id: str) -> Attempt:
    """Its only earlier attempt, which says when and where."""
    (found,) = until(lambda: attempts(app, task_id), "it has an earlier attempt")
    assert found.attempt == 1
    assert found.host == "web1"
    details = app.queue.admin.task(task_id)
    assert details.info.readable is not None
    assert found.when_ms >= found.when_ms - found.ran_ms >= details.info.readable.enqueued_ms - 5
    return found


def test_a_child_that_is_killed(site: Site, app: App, start_tree: StartTree, gate: Path) -> None:
    """Its line names the signal and the worker, also when the task has succeeded."""
    start_tree("-p", "1", lease=30)
    handle = app["gate"](str(gate))
    pid = until(lambda: site.of("start"), "it runs")[0].pid

    os.kill(pid, signal.SIGKILL)

    found = only(app, handle.task_id)
    assert found.type == LOST
    assert re.fullmatch(
        r"the process was ended by SIGKILL \(out of memory\?\); it used \d+ MiB of memory at the most", found.text
    )
    assert f"-{pid}-" in found.worker
    assert found.ran_ms > 0
    gate.touch()
    assert handle.get(20) == "through"
    assert attempts(app, handle.task_id) == [found]


def test_a_task_that_kills_its_process(app: App, start_tree: StartTree) -> None:
    """Each crash is a line, the failure repeats the last one, and a retry by hand removes them."""
    tree = start_tree("-p", "1", lease=30)
    poison = app["die"]("kill")

    with pytest.raises(TaskError, match=r"WorkerLost: its worker process died 2 times .*SIGKILL.* on host web1\)"):
        poison.get(20)

    found = attempts(app, poison.task_id)
    assert [(one.attempt, one.type, one.host) for one in found] == [(1, LOST, "web1")] * 2
    assert found[0].worker != found[1].worker
    tree.stop()
    app.queue.admin.retry([poison.task_id])
    assert attempts(app, poison.task_id) == []


def test_a_tree_that_is_killed(site: Site, app: App, start_tree: StartTree, gate: Path) -> None:
    """The line of what it held has the host that it had announced."""
    tree = start_tree("-p", "1")
    handle = app["gate"](str(gate))
    pid = until(lambda: site.of("start"), "it runs")[0].pid
    until(lambda: any(one.facts for one in app.queue.admin.workers()), "the worker is announced")
    kill_host(tree, site)

    start_tree("-p", "1")

    found = only(app, handle.task_id)
    assert (found.type, found.text) == (LOST, "no sign of life until its lease ended")
    assert f"-{pid}-" in found.worker


def test_the_end_of_the_grace_period(site: Site, app: App, start_tree: StartTree, gate: Path) -> None:
    """What is cut off then is not charged, and its line says so."""
    tree = start_tree("-p", "1", "--grace", "0.2", lease=30)
    handle = app["gate"](str(gate))
    until(lambda: site.of("start"), "it runs")

    assert tree.stop() == 0

    found = only(app, handle.task_id)
    assert (found.type, found.text) == (STOPPED, "the worker stopped, and its grace period was over")
    assert found.ran_ms > 0
    (info,) = app.queue.stores.backend.show([handle.task_id])
    assert info is not None
    assert info.readable is not None
    assert (info.readable.attempt, info.readable.crashes, info.readable.redelivered) == (1, 0, False)


def test_a_hard_limit(site: Site, app: App, start_tree: StartTree, gate: Path) -> None:
    """The task beyond it has a line with the limit, and the task beside it one that names the other."""
    start_tree("-p", "1", "-t", "4", lease=30)
    bystander = app["gate"](str(gate))
    until(lambda: site.of("start"), "the bystander runs")

    late = app["hog"](60)

    found = only(app, bystander.task_id)
    text = f"the process was killed because task {late.task_id} ran beyond its hard time limit"
    assert (found.type, found.text) == (STOPPED, text)
    found = only(app, late.task_id)
    assert found.type == "pyxqueue.errors.TimeLimitExceeded"
    assert found.ran_ms >= 1_200
    gate.touch()
    with pytest.raises(TaskError, match="beyond its hard time limit"):
        late.get(20)
    assert len(attempts(app, late.task_id)) == 1  # the second one is in the record


def test_a_neighbour_that_is_cancelled_by_force(site: Site, app: App, start_tree: StartTree, gate: Path) -> None:
    """The task beside it has a line that names it; the cancelled one has ended, and has none."""
    start_tree("-p", "1", "-t", "4", lease=30)
    bystander, cancelled = app["gate"](str(gate)), app["stubborn"]()
    until(lambda: len(site.of("start")) == 2, "both run")

    cancelled.cancel(force=True)

    found = only(app, bystander.task_id)
    text = f"the process was killed because task {cancelled.task_id} was cancelled by force"
    assert (found.type, found.text) == (STOPPED, text)
    until(lambda: cancelled.state is TaskStatus.CANCELLED, "it has ended")
    assert attempts(app, cancelled.task_id) == []
    gate.touch()
    assert bystander.get(20) == "through"
