"""An idle queue costs the server next to nothing, and what must be done in time is done all the same."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from redis import Redis

from pyxqueue.backends.redis import ConnectionConfig, RedisBackend, reclaiming
from pyxqueue.backends.redis.reclaiming import Reclaimer
from pyxqueue.model.message import Message
from pyxqueue.protocols import StoreOptions
from pyxqueue.supervisor.duties import DutyLoop
from pyxqueue.supervisor.duties.maintenance import Maintenance
from pyxqueue.testing.servers import Server
from tests.conftest import kinds_to_test


@pytest.fixture
def server() -> Iterator[Server]:
    """A server whose commands nobody else counts up."""
    with Server(kinds_to_test()[0]) as server:
        yield server


@pytest.fixture
def private(server: Server) -> Iterator[Any]:
    with Redis.from_url(server.url, protocol=2) as client:
        yield client


def opened(url: str, stream_key: str, reclaim_after: int) -> RedisBackend:
    options = StoreOptions(stream_key, lease_ms=60_000)
    return RedisBackend(ConnectionConfig.from_url(url), options, reclaim_after)


def calls(client: Any) -> dict[str, int]:
    """How often each command was called, scripts included."""
    stats = client.info("commandstats")
    return {
        name.removeprefix("cmdstat_").replace("|", " "): one["calls"]
        for name, one in stats.items()
        if name != "cmdstat_info"
    }


def test_the_maintenance_of_an_idle_queue(server: Server, private: Any) -> None:
    """One call looks at the lease, at what was handed out of both streams, at what is delayed, and whether a fair line
    has stalled."""
    with closing(opened(server.url, "idle", 0)) as backend:
        for _ in range(2):
            backend.maintain(256)
        before = calls(private)
        backend.maintain(256)
        after = calls(private)

    spent = {name: number - before.get(name, 0) for name, number in after.items() if number != before.get(name, 0)}
    groups = next(name for name in spent if name.startswith("xinfo"))
    due = {"evalsha": 1, "time": 1, "zrangebyscore": 2, "zrange": 1, "zrangebylex": 1}
    assert spent == {"hmget": 1, groups: 2, **due}


def test_a_jump_of_the_clock_after_an_idle_time(
    redis_url: str, stream_key: str, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Although nothing was in flight before it, it is noticed: the message stays with its holder."""
    jump, read = 0, Reclaimer._server_ms
    monkeypatch.setattr(Reclaimer, "_server_ms", lambda reclaimer: read(reclaimer) + jump)
    with closing(opened(redis_url, stream_key, 1)) as backend:
        reclaimer = backend._broker._reclaimer

        def maintain_in_touch() -> None:
            while reclaimer.health.unbroken_ms() < 1:
                backend.claim("other", 1, 0)
            reclaimer._next_scan = 0.0
            backend.maintain(1)

        maintain_in_touch()
        backend.enqueue([Message("one", "job")])
        (held,) = backend.claim("holder", 1, 0)
        entry = held.receipt.partition("|")[0][1:]
        client.xclaim(stream_key, "cg", "holder", 0, [entry], idle=100_000, justid=True)
        jump = 100_000

        maintain_in_touch()
        assert backend.depth().in_flight == 1

        maintain_in_touch()
        assert backend.depth().in_flight == 0


class Ticking:
    """A clock that a test moves; each look at it takes a moment, a shorter one than the look before."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self._moment = 0.001

    def monotonic(self) -> float:
        self.now += self._moment
        self._moment /= 2
        return self.now


@pytest.mark.parametrize("lease", [1_000, 60_000])
def test_a_sleeping_supervisor_reclaims_in_time(
    redis_url: str, stream_key: str, client: Any, monkeypatch: pytest.MonkeyPatch, lease: int
) -> None:
    """It is in touch with the server often enough to reclaim what a lost host held, though no worker claims."""
    clock = Ticking()
    monkeypatch.setattr(reclaiming, "time", clock)
    monkeypatch.setattr(Reclaimer, "_server_ms", lambda _: int(clock.now * 1000))
    config, options = ConnectionConfig.from_url(redis_url), StoreOptions(stream_key, lease_ms=lease)
    with closing(RedisBackend(config, options)) as backend:
        backend.enqueue([Message("one", "job")])
        (held,) = backend.claim("lost", 1, 0)
        entry = held.receipt.partition("|")[0][1:]
        client.xclaim(stream_key, "cg", "lost", 0, [entry], idle=2 * lease, justid=True)
    with closing(RedisBackend(config, options)) as backend:
        duties = DutyLoop([Maintenance(backend)], monotonic=clock.monotonic)
        begun, late = clock.now, itertools.cycle([0.0, 0.001])  # a sleep may end late
        while not backend.depth().ready:
            pause = duties.step([])
            clock.now += pause + next(late)
            assert clock.now - begun < 1.4 * lease / 1000  # a lease of contact, and the quarter until the next look

        assert backend.wakeups().fileno() >= 0
