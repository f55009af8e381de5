"""A server whose memory is full again and again: what runs is completed, nothing is lost, and nothing runs again."""

from __future__ import annotations

import random
from typing import Any

import pytest
from attrs import evolve
from redis import Redis

from pyxqueue.testing.servers import Server, ServerKind
from tests.conftest import kinds_to_test
from tests.processes.app import Site
from tests.processes.conftest import StartTree
from tests.support.until import until

from .storm import Storm, producers, storm

LEASE = 5
BOUND = 40


def squeeze(client: Any, chance: random.Random) -> None:
    """Lower the limit: far below what is used, or close to it, so that it is reached for a moment only."""
    used = client.info("memory")["used_memory"]
    client.config_set("maxmemory", round(used * chance.choice((0.5, chance.uniform(0.97, 1.0)))))


def rage(one: Storm, start_tree: StartTree, times: int, programs: int) -> str:
    """Fill the memory and make room again so many times, while programs enqueue and workers work. Of the programs, one
    has a queue with a bound, and waits for room there. Returns how it went."""
    trees = [start_tree("-p", "1", "-t", "4", url=one.site.url, lease=LEASE) for _ in range(2)]
    bounded = evolve(one.site, max_length=BOUND, full_wait=60)
    with Redis.from_url(one.site.url) as client, producers(one, *[one.site] * (programs - 1), bounded):
        until(lambda: len(one.log.of("end")) >= 20, f"there is work; {one}")
        for _ in range(times):
            before = len(one.log.of("refused"))

            def refused() -> bool:
                squeeze(client, one.chance)
                return len(one.log.of("refused")) > before  # noqa: B023 - it runs before the next

            until(refused, f"a program is refused; {one}")
            settled = len(one.log.of("settled"))
            until(lambda: len(one.log.of("settled")) > settled or one.over(), f"what runs is completed; {one}")  # noqa: B023 - runs now
            client.config_set("maxmemory", 0)
            accepted = len(one.log.of("enqueued"))
            until(lambda: len(one.log.of("enqueued")) > accepted, f"programs go on; {one}")  # noqa: B023 - runs now
    one.drain(60)
    assert [tree.stop() for tree in trees] == [0, 0]
    found = one.judge()
    assert found.extra_runs == {}
    assert {line.more[1] for line in one.log.of("settled")} == {"1"}
    assert {line.more[0] for line in one.log.of("refused")} == {"StoreFullError"}
    return f"full {times} times: {len(one.log.of('enqueued'))} tasks, {len(one.log.of('refused'))} calls refused"


def test_memory_is_full_at_random(site: Site, start_tree: StartTree) -> None:
    """Six times, with two programs that enqueue."""
    with full("valkey") as server, storm(evolve(site, url=server.url, lease=LEASE), seed=1) as one:
        rage(one, start_tree, times=6, programs=2)


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", kinds_to_test())
def test_memory_is_full_at_random_for_long(site: Site, start_tree: StartTree, kind: ServerKind) -> None:
    """A hundred times, with four programs."""
    with full(kind) as server, storm(evolve(site, url=server.url, lease=LEASE), seed=1) as one:
        print(rage(one, start_tree, times=100, programs=4))  # noqa: T201 - for the docs


def full(kind: ServerKind) -> Server:
    return Server(kind, args=("--maxmemory-policy", "noeviction"))
