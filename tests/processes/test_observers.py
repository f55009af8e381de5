"""An observer hears in a worker of what its supervisor has found."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from pyxqueue import Missed
from tests.support.until import until

from .app import App, Site
from .conftest import StartTree, on_every_store


@on_every_store
def test_what_a_supervisor_finds(site: Site, app: App, start_tree: StartTree, gate: Path) -> None:
    """A tick is skipped and a task expires while the only worker is busy; its observer hears of both, once each."""
    tree = start_tree("-p", "1")
    app["gate"](str(gate))
    until(lambda: site.of("start"), "the worker is busy")
    app.queue.schedules.upsert("beat", app["short"], every=1, missed=Missed("skip"), overlap="skip")
    expiring = app["short"].with_options(expires=0.1)()

    until(lambda: site.of("expired"), "the observer is told of a task that expired")
    until(lambda: site.of("skipped"), "the observer is told of a tick that was skipped")

    (expired,), (start, *_) = site.of("expired"), site.of("start")
    assert (expired.task_id, expired.more, expired.pid) == (expiring.task_id, ["short"], start.pid)
    assert [(line.task_id, line.attempt, line.more) for line in site.of("skipped")][:1] == [("beat", 1, ["overlap"])]
    app.queue.schedules["beat"].pause()
    until(lambda: len(site.of("skipped")) == app.queue.schedules["beat"].skipped, "as many as the schedule counts")
    gate.touch()
    assert tree.stop() == 0


@on_every_store
def test_what_was_found_waits_for_a_worker(site: Site, app: App, start_tree: StartTree, gate: Path) -> None:
    """The only worker is killed; the one that takes its place is told."""
    start_tree("-p", "1")
    app["gate"](str(gate))
    until(lambda: site.of("start"), "the worker is busy")
    (start,) = site.of("start")
    os.kill(start.pid, signal.SIGSTOP)
    expiring = app["short"].with_options(expires=0.1)()
    until(lambda: expiring.state.name == "CANCELLED", "it has expired")
    assert site.of("expired") == []

    os.kill(start.pid, signal.SIGKILL)

    until(lambda: site.of("expired"), "the next worker is told")
    (expired,) = site.of("expired")
    assert (expired.task_id, expired.pid != start.pid) == (expiring.task_id, True)
    gate.touch()
