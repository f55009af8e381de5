"""Claiming from several queues of one server with one command. The laws Q1 to Q4 are tested by the contract kit."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any

import pytest
from redis import Redis

from pyxqueue.backends.redis import ConnectionConfig, RedisBackend, together
from pyxqueue.backends.redis.together import RedisSharedClaims
from pyxqueue.errors import BrokerUnavailableError
from pyxqueue.model.message import Delivery, Done, Message, Retry, Settlement
from pyxqueue.protocols import HasSharedClaims, StoreOptions
from pyxqueue.testing.servers import Server
from tests.conftest import kinds_to_test
from tests.support.redis_counts import calls
from tests.support.until import until


@pytest.fixture
def names(stream_key: str) -> list[str]:
    """Three queues of this test."""
    return [stream_key, f"{stream_key}-second", f"{stream_key}-third"]


@pytest.fixture
def queues(redis_url: str, names: Sequence[str]) -> Iterator[list[RedisBackend]]:
    config = ConnectionConfig.from_url(redis_url)
    backends = [RedisBackend(config, StoreOptions(name), reclaim_after=0) for name in names]
    for backend in backends:
        backend.lease_ms()
    yield backends
    for backend in backends:
        backend.close()


@pytest.fixture
def shared(queues: Sequence[RedisBackend]) -> Iterator[RedisSharedClaims]:
    with closing(queues[0].shared_claims(queues)) as one:
        yield one


def put(backend: RedisBackend, *ids: str) -> None:
    backend.enqueue([Message(task_id, "job") for task_id in ids])


def ids(found: Sequence[Sequence[Delivery]]) -> list[list[str]]:
    return [[one.message.id for one in deliveries] for deliveries in found]


def test_one_wait_for_all(
    queues: Sequence[RedisBackend], shared: RedisSharedClaims, client: Any, names: Sequence[str]
) -> None:
    """It ends as soon as one of the queues has a message."""
    found: list[Sequence[Sequence[Delivery]]] = []
    shared.claim("me", 1, 0, [0, 1, 2])
    thread = threading.Thread(target=lambda: found.append(shared.claim("me", 5, 2_000, [0, 1, 2])))
    thread.start()
    until(lambda: any(one["cmd"] == "xreadgroup" and "b" in one["flags"] for one in client.client_list()), "it waits")

    put(queues[2], "late")
    thread.join()

    assert ids(found[0]) == [[], [], ["late"]]


def test_a_class_of_priority_that_comes_into_use(
    queues: Sequence[RedisBackend], shared: RedisSharedClaims, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next look notices it, and its messages come first."""
    monkeypatch.setattr(together, "_LOOK_EVERY", 0.0)
    shared.claim("me", 1, 0, [0, 1, 2])
    with closing(RedisBackend(queues[1]._session.config, queues[1].options)) as producer:
        producer.enqueue([Message("usual", "job"), Message("urgent", "job", priority=100)])

    assert ids(shared.claim("me", 1, 0, [0, 1, 2])) == [[], ["urgent"], []]
    assert ids(shared.claim("me", 1, 1, [0, 1, 2])) == [[], ["usual"], []]


def test_an_interrupt_ends_the_wait(shared: RedisSharedClaims) -> None:
    """Also one that comes before the wait."""
    shared.claim("me", 1, 0, [0, 1, 2])
    shared.interrupt()

    assert ids(shared.claim("me", 1, 2_000, [0, 1, 2])) == [[], [], []]


def test_who_can_be_claimed_from_together(redis_url: str, stream_key: str, queues: Sequence[RedisBackend]) -> None:
    """Queues with one server, one login and the same name of the group."""
    config = ConnectionConfig.from_url(redis_url)
    group = RedisBackend(config, StoreOptions(stream_key, "other"))
    database = RedisBackend(ConnectionConfig.from_url(f"{redis_url}?db=1"), StoreOptions(stream_key))

    assert isinstance(queues[0], HasSharedClaims)
    assert queues[0].claim_key() == queues[1].claim_key()
    assert queues[0].claim_key() != group.claim_key()
    assert queues[0].claim_key() != database.claim_key()


