"""Workers that are killed while they work: nothing is lost, nothing completes twice, nobody innocent is run again."""

from __future__ import annotations

import os
import random
import signal
from collections import Counter
from pathlib import Path

import pytest
from attrs import evolve

from pyxqueue.testing.servers import ServerKind
from tests.conftest import Servers
from tests.support.until import until

from .app import App, Site
from .conftest import StartTree

TREES = 3
KILL_EVERY = 0.3


def busy(site: Site, dead: set[int]) -> list[int]:
    """The processes that are inside of a task, as far as the log knows."""
    running: dict[int, bool] = {}
    for line in site.lines():
        running[line.pid] = line.kind == "start"
    return [pid for pid, inside in running.items() if inside and pid not in dead]


def storm(site: Site, app: App, seconds: float, tasks: int, chance: random.Random) -> set[int]:
    """Enqueue tasks, kill busy processes until `seconds` have passed and the queue is empty; answers whom."""
    app["work"].map([(chance.uniform(0.02, 0.1), number) for number in range(tasks)])
    killed: set[int] = set()
    inspector = app.queue.stores.inspector

    def over() -> bool:
        depth = inspector.depth()
        return depth.ready + depth.held + depth.delayed == 0

    for _ in range(round(seconds / KILL_EVERY)):
        if over():
            break
        if victims := busy(site, killed):
            victim = chance.choice(victims)
            os.kill(victim, signal.SIGKILL)
            killed.add(victim)
        pause = KILL_EVERY
        try:
            until(over, "", pause)
        except AssertionError:
            continue
    until(over, "everything is done", 60)
    return killed


def check(site: Site, app: App, ids: list[str], killed: set[int]) -> None:
    starts = Counter(line.task_id for line in site.of("start"))
    in_killed = Counter(line.task_id for line in site.of("start") if line.pid in killed)
    accepted = Counter(line.task_id for line in site.of("settled") if line.more[1] == "1")

    assert max(accepted.values()) == 1
    assert len(ids) - len(accepted) <= len(killed)  # killed between the store's answer and the note of it
    assert [task_id for task_id in ids if starts[task_id] > 1 + in_killed[task_id]] == []
    assert sum(starts.values()) - len(ids) <= 2 * len(killed)
    depth = app.queue.stores.inspector.depth()
    assert (depth.ready, depth.held, depth.delayed, depth.failed, depth.finished) == (0, 0, 0, 0, len(ids))


@pytest.mark.parametrize("kind", ["valkey", "redis62"])
def test_storm(site: Site, servers: Servers, kind: ServerKind, start_tree: StartTree, tmp_path: Path) -> None:
    """Five hundred tasks, and a busy worker process killed every 300 ms."""
    site = evolve(site, url=servers(kind).url, lease=5)
    app = site.app()
    trees = [start_tree("-p", "2", url=site.url, lease=5) for _ in range(TREES)]

    killed = storm(site, app, seconds=60, tasks=500, chance=random.Random(7))
    ids = [task["task_id"] for task in app.queue.get_tasks(count=1000)]

    assert len(ids) == 500
    hits = {line.pid for line in site.of("start")} & killed
    assert len(hits) >= 20
    check(site, app, ids, killed)
    assert [tree.stop() for tree in trees] == [0] * TREES
    assert app.queue.stores.inspector.consumers() == []
    app.queue.close()
