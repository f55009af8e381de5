"""Workers that are killed while they work: no task is lost, completed twice, or run again without need."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
from attrs import evolve

from pyxqueue.backends.sqlite import SQLiteBackend
from pyxqueue.backends.sqlite.driver import apsw
from pyxqueue.protocols import StoreOptions
from pyxqueue.testing.servers import ServerKind
from tests.conftest import Servers, kinds_to_test
from tests.support.trees import ROOT, Tree, environment
from tests.support.until import until

from .app import App, Site
from .conftest import StartTree

TREES = 3


def busy(site: Site) -> set[int]:
    """Return the processes that run a task, or died while they did, according to the log."""
    inside: dict[int, bool] = {}
    for line in site.lines():
        inside[line.pid] = line.kind == "start"
    return {pid for pid, busy in inside.items() if busy}


def storm(
    site: Site, app: App, tasks: int, every: float, chance: random.Random, *, strike: Callable[[], set[int]]
) -> set[int]:
    """Enqueue tasks and kill a busy process every so many seconds, until all are done. Returns their pids.

    When half of it is done, `strike` kills whom it wants.
    """
    app["work"].map([(chance.uniform(0.02, 0.1), number) for number in range(tasks)])
    killed: set[int] = set()
    inspector = app.queue.stores.backend
    next_kill = 0.0
    struck = False

    def over() -> bool:
        nonlocal next_kill, struck
        now = time.monotonic()
        # Not without end: what keeps dying is replaced ever more slowly.
        if now >= next_kill and len(killed) < tasks / 20 and (victims := busy(site) - killed):
            next_kill = now + every
            victim = chance.choice(sorted(victims))
            with suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
            killed.add(victim)
        depth = inspector.depth()
        if not struck and depth.history >= tasks / 2:
            struck = True
            killed.update(strike())
        return depth.ready + depth.in_flight + depth.delayed == 0

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
    depth = app.queue.stores.backend.depth()
    assert (depth.ready, depth.in_flight, depth.delayed, depth.failed, depth.history) == (0, 0, 0, 0, len(ids))


def power_cut(trees: list[Tree]) -> set[int]:
    """Kill all of them at one moment. Returns their pids."""
    for tree in trees:
        tree.signal_all(signal.SIGSTOP)  # so that no process is replaced in between
    everyone = {pid for tree in trees for pid in tree.everyone()}
    for tree in trees:
        tree.signal_all(signal.SIGKILL)
    return everyone


def rage(site: Site, start_tree: StartTree, tasks: int, every: float, seed: int, *, all_at_once: bool = False) -> int:
    """Run a whole storm, with all its checks. Returns how many kills hit a running task."""
    app = site.app()
    trees = [start_tree("-p", "2", url=site.url, lease=5) for _ in range(TREES)]

    def strike() -> set[int]:
        if not all_at_once:
            return set()
        everyone = power_cut(trees)
        trees[:] = [start_tree("-p", "2", url=site.url, lease=5, ready=False) for _ in range(TREES)]
        return everyone

    killed = storm(site, app, tasks, every, random.Random(seed), strike=strike)

    ids = [info.id for info in app.queue.stores.backend.tasks(None, "", 2 * tasks)[0]]
    assert len(ids) == tasks
    hits = len(busy(site) & killed)
    check(site, app, ids, killed)
    assert [tree.stop() for tree in trees] == [0] * TREES
    left = {consumer.name for consumer in app.queue.stores.backend.consumers()}
    assert left == set() or all_at_once  # no process was left to note the deaths
    app.queue.close()
    return hits


@pytest.fixture(params=["rollback", "wal"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A SQLite file with this journal, whole when the test is over."""
    path, driver = tmp_path / "queue.db", apsw()
    assert driver is not None
    with closing(
        SQLiteBackend(path, StoreOptions(), driver=driver, safe_for_wal=lambda _: request.param == "wal")
    ) as made:
        made.lease_ms()  # opening it again keeps this journal
    yield path
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@pytest.mark.parametrize("kind", [kind for kind in kinds_to_test() if kind in ("valkey", "redis62")])
def test_storm(site: Site, servers: Servers, kind: ServerKind, start_tree: StartTree) -> None:
    """Five hundred tasks, and a busy worker process killed every 300 ms."""
    hits = rage(evolve(site, url=servers(kind).url, lease=5), start_tree, tasks=500, every=0.3, seed=7)

    assert hits >= 20


@pytest.mark.timeout(240)
def test_storm_on_a_file(site: Site, file: Path, start_tree: StartTree) -> None:
    """A thousand tasks, a busy worker process killed every 300 ms, and once all processes at the same moment."""
    site = evolve(site, url=f"sqlite:///{file}", lease=5)
    hits = rage(site, start_tree, tasks=1_000, every=0.3, seed=7, all_at_once=True)

    assert hits >= 20


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("kind", kinds_to_test())
def test_long_storm(site: Site, servers: Servers, kind: ServerKind, start_tree: StartTree, seed: int) -> None:
    """The same for minutes, with other random numbers."""
    hits = rage(
        evolve(site, url=servers(kind).url, lease=5), start_tree, tasks=3000, every=1.0, seed=seed, all_at_once=True
    )

    assert hits >= 20


MINUTES = float(os.environ.get("SOAK_MINUTES", "10"))


@contextmanager
def producers(site: Site) -> Iterator[None]:
    """Three programs that enqueue, killed at the end."""
    command = [sys.executable, "-W", "error", "-m", "tests.processes.app_producer"]
    started = [subprocess.Popen(command, cwd=ROOT, env=environment(site.environment())) for _ in range(3)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


@pytest.mark.soak
@pytest.mark.timeout(MINUTES * 60 + 900)
def test_soak_on_a_file(site: Site, file: Path, start_tree: StartTree) -> None:
    """For minutes, workers and producers are killed, now and then all at once; what was accepted is done once."""
    site = evolve(site, url=f"sqlite:///{file}", lease=5)
    app, chance = site.app(), random.Random(1)
    killed: set[int] = set()
    trees = [start_tree("-p", "2", url=site.url, lease=5) for _ in range(TREES)]
    end = time.monotonic() + MINUTES * 60
    while time.monotonic() < end:
        with producers(site):
            all_at_once = min(end, time.monotonic() + 60)
            while time.monotonic() < all_at_once:
                time.sleep(0.3)  # the rhythm of the kills; nothing waits for it
                if victims := busy(site) - killed:
                    victim = chance.choice(sorted(victims))
                    with suppress(ProcessLookupError):
                        os.kill(victim, signal.SIGKILL)
                    killed.add(victim)
            killed |= power_cut(trees)
        trees = [start_tree("-p", "2", url=site.url, lease=5, ready=False) for _ in range(TREES)]
    inspector = app.queue.stores.backend
    until(lambda: (depth := inspector.depth()).ready + depth.in_flight + depth.delayed == 0, "everything is done", 600)

    assert [tree.stop() for tree in trees] == [0] * TREES
    enqueued = {line.task_id for line in site.of("enqueued")}
    accepted = Counter(line.task_id for line in site.of("settled") if line.more[1] == "1")
    assert max(accepted.values()) == 1
    assert len(enqueued - accepted.keys()) <= len(killed)  # killed between the store's answer and the note of it
    started = {line.task_id for line in site.of("start")}
    assert enqueued - started == set()
    assert inspector.depth().failed == 0
    app.queue.close()
