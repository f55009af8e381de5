"""Plugins and resources in worker processes, forked ones and those that import the program again."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from pyxqueue import TaskQueue
from tests.conftest import Servers
from tests.support.trees import Tree, run_program
from tests.support.until import until

from .plugged import Plugged

MODULE = "tests.processes.plugged"
StartPlugged: TypeAlias = Callable[..., tuple[Plugged, Tree, Callable[..., Any]]]


@pytest.fixture
def start(request: pytest.FixtureRequest, tmp_path: Path, servers: Servers, stream_key: str) -> Iterator[StartPlugged]:
    """Start workers of the module `plugged`, on a file unless the test says "redis"; the task is for calls."""
    on_redis = getattr(request, "param", "") == "redis"
    url = servers("valkey").url if on_redis else f"sqlite:///{tmp_path}/queue.db"
    with ExitStack() as stack:

        def run(*options: str, **how: bool) -> tuple[Plugged, Tree, Callable[..., Any]]:
            plugged = Plugged(url, stream_key, str(tmp_path / "log"), **how)
            queue = TaskQueue(plugged.url, stream_key=plugged.stream)
            stack.callback(queue.close)

            @queue.task(name="use")
            def use(path: str = "") -> None: ...

            log = tmp_path / "tree.log"
            return plugged, stack.enter_context(Tree(MODULE, plugged.environment(), log, *options)), use

        yield run


@pytest.mark.parametrize("start", ["sqlite", "redis"], indirect=True)
@pytest.mark.parametrize("threads", [False, True], ids=["forked", "imported"])
def test_a_process_begins_and_ends(start: StartPlugged, threads: bool) -> None:
    """The plugins are told before the first task and after the last one; a resource is opened by the first task that
    uses it, and closed before the plugins stop."""
    plugged, tree, use = start("-p", "2", threads=threads)
    until(lambda: len(plugged.said("started")) == 2, "both have started")
    use.map([()] * 20)  # type: ignore[attr-defined] # a task
    until(lambda: len(plugged.said("used")) == 20, "all have run")

    assert tree.stop() == 0

    pids = {line[1] for line in plugged.said("started")}
    users = {line[1] for line in plugged.said("used")}
    assert len(pids) == 2
    assert users <= pids
    for pid in pids:
        mine = [line[0] for line in plugged.lines() if line[1] == pid and line[0] != "used"]
        assert mine == ["started", *(["opened", "closed"] if pid in users else []), "stopping"]
    assert {line[2] for line in plugged.said("stopping")} == {"True"}


def test_the_end_of_the_grace_period(start: StartPlugged, tmp_path: Path) -> None:
    """A task that does not end keeps no plugin from stopping before its process is killed; its resource stays open."""
    plugged, tree, use = start("-p", "1", "--grace", "4")
    use(str(tmp_path / "never"))
    until(lambda: plugged.said("used"), "it runs")

    assert tree.stop() == 0

    ((_, pid, _),) = plugged.said("stopping")
    assert plugged.said("used", pid)
    assert plugged.said("closed") == []
    assert "the grace period is over" in tree.log.read_text()


def test_what_hangs_at_the_end(start: StartPlugged) -> None:
    """It keeps neither the other plugins from stopping, nor the process from ending by itself."""
    plugged, tree, use = start("-p", "1", "--grace", "60", hangs=True)
    use()
    until(lambda: plugged.said("used"), "it runs")

    assert tree.stop() == 0

    assert len(plugged.said("hangs")) == len(plugged.said("stopping")) == 1
    log = tree.log.read_text()
    assert "this process ends while resources are closed" in log
    assert "this process ends while the plugin Hanging stops" in log
    assert "the plugin Broken raised an error in stopping()" in log


def test_a_process_that_is_killed(start: StartPlugged, tmp_path: Path) -> None:
    """It stops no plugin; the one that takes its place starts its own."""
    plugged, tree, use = start("-p", "1")
    until(lambda: plugged.said("started"), "it has started")
    ((_, pid, _),) = plugged.said("started")

    os.kill(int(pid), signal.SIGKILL)

    until(lambda: len(plugged.said("started")) == 2, "another one has started")
    use()
    until(lambda: plugged.said("used"), "it runs")
    assert tree.stop() == 0
    assert plugged.said("stopping", pid) == []
    assert len(plugged.said("stopping")) == 1


@pytest.mark.parametrize("threads", [False, True], ids=["forked", "imported"])
def test_workers_that_a_program_starts(tmp_path: Path, threads: bool) -> None:
    """`shutdown` waits until the plugins have stopped; the program has a resource of its own, which `close` closes."""
    plugged = Plugged(f"sqlite:///{tmp_path}/queue.db", "plugged", str(tmp_path / "log"), threads=threads)

    run_program(MODULE, plugged.environment())

    ((_, program),) = plugged.said("shut")
    names = [(line[0], "program" if line[1] == program else "worker") for line in plugged.lines()]
    assert names == [
        ("opened", "program"),
        ("started", "worker"),
        ("opened", "worker"),
        ("used", "worker"),
        ("closed", "worker"),
        ("stopping", "worker"),
        ("shut", "program"),
        ("closed", "program"),
    ]
