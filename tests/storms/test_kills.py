"""Workers, supervisors and whole trees killed while they work: nothing is lost, recorded twice, or run without need."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from attrs import define, evolve, field

from pyxqueue.backends.sqlite import SQLiteBackend
from pyxqueue.backends.sqlite.driver import apsw
from pyxqueue.protocols import StoreOptions
from pyxqueue.testing.servers import ServerKind
from tests.conftest import Servers, kinds_to_test
from tests.processes.app import Site
from tests.processes.conftest import StartTree
from tests.support.trees import Tree
from tests.support.until import until

from .storm import Storm, oldest, producers, storm

TREES = 3
MINUTES = float(os.environ.get("SOAK_MINUTES", "10"))
LEASE = 5


@define
class Trees:
    """Some trees of two processes; those that are killed are replaced."""

    storm: Storm
    start: StartTree
    all: list[Tree] = field(init=False)
    hits: int = 0
    """How many processes were killed while they ran a task."""
    alone: set[int] = field(factory=set)
    """Those that were killed without their supervisor."""

    def __attrs_post_init__(self) -> None:
        self.all = [self._new(ready=True) for _ in range(TREES)]

    def _new(self, *, ready: bool) -> Tree:
        return self.start("-p", "2", url=self.storm.site.url, lease=LEASE, ready=ready)

    def kill_worker(self) -> None:
        if victims := self.storm.log.busy() - self.storm.killed:
            victim = self.storm.chance.choice(sorted(victims))
            self.storm.kill(victim)
            self.alone.add(victim)
            self.hits += 1

    def kill_supervisor(self) -> None:
        """Its watchdog kills the workers."""
        self._kill(self.storm.chance.choice(self.all), at_once=False)

    def kill_tree(self) -> None:
        """Kill it with its watchdog and its workers, at one moment."""
        self._kill(self.storm.chance.choice(self.all), at_once=True)

    def kill_all(self) -> None:
        """As a power cut would."""
        for tree in self.all:
            tree.signal_all(signal.SIGSTOP)  # so that no process is replaced in between
        for tree in list(self.all):
            self._kill(tree, at_once=True)

    def _kill(self, tree: Tree, *, at_once: bool) -> None:
        if at_once:
            tree.signal_all(signal.SIGSTOP)
        workers = set(tree.everyone()) - {tree.pid}
        self.hits += len(workers & self.storm.log.busy() - self.storm.killed)
        self.storm.orphaned = True
        self.storm.kill(tree.pid, *workers)
        if at_once:
            tree.signal_all(signal.SIGKILL)
        tree.wait(20)
        self.all[self.all.index(tree)] = self._new(ready=False)

    def stop(self) -> None:
        assert [tree.stop() for tree in self.all] == [0] * TREES


def rage(storm: Storm, start_tree: StartTree, *, tasks: int, every: float, most: int, workers: int = 8) -> Trees:
    """Enqueue tasks and kill somebody every so many seconds until all is done, with all checks.

    most: how many times at most; not without end, because what keeps dying is replaced ever more slowly. workers: how
    many of them die for each supervisor and each tree; a tree needs seconds to start.
    """
    trees = Trees(storm, start_tree)
    storm.enqueue(tasks, 0.005, 0.1)
    strikes = [trees.kill_worker] * workers + [trees.kill_supervisor, trees.kill_tree]
    begun, next_strike, done = time.monotonic(), 0.0, 0

    def over() -> bool:
        nonlocal next_strike, done
        now = time.monotonic()
        if now >= next_strike and done < most:
            next_strike, done = now + every, done + 1
            trees.kill_all() if done == most // 2 else storm.chance.choice(strikes)()
        return storm.over()

    until(over, f"everything is done; {storm}", 60 + tasks / 10)
    seconds = time.monotonic() - begun
    trees.stop()
    found = storm.judge()
    assert sum(found.extra_runs.values()) <= 2 * trees.hits  # one may have ended, and not been settled
    print(  # noqa: T201 - the numbers of docs/explanation/guarantees.md
        f"{tasks} tasks in {seconds:.0f} s, {done} strikes, {trees.hits} tasks killed, "
        f"{sum(found.extra_runs.values())} extra runs; after the death of a worker its task ran again after "
        f"{storm.recovery(trees.alone)}, of a tree {storm.recovery(storm.killed - trees.alone)}"
    )
    return trees


@pytest.fixture(params=[pytest.param("rollback", marks=pytest.mark.soak), "wal"])
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


@pytest.mark.timeout(120)
@pytest.mark.parametrize("kind", [oldest()])
def test_kills(site: Site, servers: Servers, kind: ServerKind, start_tree: StartTree) -> None:
    """A strike every 300 ms: most hit a worker, some a tree, and one of them all trees."""
    with storm(evolve(site, url=servers(kind).url, lease=LEASE), seed=7) as one:
        trees = rage(one, start_tree, tasks=300, every=0.3, most=12)

    assert trees.hits >= 5


@pytest.mark.timeout(120)
def test_kills_on_a_file(site: Site, file: Path, start_tree: StartTree) -> None:
    """The same on SQLite."""
    with storm(evolve(site, url=f"sqlite:///{file}", lease=LEASE), seed=7) as one:
        trees = rage(one, start_tree, tasks=300, every=0.3, most=12)

    assert trees.hits >= 5


@pytest.mark.soak
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("kind", kinds_to_test())
def test_many_kills(site: Site, servers: Servers, kind: ServerKind, start_tree: StartTree) -> None:
    """Ten thousand tasks, and a strike every 200 ms."""
    with storm(evolve(site, url=servers(kind).url, lease=LEASE), seed=1) as one:
        trees = rage(one, start_tree, tasks=10_000, every=0.2, most=1_000, workers=60)

    assert trees.hits >= 100


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_many_kills_on_a_file(site: Site, file: Path, start_tree: StartTree) -> None:
    """The same on SQLite."""
    with storm(evolve(site, url=f"sqlite:///{file}", lease=LEASE), seed=1) as one:
        trees = rage(one, start_tree, tasks=10_000, every=0.2, most=1_000, workers=60)

    assert trees.hits >= 100


@pytest.mark.soak
@pytest.mark.timeout(MINUTES * 60 + 900)
def test_producers_and_workers_are_killed_for_minutes(site: Site, file: Path, start_tree: StartTree) -> None:
    """Workers die all the time, and once a minute everybody at once."""
    with storm(evolve(site, url=f"sqlite:///{file}", lease=LEASE), seed=1) as one:
        trees = Trees(one, start_tree)
        end = time.monotonic() + MINUTES * 60
        while time.monotonic() < end:
            with producers(one, *[one.site] * 3):
                all_at_once = min(end, time.monotonic() + 60)
                while time.monotonic() < all_at_once:
                    time.sleep(0.3)  # the rhythm of the kills; nothing waits for it
                    trees.kill_worker()
                trees.kill_all()
        one.drain(600)
        trees.stop()
        one.judge()
