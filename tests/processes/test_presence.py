"""Workers are known with their host, and end on an order."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import pyxqueue
from pyxqueue import TaskStatus
from pyxqueue.client.admin import WorkerInfo
from pyxqueue.errors import ConfigurationError
from tests.support.trees import ROOT, Tree, alive, environment
from tests.support.until import until

from .app import App, Site
from .conftest import StartTree, on_every_store

pytestmark = on_every_store


@pytest.fixture(autouse=True)
def host(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("PYXQUEUE_HOST", "web1")
    return "web1"


def known(app: App) -> Sequence[WorkerInfo]:
    return [one for one in app.queue.admin.workers() if one.facts is not None]


def announced(app: App, count: int) -> Sequence[WorkerInfo]:
    until(lambda: len(known(app)) >= count, "the workers are announced")
    return known(app)


def pyx(site: Site, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pyxqueue", *words]
    return subprocess.run(
        command, cwd=ROOT, env=environment(site.environment()), capture_output=True, text=True, timeout=50, check=False
    )


def drained(tree: Tree) -> None:
    until(lambda: "draining" in tree.log.read_text(), "the order has arrived")


def test_what_is_known_of_a_worker(site: Site, app: App, start_tree: StartTree, gate: Path) -> None:
    """Its host, its supervisor, its versions, what it serves, its memory, and what it runs since when."""
    tree = start_tree("-p", "1")
    announced(app, 1)
    running = app["gate"](str(gate))
    until(lambda: any(one.facts and one.facts.runs for one in known(app)), "the run is announced")

    (worker,) = known(app)
    facts = worker.facts
    assert facts is not None
    assert (worker.host, facts.host, facts.supervisor, facts.pid) == ("web1", "web1", tree.pid, worker.pid)
    assert (facts.pyxqueue, facts.python) == (pyxqueue.__version__, ".".join(map(str, sys.version_info[:3])))
    assert {"gate", "short"} <= {name.rpartition(".")[2] for name in facts.tasks}
    assert (facts.slots >= 1, facts.draining, facts.lost, facts.more_tasks) == (True, False, False, 0)
    assert facts.rss is not None
    assert facts.rss > 1_000_000
    assert [run.id for run in facts.runs] == [running.task_id]
    assert facts.started_ms <= facts.runs[0].since_ms <= facts.seen_ms
    assert "web1" in pyx(site, "--url", site.url, "--queue", site.stream, "info").stdout


def test_a_drain_of_busy_workers(site: Site, app: App, start_tree: StartTree, gate: Path) -> None:
    """The running task ends although the grace period is over, nothing further starts, and the tree exits with 0."""
    tree = start_tree("-p", "2", "--grace", "0")
    workers = announced(app, 2)
    running = app["gate"](str(gate))
    until(lambda: site.of("start"), "it runs")

    ordered = app.queue.admin.drain("web1")

    assert ordered == sorted(one.name for one in workers)
    drained(tree)
    until(lambda: all(one.facts and one.facts.draining for one in known(app)), "the facts say so")
    waiting = app["short"]()
    until(lambda: len(known(app)) == 1, "the idle worker has ended")
    gate.touch()
    assert tree.wait(20) == 0
    assert running.get(1) == "through"
    assert waiting.state is TaskStatus.PENDING
    assert known(app) == []


def test_a_drain_of_idle_workers(site: Site, app: App, start_tree: StartTree) -> None:
    """The command returns when they have ended; the workers of another supervisor on the host go on."""
    tree, other = start_tree("-p", "1"), start_tree("-p", "1")
    workers = announced(app, 2)
    (name,) = [one.name for one in workers if one.facts and one.facts.supervisor == tree.pid]

    done = pyx(site, "--url", site.url, "--queue", site.stream, "drain", f"web1:{tree.pid}", "--wait", "--json")

    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {"workers": [name], "ended": True}
    assert tree.wait(10) == 0
    assert app["work"](0.0, 7).get(20) == 7
    assert not other.ended()


@pytest.mark.parametrize("again", ["drain", "stop", "signal"])
def test_the_end_of_a_drain(site: Site, app: App, start_tree: StartTree, gate: Path, again: str) -> None:
    """A second order, or a signal, during a drain gives running tasks no more than the grace period."""
    tree = start_tree("-p", "1", "--grace", "0.5")
    announced(app, 1)
    running = app["gate"](str(gate))
    until(lambda: site.of("start"), "it runs")
    app.queue.admin.drain("web1")
    drained(tree)

    if again == "signal":
        tree.signal(signal.SIGTERM)
    else:
        getattr(app.queue.admin, again)("web1")

    assert tree.wait(20) == 0
    assert running.state is TaskStatus.PENDING


def test_a_stop(app: App, start_tree: StartTree) -> None:
    """It ends the workers as SIGTERM does."""
    tree = start_tree("-p", "1")
    (worker,) = announced(app, 1)
    assert list(app.queue.admin.stop(worker.name)) == [worker.name]
    assert tree.wait(20) == 0
    assert "stopping: running tasks (0)" in tree.log.read_text()


def test_an_unknown_worker(app: App, start_tree: StartTree) -> None:
    """The error lists the workers that there are."""
    start_tree("-p", "1")
    (worker,) = announced(app, 1)
    with pytest.raises(ConfigurationError, match=f"no worker or host 'web2' here: the workers are web1:{worker.pid}"):
        app.queue.admin.drain("web2")


def test_a_killed_tree(site: Site, app: App, start_tree: StartTree, gate: Path) -> None:
    """What it held is still shown with its host; a worker that started later takes it over."""
    tree = start_tree("-p", "1", lease=60)
    announced(app, 1)
    app["gate"](str(gate))
    until(lambda: any(one.facts and one.facts.runs for one in known(app)), "the run is announced")
    tree.signal_all(signal.SIGSTOP)  # else the supervisor would release it
    tree.signal_all(signal.SIGKILL)
    until(lambda: not any(map(alive, tree.everyone())), "all are dead")

    (worker,) = known(app)
    assert (worker.host, len(worker.in_flight)) == ("web1", 1)
    assert os.getpid() != worker.pid