def test_a_server_that_is_gone(names: Sequence[str]) -> None:
    """It is `BrokerUnavailableError`, and works again when the server is back."""
    with Server(kinds_to_test()[0]) as server:
        config = ConnectionConfig.from_url(server.url)
        backends = [RedisBackend(config, StoreOptions(name)) for name in names]
        with closing(backends[0].shared_claims(backends)) as shared:
            shared.claim("me", 1, 0, [0, 1, 2])
            server.kill()
            with pytest.raises(BrokerUnavailableError):
                shared.claim("me", 1, 0, [0, 1, 2])
            server.restart()
            put(backends[1], "back")
            assert ids(shared.claim("me", 1, 0, [0, 1, 2])) == [[], ["back"], []]
        for backend in backends:
            backend.close()


@pytest.fixture
def counted(names: Sequence[str]) -> Iterator[tuple[list[RedisBackend], Callable[[], int]]]:
    """Queues on a server whose commands nobody else counts up."""
    with Server(kinds_to_test()[0]) as server, Redis.from_url(server.url, protocol=2) as client:
        config = ConnectionConfig.from_url(server.url)
        backends = [RedisBackend(config, StoreOptions(name)) for name in names]
        yield backends, lambda: sum(number for name, number in calls(client).items() if name != "info")
        for backend in backends:
            backend.close()


@pytest.mark.parametrize("wait_ms", [0, 1])
def test_an_idle_queue_costs_no_command(counted: tuple[list[RedisBackend], Callable[[], int]], wait_ms: int) -> None:
    """However many are asked, it is one command."""
    backends, count = counted
    with closing(backends[0].shared_claims(backends)) as shared:
        for _ in range(2):
            shared.claim("me", 1, wait_ms, [0, 1, 2])
        before = count()
        shared.claim("me", 1, wait_ms, [0, 1, 2])

        assert count() - before == 1


def test_a_look_at_idle_queues(shared: RedisSharedClaims) -> None:
    """Nothing is due at any time (Q4)."""
    assert list(shared.quiet_ms()) == [-1, -1, -1]


def test_a_look_at_busy_queues(queues: Sequence[RedisBackend], shared: RedisSharedClaims) -> None:
    """What is ready or in flight may need maintenance now; what has ended does not."""
    put(queues[0], "ready")
    put(queues[2], "held")
    (held,) = queues[2].claim("me", 1, 0)

    assert list(shared.quiet_ms()) == [0, -1, 0]

    queues[2].settle([Settlement(held.receipt, Done())])
    assert list(shared.quiet_ms()) == [0, -1, -1]


def test_a_look_at_what_came_back(queues: Sequence[RedisBackend], shared: RedisSharedClaims) -> None:
    """It stands in a stream of its own."""
    put(queues[1], "again")
    queues[1].settle([Settlement(one.receipt, Retry()) for one in queues[1].claim("me", 1, 0)])

    assert list(shared.quiet_ms()) == [-1, 0, -1]


def test_a_look_at_delayed_messages(queues: Sequence[RedisBackend], shared: RedisSharedClaims) -> None:
    """Until the first one is due."""
    queues[1].enqueue([Message("later", "job", delay_ms=90_000), Message("soon", "job", delay_ms=60_000)])

    nothing, left, none = shared.quiet_ms()

    assert (nothing, none) == (-1, -1)
    assert 50_000 < left <= 60_001


def test_a_look_at_a_message_that_expires(queues: Sequence[RedisBackend], shared: RedisSharedClaims) -> None:
    """It may do so before it is due."""
    queues[0].enqueue([Message("later", "job", delay_ms=90_000, lifetime_ms=30_000)])

    left, *_ = shared.quiet_ms()

    assert 20_000 < left <= 30_001


def test_a_look_at_planted_keys(queues: Sequence[RedisBackend], shared: RedisSharedClaims, client: Any) -> None:
    """What another program has put there may need maintenance, or not; the look does not fail."""
    keys = queues[1]._registration.keys
    client.set(keys.delayed, "planted")
    assert list(shared.quiet_ms()) == [-1, 0, -1]

    client.delete(keys.delayed, keys.again)
    client.set(keys.again, "planted")
    assert list(shared.quiet_ms()) == [0, 0, 0]
    client.delete(keys.again)


def test_a_look_costs_the_same_for_any_number(
    counted: tuple[list[RedisBackend], Callable[[], int]],
) -> None:
    """One script, with three calls in it."""
    backends, count = counted
    with closing(backends[0].shared_claims(backends)) as shared:
        shared.quiet_ms()
        before = count()
        shared.quiet_ms()

        assert count() - before == 4
