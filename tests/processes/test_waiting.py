"""Clients that wait for many results, which the store pushes over one connection."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from attrs import evolve
from redis import Redis

from pyxqueue.client import waiting
from pyxqueue.testing.servers import Server
from tests.support.trees import environment
from tests.support.until import until

from .app import Site
from .conftest import StartTree

WAITERS = 500


@pytest.fixture
def server() -> Iterator[Server]:
    with Server("valkey") as one:
        yield one


@pytest.fixture
def site(server: Server, site: Site) -> Site:
    return evolve(site, url=server.url, lease=60)


def subscriptions(client: Redis) -> int:
    return sum(int(one["sub"]) > 0 for one in client.client_list())


def script_calls(client: Redis) -> int:
    return int(client.info("commandstats")["cmdstat_evalsha"]["calls"])


def test_five_hundred_waiters(site: Site, start_tree: StartTree, gate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They share one subscription, look when they begin, and do not poll."""
    monkeypatch.setattr(waiting, "_SILENCE", 60_000)  # each also looks once whether there is a worker: not meant here
    app = site.app()
    gated = app["gate"](str(gate))
    handles = app["work"].map([(0, number) for number in range(WAITERS)])
    with Redis.from_url(site.url, protocol=2) as client, ThreadPoolExecutor(WAITERS) as threads:
        waits = [threads.submit(handle.get, 50) for handle in handles]
        until(lambda: client.hlen(f"{{{site.stream}}}:cg:notes") == WAITERS, "all wait")
        assert subscriptions(client) == 1
        idle = script_calls(client)
        until(lambda: int(client.info("server")["uptime_in_seconds"]) >= 3, "some time has passed")
        assert script_calls(client) == idle  # waiting costs nothing
        gate.touch()
        start_tree("-p", "1", url=site.url, lease=60)
        assert [wait.result(50) for wait in waits] == list(range(WAITERS))
        until(lambda: client.pubsub_numsub(f"{{{site.stream}}}:cg:delayed")[0][1], "the supervisor listens too")
        assert subscriptions(client) == 1 + 1
        # No look when they end, for they are told their records: these are claims, settlements and renewals.
        assert script_calls(client) - idle < 2 * WAITERS
    gated.get(10)
    app.queue.close()


PROGRAM = """
import asyncio, pathlib, sys
from tests.processes.app import site_of_environment

async def main():
    asyncio.get_running_loop().slow_callback_duration = 60
    app = site_of_environment().app()

    async def tick():
        for _ in range(1000):
            await asyncio.sleep(0)
        pathlib.Path(sys.argv[1]).touch()

    first = await app["gate"].aenqueue(sys.argv[1])
    handles = await asyncio.gather(*(app["work"].aenqueue(0, number) for number in range(200)))
    _, *values = await asyncio.gather(tick(), first.aget(30), *(handle.aget(30) for handle in handles))
    print(values == ["through", *range(200)])
    app.queue.close()

asyncio.run(main())
"""


def test_two_hundred_awaits(site: Site, start_tree: StartTree, gate: Path) -> None:
    """Waiting does not block the event loop, and Python's development mode gives no warning."""
    start_tree("-p", "1", url=site.url, lease=60)

    done = subprocess.run(
        [sys.executable, "-W", "error", "-X", "dev", "-c", PROGRAM, str(gate)],
        env=environment(site.environment()),
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")


def test_await_beside_the_loop(site: Site, start_tree: StartTree) -> None:
    """A program with an event loop of its own, such as a web application, can await a result."""
    start_tree("-p", "1", url=site.url, lease=60)
    app = site.app()

    async def main() -> object:
        return await (await app["work"].aenqueue(0, "done"))

    assert asyncio.run(main()) == "done"
    app.queue.close()
