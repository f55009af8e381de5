"""Servers that are paused, unreachable or killed under load: nothing is lost, and nothing runs again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

import pytest
from attrs import evolve

from pyxqueue.testing.servers import Server, ServerKind
from tests.conftest import kinds_to_test
from tests.processes.app import Site
from tests.processes.conftest import StartTree
from tests.support.proxy import Proxy
from tests.support.until import until

from .storm import Storm, oldest, storm

LEASE = 1
AWAY = 3.2 * LEASE
"""Seconds: for so long no lease can be renewed, so every worker looks dead."""


def pause(server: Server, _: Proxy) -> None:
    server.pause()
    time.sleep(AWAY)  # the outage itself, not a wait for anything
    server.resume()


def cut_off(_: Server, proxy: Proxy) -> None:
    proxy.closed = True
    proxy.cut_all()
    time.sleep(AWAY)
    proxy.closed = False


def kill(server: Server, _: Proxy) -> None:
    server.kill()
    time.sleep(AWAY)
    server.restart()


Outage: TypeAlias = Callable[[Server, Proxy], None]
OUTAGES: tuple[Outage, ...] = (pause, cut_off, kill)


@contextmanager
def durable(kind: ServerKind, fsync: str = "always") -> Iterator[Server]:
    with Server(kind, args=("--appendonly", "yes", "--appendfsync", fsync)) as server:
        yield server


def three_leases(site: Site, start_tree: StartTree, kind: ServerKind, outage: Outage, tasks: int) -> None:
    """Let the server be away for three leases while long tasks run."""
    with durable(kind) as server, Proxy(server.port) as proxy:
        there = evolve(site, url=server.url, lease=LEASE)
        with storm(there, seed=1) as one:
            trees = [start_tree("-p", "2", "-t", str(tasks // 4 + 1), url=proxy.url, ready=False) for _ in range(2)]
            one.enqueue(tasks, AWAY, AWAY + 2)
            until(lambda: len(one.log.of("start")) == tasks, "all run", 60)

            outage(server, proxy)

            one.drain(60)
            assert [tree.stop() for tree in trees] == [0, 0]
            assert one.judge().extra_runs == {}
            assert {line.more[1] for line in one.log.of("settled")} == {"1"}


def test_an_outage_of_three_leases(site: Site, start_tree: StartTree) -> None:
    """No lease could be renewed, so every worker looks dead; still nothing runs twice."""
    three_leases(site, start_tree, "valkey", pause, tasks=20)


@pytest.mark.soak
@pytest.mark.parametrize("outage", OUTAGES)
@pytest.mark.parametrize("kind", kinds_to_test())
def test_outages_of_three_leases(site: Site, start_tree: StartTree, kind: ServerKind, outage: Outage) -> None:
    """Fifty tasks run when it begins."""
    three_leases(site, start_tree, kind, outage, tasks=50)


def restarts(storm: Storm, start_tree: StartTree, server: Server, kills: int, tasks: int) -> None:
    """Kill the server each time that a part of the tasks is done, and start it again."""
    trees = [start_tree("-p", "2", url=server.url, lease=30) for _ in range(2)]
    storm.enqueue(tasks, 0.005, 0.05)
    for number in range(1, kills + 1):
        done = tasks * number // (kills + 1)
        until(lambda: len(storm.log.of("end")) >= done, f"some are done; {storm}", 120)  # noqa: B023 - runs now
        server.kill()
        server.restart()
    storm.drain(120)
    assert [tree.stop() for tree in trees] == [0, 0]
    assert storm.judge().extra_runs == {}


def test_restarts(site: Site, start_tree: StartTree) -> None:
    """The server is killed three times; what it has accepted is done, once."""
    with durable(oldest()) as server, storm(evolve(site, url=server.url, lease=30), seed=1) as one:
        restarts(one, start_tree, server, kills=3, tasks=200)


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("fsync", ["always", "everysec"])
@pytest.mark.parametrize("kind", kinds_to_test())
def test_ten_restarts(site: Site, start_tree: StartTree, kind: ServerKind, fsync: str) -> None:
    """Also with `everysec`: a killed process loses nothing that it has written."""
    with durable(kind, fsync) as server, storm(evolve(site, url=server.url, lease=30), seed=1) as one:
        restarts(one, start_tree, server, kills=10, tasks=3_000)
