"""What workers log, and what their tasks print."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import evolve

from pyxqueue.testing.servers import Server
from tests.support.until import until

from .app import App, Site
from .conftest import StartTree, kill_host, on_every_store


@pytest.fixture
def server() -> Iterator[Server]:
    with Server("valkey") as one:
        yield one


def test_what_a_task_printed_outlives_its_worker(site: Site, app: App, start_tree: StartTree) -> None:
    """It is written line by line, although the output is a file."""
    tree = start_tree("-p", "1")
    handle = app["chat"]("hello from a task")
    until(lambda: site.of("start", handle.task_id), "it has printed")

    os.kill(site.of("start", handle.task_id)[0].pid, signal.SIGKILL)

    assert "hello from a task\n" in tree.log.read_text()


def test_an_outage_is_logged_once_and_its_end_too(server: Server, site: Site, start_tree: StartTree) -> None:
    """The supervisor and its worker each log it once, however often they try."""
    site = evolve(site, url=server.url)
    app = site.app()
    tree = start_tree("-p", "1", url=server.url)
    gone, back = "leases cannot be renewed now", "the store is back"

    server.kill()
    until(lambda: gone in tree.log.read_text(), "the supervisor has noticed")
    until(lambda: "waits for the store" in tree.log.read_text(), "the worker has noticed")
    server.restart()
    until(lambda: tree.log.read_text().count(back) == 2, "both are back")
    assert app["work"](0, "done").get(20) == "done"
    app.queue.close()

    log = tree.log.read_text()
    assert log.count(gone) == 1
    assert log.count("waits for the store") == 1
    assert re.search(r"the store is back after \d+\.\d s: leases are renewed again", log)


def test_what_is_cut_off_at_the_end_of_the_grace_period_is_logged(
    site: Site, app: App, start_tree: StartTree, gate: Path
) -> None:
    """Each task with its id and how long it had run, once, and the process that was running it."""
    tree = start_tree("-p", "1", "-t", "2", "--grace", "0.2")
    ids = [app["gate"](str(gate)).task_id for _ in range(2)]
    until(lambda: len(site.of("start")) == 2, "both run")

    tree.signal(signal.SIGTERM)

    assert tree.wait(20) == 0
    log = tree.log.read_text()
    (names,) = re.findall(r"the grace period is over: killed worker-1-\S+, which was running (.*)", log)
    assert sorted(re.findall(r"(\S+) for \d+\.\d s", names)) == sorted(ids)


@on_every_store
def test_a_takeover_is_logged_once(
    site: Site, app: App, start_tree: StartTree, gate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From whom, on which host, and how many tasks, each once, however many workers take them."""
    monkeypatch.setenv("PYXQUEUE_HOST", "web1")
    tree = start_tree("-p", "1", "-t", "3")
    handles = [app["gate"](str(gate)) for _ in range(3)]
    until(lambda: len(site.of("start")) == 3, "they run")
    until(lambda: any(one.facts for one in app.queue.admin.workers()), "the worker is announced")
    pid = site.of("start")[0].pid
    kill_host(tree, site)
    gate.touch()

    other = start_tree("-p", "2")

    assert [handle.get(30) for handle in handles] == ["through"] * 3
    assert other.stop() == 0
    lines = [one for one in other.log.read_text().splitlines() if "took over" in one]
    told = rf"took over (\d) tasks? from worker-1-{pid}-\S+ on host web1, of which .* life: (.*)"
    found = [match for one in lines if (match := re.search(told, one))]
    assert len(found) == len(lines), lines
    assert sum(int(match[1]) for match in found) == 3  # mostly in one line: all leases end at once if all were extended
    assert sorted(", ".join(match[2] for match in found).split(", ")) == sorted(handle.task_id for handle in handles)
