"""Workers that are killed while they work: nothing is lost, nothing completes twice, nobody innocent is run again."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter

import pytest
from attrs import evolve

from pyxqueue.testing.servers import ServerKind
from tests.conftest import Servers, kinds_to_test
from tests.support.until import until

from .app import App, Site
from .conftest import StartTree

TREES = 3


def busy(site: Site) -> set[int]:
    """The processes that are inside of a task, or died there, as far as the log knows."""
    inside: dict[int, bool] = {}
    for line in site.lines():
        inside[line.pid] = line.kind == "start"
    return {pid for pid, busy in inside.items() if busy}


def storm(site: Site, app: App, tasks: int, every: float, chance: random.Random) -> set[int]:
    """Enqueue tasks and kill a busy process every so many seconds, until all are done; answers whom."""
    app["work"].map([(chance.uniform(0.02, 0.1), number) for number in range(tasks)])
    killed: set[int] = set()
    inspector = app.queue.stores.inspector
    next_kill = 0.0

    def over() -> bool:
        nonlocal next_kill
        now = time.monotonic()
        # Not without end: what keeps dying is replaced ever more slowly.
        if now >= next_kill and len(killed) < tasks / 20 and (victims := busy(site) - killed):
            next_kill = now + every
            victim = chance.choice(sorted(victims))
            os.kill(victim, signal.SIGKILL)
            killed.add(victim)
        depth = inspector.depth()
        return depth.ready + depth.held + depth.delayed == 0

    until(over, "everything is done", 30 + tasks / 10)
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


def rage(site: Site, start_tree: StartTree, tasks: int, every: float, seed: int) -> int:
    """A whole storm, from the first enqueue to the last check; answers how many kills hit a running task."""
    app = site.app()
    trees = [start_tree("-p", "2", url=site.url, lease=5) for _ in range(TREES)]

    killed = storm(site, app, tasks, every, random.Random(seed))

    ids = [info.id for info in app.queue.stores.inspector.tasks(None, "", 2 * tasks)[0]]
    assert len(ids) == tasks
    hits = len(busy(site) & killed)
    check(site, app, ids, killed)
    assert [tree.stop() for tree in trees] == [0] * TREES
    assert app.queue.stores.inspector.consumers() == []
    app.queue.close()
    return hits


@pytest.mark.parametrize("kind", [kind for kind in kinds_to_test() if kind in ("valkey", "redis62")])
def test_storm(site: Site, servers: Servers, kind: ServerKind, start_tree: StartTree) -> None:
    """Five hundred tasks, and a busy worker process killed every 300 ms."""
    hits = rage(evolve(site, url=servers(kind).url, lease=5), start_tree, tasks=500, every=0.3, seed=7)

    assert hits >= 20


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("kind", kinds_to_test())
def test_long_storm(site: Site, servers: Servers, kind: ServerKind, start_tree: StartTree, seed: int) -> None:
    """The same for minutes, with other dice."""
    hits = rage(evolve(site, url=servers(kind).url, lease=5), start_tree, tasks=3000, every=1.0, seed=seed)

    assert hits >= 20
