"""Each way to claim says when it was, by the server's clock, without asking for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any

import pytest

from pyxqueue.backends.redis import ConnectionConfig, RedisBackend, reclaiming
from pyxqueue.model.message import Delivery, Message
from pyxqueue.protocols import StoreOptions

Claim = Callable[[RedisBackend, RedisBackend], Sequence[Delivery]]


def shared(backend: RedisBackend, other: RedisBackend) -> Sequence[Delivery]:
    with closing(backend.shared_claims([other, backend])) as both:
        return both.claim("w", 9, 0, [0, 1])[1]


WAYS: dict[str, Claim] = {
    "at once": lambda backend, _: backend.claim("w", 9, 0),
    "after a wait": lambda backend, _: backend.claim("w", 9, 1_000),
    "of two queues": shared,
}


@pytest.fixture
def backends(redis_url: str, stream_key: str) -> Iterator[list[RedisBackend]]:
    config = ConnectionConfig.from_url(redis_url)
    opened = [RedisBackend(config, StoreOptions(name), reclaim_after=0) for name in (stream_key, f"{stream_key}:two")]
    yield opened
    for backend in opened:
        backend.close()


def server_ms(client: Any) -> int:
    seconds, micros = client.time()
    return int(seconds) * 1000 + int(micros) // 1000


@pytest.mark.parametrize("priority", [0, 60])
@pytest.mark.parametrize("way", WAYS)
def test_a_claim_knows_the_servers_time(backends: list[RedisBackend], client: Any, way: str, priority: int) -> None:
    """It is not before the claim began, nor after it has ended; a new class is claimed from in another way."""
    backend, other = backends
    other.lease_ms()
    backend.enqueue([Message("one", "job", priority=priority), Message("two", "job")])
    before = server_ms(client)

    found = WAYS[way](backend, other)

    after = server_ms(client)
    assert [one.message.id for one in found] == ["one", "two"]
    for one in found:
        assert before - 1 <= one.claimed_ms <= after + 1


def test_it_is_read_again_in_time(backends: list[RedisBackend], client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Although nothing is in flight, so that two clocks that drift do not part."""
    backend, _ = backends
    backend.claim("w", 1, 0)
    backend._broker._reclaimer.clock.note(1_000)
    monkeypatch.setattr(reclaiming, "_READ_CLOCK_AFTER", -1.0)
    backend._broker._reclaimer._next_scan = 0.0
    before = server_ms(client)

    backend.claim("w", 1, 0)

    assert backend._broker._reclaimer.clock() >= before
