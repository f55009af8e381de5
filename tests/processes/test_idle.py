"""Workers and a supervisor that have nothing to do hardly disturb the store."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from attrs import evolve
from redis import Redis

from pyxqueue.testing.servers import Server
from tests.support.until import until

from .app import Site
from .conftest import StartTree

READS = 9


@pytest.fixture
def server() -> Iterator[Server]:
    """A server whose commands nobody else counts up."""
    with Server("valkey") as one:
        yield one


def test_a_supervisor_looks_no_more_often_than_a_worker(server: Server, site: Site, start_tree: StartTree) -> None:
    """A worker that waits reads once in a quarter of the lease; its supervisor calls one script in that time."""
    site = evolve(site, url=server.url, lease=4)
    with Redis.from_url(server.url, protocol=2) as client:

        def calls(command: str) -> int:
            return int(client.info("commandstats").get(f"cmdstat_{command}", {"calls": 0})["calls"])

        start_tree("-p", "1", url=server.url, lease=4)
        until(lambda: client.pubsub_numsub(f"{{{site.stream}}}:cg:delayed")[0][1], "the supervisor listens")
        scripts, reads = calls("evalsha"), calls("xreadgroup")
        until(lambda: calls("xreadgroup") >= reads + READS, "the worker has read")

        assert calls("evalsha") - scripts <= READS
