"""Workers and a supervisor that have nothing to do hardly disturb the store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import evolve
from redis import Redis

from pyxqueue.testing.servers import Server
from tests.support.trees import Tree
from tests.support.until import until

from .app import Site
from .conftest import StartTree

READS = 9
ANNOUNCE = {"hexists", "zcard", "hlen", "zadd", "hset", "zrangebyscore", "hget"}
"""The commands of an announcement."""


@pytest.fixture
def server() -> Iterator[Server]:
    """A server whose commands nobody else counts up."""
    with Server("valkey") as one:
        yield one


def test_a_supervisor_looks_no_more_often_than_a_worker(server: Server, site: Site, start_tree: StartTree) -> None:
    """A worker that waits reads once in a quarter of the lease; its supervisor calls one script in that time, but
    for an announcement every 15 s, which is a ``zadd``."""
    site = evolve(site, url=server.url, lease=4)
    with Redis.from_url(server.url, protocol=2) as client:

        def calls(command: str) -> int:
            return int(client.info("commandstats").get(f"cmdstat_{command}", {"calls": 0})["calls"])

        start_tree("-p", "1", url=server.url, lease=4)
        until(lambda: client.pubsub_numsub(f"{{{site.stream}}}:cg:delayed")[0][1], "the supervisor listens")
        announced = calls("zadd")
        scripts, reads = calls("evalsha"), calls("xreadgroup")
        until(lambda: calls("xreadgroup") >= reads + READS, "the worker has read")

        assert calls("zadd") - announced <= 1
        assert calls("evalsha") - scripts <= READS + 1


def test_further_idle_queues_cost_nothing(server: Server, site: Site, tmp_path: Path) -> None:
    """Four queues cost as many commands as one: a worker waits on all with one read, and its supervisor looks at all
    with one script."""
    site, log = evolve(site, url=server.url, lease=4), tmp_path / "tree.log"
    apps = [f"tests.processes.app_four:queue{number}" for number in range(4)]
    channels = [f"{{{site.stream}-{number}}}:cg:delayed" for number in range(4)]
    with (
        Redis.from_url(server.url, protocol=2) as client,
        Tree(apps[0], site.environment(), log, *apps[1:], "-p", "1"),
    ):

        def calls() -> Counter[str]:
            found = client.info("commandstats")
            return Counter({name.removeprefix("cmdstat_"): one["calls"] for name, one in found.items()})

        def listening() -> bool:
            return all(count for _, count in client.pubsub_numsub(*channels))

        until(listening, "the supervisor listens")
        until(lambda: calls()["xread"] > 1 and calls()["xreadgroup"] > 1, "both have begun to wait")
        before = calls()
        until(lambda: calls()["xreadgroup"] >= before["xreadgroup"] + READS, "the worker has read")
        spent = calls() - before

    looks = spent["xread"]
    assert looks <= READS
    assert spent["exists"] == looks
    assert spent["time"] == spent["evalsha"]
    announced = spent["zadd"]  # each supervisor announces itself to each queue every 15 s
    assert announced <= 4
    assert spent["evalsha"] - looks - announced <= READS // 4  # the worker's looks at classes, one HMGET each
    assert spent["hmget"] == 4 * (spent["evalsha"] - looks - announced)
    assert set(spent) <= {"xread", "exists", "time", "evalsha", "hmget", "xreadgroup", "info", *ANNOUNCE}
