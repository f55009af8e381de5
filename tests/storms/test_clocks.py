"""Clocks that are an hour wrong, and jump: nobody takes over the work of the living, and nothing starts early."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from subprocess import PIPE
from typing import Self

import pytest
from attrs import evolve
from redis import Redis

from pyxqueue.testing.servers import Server, ServerKind
from tests.conftest import Servers, kinds_to_test
from tests.processes.app import Site
from tests.processes.conftest import StartTree
from tests.support.trees import ROOT, environment
from tests.support.until import until

from .clocks import Clock, needs_library
from .producer import DELAY, TASKS
from .storm import Storm, oldest, storm

HOUR = 3_600
LEASE = 5


def ahead(server: Server) -> int:
    """By how many seconds the clock of the server is ahead of ours."""
    with Redis(port=server.port) as client:
        return int(client.time()[0]) - int(time.time())


@pytest.mark.parametrize("library", [pytest.param(True, marks=needs_library), False])
def test_programs_have_the_clock(tmp_path: Path, library: bool) -> None:
    """Also after it was set again, and they can sleep. Else the tests below would show nothing."""
    clock = Clock(tmp_path / "offset", HOUR)
    text = "import time; print(time.time()); input(); time.sleep(0); print(time.time())"
    command = [sys.executable, "-c", text]
    with clock.of_programs(library=library):
        program = subprocess.Popen(command, env=environment({}), stdin=PIPE, stdout=PIPE, text=True)
    assert program.stdin is not None
    assert program.stdout is not None

    before = float(program.stdout.readline())
    clock.put(-HOUR)
    after, _ = program.communicate("\n")

    assert [round((seen - time.time()) / HOUR) for seen in (before, float(after))] == [1, -1]


@pytest.mark.soak
@pytest.mark.timeout(240)
@needs_library
@pytest.mark.parametrize("seconds", [HOUR, -HOUR], ids=["ahead", "behind"])
@pytest.mark.parametrize("kind", [kind for kind in kinds_to_test() if kind != "path"])
def test_the_clock_of_a_server_jumps(
    site: Site, start_tree: StartTree, tmp_path: Path, kind: ServerKind, seconds: int
) -> None:
    """Twenty tasks run meanwhile; none is run again, and new work is done. (Debian's server does not start so.)"""
    clock = Clock(tmp_path / "offset")
    with clock.server(kind) as server, storm(evolve(site, url=server.url, lease=LEASE), seed=1) as one:
        trees = [start_tree("-p", "2", "-t", "6", url=server.url, lease=LEASE) for _ in range(2)]
        one.enqueue(20, 15, 17)
        until(lambda: len(one.log.of("start")) == 20, "all run")
        for offset in (seconds, 0):
            clock.put(offset)
            until(lambda: abs(ahead(server) - offset) < 3, "the clock has jumped")  # noqa: B023 - at once
            time.sleep(LEASE)  # so long the clock is wrong
        one.enqueue(20, 0, 0.01)
        one.drain(60)
        assert [tree.stop() for tree in trees] == [0, 0]
        assert one.judge().extra_runs == {}


@pytest.mark.parametrize("store", ["server", "sqlite"])
def test_the_clock_of_a_host_jumps(
    site: Site, servers: Servers, start_tree: StartTree, tmp_path: Path, store: str
) -> None:
    """Four tasks run meanwhile; none is run again, and new work is done. On SQLite the store has this clock."""
    url = servers(oldest()).url if store == "server" else f"sqlite:///{site.log}.db"
    clock = Clock(tmp_path / "offset")
    with storm(evolve(site, url=url, lease=1), seed=1) as one:
        with clock.of_programs(library=False):
            tree = start_tree("-p", "2", "-t", "4", url=url, lease=1)
        one.enqueue(4, 4, 5)
        until(lambda: len(one.log.of("start")) == 4, "all run")
        for offset in (HOUR, -HOUR, 0):
            clock.put(offset)
            new = one.enqueue(4, 0, 0.01, delay=0.3 if store == "server" else 0)
            until(lambda: set(new) <= {line.task_id for line in one.log.of("settled")}, "new work is done")  # noqa: B023 - runs now
        one.drain(60)
        assert tree.stop() == 0
        assert one.judge().extra_runs == {}


class Jumps(threading.Thread):
    """Sets clocks by an hour, there and back, again and again."""

    def __init__(self, one: Storm, clocks: Sequence[Clock]) -> None:
        super().__init__()
        self._one = one
        self._clocks = clocks
        self._over = threading.Event()
        self.count = 0

    def run(self) -> None:
        while not self._over.wait(self._one.chance.uniform(0.5, 3)):
            self._one.chance.choice(self._clocks).put(self._one.chance.choice((HOUR, 0, -HOUR)))
            self.count += 1

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()
        for clock in self._clocks:
            clock.put(0)


@contextmanager
def producer(one: Storm, clock: Clock, seed: int, tasks: int, delay: float) -> Iterator[subprocess.Popen[bytes]]:
    """A program that enqueues tasks, and has this clock."""
    command = [sys.executable, "-W", "error", "-m", "tests.storms.producer", str(seed)]
    more = {**one.site.environment(), TASKS: str(tasks), DELAY: str(delay)}
    with clock.of_programs():
        started = subprocess.Popen(command, cwd=ROOT, env=environment(more))
    try:
        yield started
    finally:
        started.kill()
        started.wait()


def rage(one: Storm, start_tree: StartTree, hosts: Sequence[Clock], jumping: Sequence[Clock], delay: float) -> None:
    """Let hosts with these clocks enqueue and run tasks, while some of the clocks jump, with all checks."""
    tasks, url = 600, one.site.url
    trees = []
    for clock in hosts:
        with clock.of_programs():
            trees.append(start_tree("-p", "2", "-t", "4", url=url, lease=LEASE))
    one.enqueue(12, 3 * LEASE, 4 * LEASE)
    until(lambda: len(one.log.of("start")) == 12, "all run")
    with Jumps(one, jumping) as jumps, ExitStack() as stack:
        producers = [stack.enter_context(producer(one, clock, seed, tasks, delay)) for seed, clock in enumerate(hosts)]
        until(lambda: all(each.poll() is not None for each in producers), "all is enqueued", 120)
        assert [each.returncode for each in producers] == [0] * len(hosts)
        until(lambda: len(one.log.of("end")) >= 12 and jumps.count >= 12, "the clocks have jumped", 120)
    one.drain(120)
    assert [tree.stop() for tree in trees] == [0] * len(hosts)
    assert one.judge().extra_runs == {}
    assert {line.more[1] for line in one.log.of("settled")} == {"1"}
    print(  # noqa: T201 - the numbers of docs/explanation/guarantees.md
        f"{tasks * len(hosts) + 12} tasks, {jumps.count} jumps of clocks"
    )


@pytest.mark.soak
@pytest.mark.timeout(600)
@needs_library
@pytest.mark.parametrize("kind", kinds_to_test())
def test_clocks_of_hosts(site: Site, servers: Servers, start_tree: StartTree, tmp_path: Path, kind: ServerKind) -> None:
    """One host is an hour ahead of the server, one behind, and the clock of one jumps between both."""
    hosts = [Clock(tmp_path / f"offset-{seconds}", seconds) for seconds in (HOUR, -HOUR, 0)]
    with storm(evolve(site, url=servers(kind).url, lease=LEASE), seed=5) as one:
        rage(one, start_tree, hosts, hosts[2:], delay=3)


@pytest.mark.soak
@pytest.mark.timeout(600)
@needs_library
def test_the_clock_of_a_file_jumps(site: Site, start_tree: StartTree, tmp_path: Path) -> None:
    """All programs that share a file have one clock, which is that of the store; a delay would be off by its jumps."""
    clock = Clock(tmp_path / "offset")
    with storm(evolve(site, url=f"sqlite:///{site.log}.db", lease=LEASE), seed=5) as one:
        rage(one, start_tree, [clock] * 3, [clock], delay=0)
