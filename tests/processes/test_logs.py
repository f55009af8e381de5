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
from .conftest import StartTree


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


def test_a_task_killed_at_the_end_of_the_grace_period_is_logged(
    site: Site, app: App, start_tree: StartTree, gate: Path
) -> None:
    """The log has its id and the process that was running it."""
    tree = start_tree("-p", "1", "--grace", "0.2")
    handle = app["gate"](str(gate))
    until(lambda: site.of("start", handle.task_id), "it runs")

    tree.signal(signal.SIGTERM)

    assert tree.wait(20) == 0
    assert re.search(
        rf"the grace period is over: killed worker-1-\S+, which was running {handle.task_id}", tree.log.read_text()
    )


def test_a_takeover_is_logged(site: Site, app: App, start_tree: StartTree) -> None:
    """The log has the id of the task whose worker died."""
    tree = start_tree("-p", "1")
    handle = app["die"]("kill")

    until(
        lambda: f"has taken over task {handle.task_id} from a worker that is gone" in tree.log.read_text(), "it is told"
    )
