"""Workers are known with their host, and end on an order."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

import pyxqueue
from pyxqueue import TaskStatus
from pyxqueue.cli import main
from pyxqueue.client.admin import WorkerInfo
from pyxqueue.model.message import Message
from pyxqueue.options import TaskOptions
from pyxqueue.registry import Registry, TaskSpec
from pyxqueue.worker.colleagues import Colleagues
from tests.support.trees import Tree
from tests.support.until import until

from .app import OFTEN, SECOND_URL, App, Site
from .conftest import StartTree, on_every_store

in_a_file = pytest.mark.parametrize("site", ["sqlite"], indirect=True)
"""What is the same on every store, since the laws of presence hold there."""


@pytest.fixture(autouse=True)
def host(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("PYXQUEUE_HOST", "web1")
    monkeypatch.setenv(OFTEN, "1")
    return "web1"


def known(app: App) -> Sequence[WorkerInfo]:
    return [one for one in app.queue.admin.workers() if one.facts is not None]


def announced(app: App, count: int) -> Sequence[WorkerInfo]:
    until(lambda: len(known(app)) >= count, "the workers are announced")
    return known(app)


def drained(tree: Tree) -> None:
    until(lambda: "draining" in tree.log.read_text(), "the order has arrived")


@on_every_store
def test_what_is_known_of_a_worker(app: App, start_tree: StartTree, gate: Path) -> None:
    """Its host, its supervisor, its versions, what it serves, its memory, and what it runs since when."""
    tree = start_tree("-p", "1")
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
    (name,) = (name for name in facts.tasks if name.rpartition(".")[2] == "gate")
    other, same = Registry(), Registry()
    other.add(TaskSpec(name, lambda: None, TaskOptions()))
    same.add(TaskSpec(name, app["gate"].function, TaskOptions()))
    asked = [Colleagues(app.queue.stores.backend, tasks, app.queue.core.codec) for tasks in (Registry(), other, same)]
    body, serializer, _ = app.queue.core.codec.seal_call(name, "t", [str(gate)], {})
    assert [one.can_serve(Message("t", name, body, serializer)) for one in asked] == [True, True, False]


@on_every_store
def test_a_host_that_is_stopped_and_wakes_up(site: Site, app: App, start_tree: StartTree, gate: Path) -> None:
    """It is silent with what it holds and where it is, and then it is as before and ends it."""
    tree = start_tree("-p", "1", lease=10)
    announced(app, 1)
    running = app["gate"](str(gate))
    until(lambda: site.of("start"), "it runs")
    lease = app.queue.stores.backend.lease_ms()

    tree.signal_all(signal.SIGSTOP)
    until(lambda: any(one.is_silent(lease) for one in known(app)), "it is silent")

    (worker,) = known(app)
    assert (worker.host, list(worker.in_flight)) == ("web1", [running.task_id])
    tree.signal_all(signal.SIGCONT)
    until(lambda: not any(one.is_silent(lease) for one in known(app)), "it is heard of again")
    assert [one.name for one in known(app)] == [worker.name]
    gate.touch()
    assert running.get(20) == "through"


@on_every_store
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


@in_a_file
def test_a_drain_of_idle_workers(site: Site, app: App, start_tree: StartTree) -> None:
    """The command returns when they have ended; the workers of another supervisor on the host go on."""
    tree, other = start_tree("-p", "1"), start_tree("-p", "1")
    workers = announced(app, 2)
    (name,) = [one.name for one in workers if one.facts and one.facts.supervisor == tree.pid]

    words = ["--url", site.url, "--queue", site.stream, "drain", f"web1:{tree.pid}", "--wait", "--json"]
    done = CliRunner().invoke(main, words)

    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == {"workers": [name], "ended": True}
    assert tree.wait(10) == 0
    assert app["work"](0.0, 7).get(20) == 7
    assert not other.ended()


@in_a_file
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


@in_a_file
def test_a_worker_of_several_queues(site: Site, app: App, tmp_path: Path) -> None:
    """It is known in each of them with what it runs of that queue, and a stop by one of them ends it in all."""
    url, module, gate = f"sqlite:///{tmp_path}/second.db", "tests.processes.app_two", tmp_path / "gate"
    second = site.second(url).app()
    environment = {**site.environment(), SECOND_URL: url}
    words = (f"{module}:second", "-p", "1")
    with closing(second.queue), Tree(f"{module}:first", environment, tmp_path / "tree.log", *words) as tree:
        (one,), (two,) = announced(app, 1), announced(second, 1)
        running = second["gate"](str(gate))
        until(lambda: any(it.facts and it.facts.runs for it in known(second)), "the run is announced")

        assert (one.name, one.host, one.pid) == (two.name, two.host, two.pid)
        assert all(it.facts and not it.facts.runs for it in known(app)), "it is a run of the other queue"
        gate.touch()
        assert running.get(20) == "through"
        assert list(second.queue.admin.stop(one.name)) == [one.name]
        assert tree.wait(20) == 0
        assert "stopping: running tasks (0)" in tree.log.read_text()
        assert (known(app), known(second)) == ([], [])
