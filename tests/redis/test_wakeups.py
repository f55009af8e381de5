"""Wake-ups: a supervisor that sleeps is told of a delayed message that is due before all others."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from typing import Any

import fakeredis
import pytest

from pyxqueue.backends.redis import ConnectionConfig, RedisBackend, reclaiming, wakeups
from pyxqueue.backends.redis.wakeups import RedisWakeups
from pyxqueue.model.message import Defer, Message, Retry, Settlement
from pyxqueue.protocols import StoreOptions
from tests.supervisor.test_supervisor import Starter, live, supervise
from tests.support.hearing import hear
from tests.support.until import until

AGES = 10**9
"""A lease in ms that ends after every test."""


def channel_of(stream_key: str) -> str:
    return f"{{{stream_key}}}:cg:delayed"


@pytest.fixture
def ears(backend: RedisBackend) -> RedisWakeups:
    """They listen, and the begin of that is heard."""
    backend.maintain(1)
    found = backend.wakeups()
    assert found.listen() > 0
    assert hear(found) == 0
    return found


def test_a_message_that_is_due_first_is_a_wake_up(backend: RedisBackend, ears: RedisWakeups) -> None:
    """It says how many ms are left, whatever delays the message."""
    backend.enqueue([Message("a", "job", delay_ms=900_000)])
    assert hear(ears) == 900_000

    for delay, verdict in ((800_000, Retry(800_000)), (700_000, Defer(700_000))):
        backend.enqueue([Message(f"b{delay}", "job")])
        (held,) = backend.claim("one", 1, 0)
        backend.settle([Settlement(held.receipt, verdict)])
        assert hear(ears) == delay

    (task,) = backend.show(["a"])
    assert task is not None
    backend.delete([task.id, "b800000", "b700000"])
    backend.adopt([task])
    assert 0 < hear(ears) <= 900_000


def test_nothing_else_is_a_wake_up(backend: RedisBackend, client: Any, stream_key: str) -> None:
    """A message that is due later than another one, or at once, costs no publication."""
    with client.pubsub() as listener:
        listener.subscribe(channel_of(stream_key))
        until(listener.get_message, "it is subscribed")
        backend.enqueue([Message("a", "job", delay_ms=50_000), Message("b", "job", delay_ms=60_000)])
        backend.enqueue([Message("now", "job"), Message("c", "job", delay_ms=40_000)])

        heard = [until(listener.get_message, "a wake-up")["data"] for _ in range(2)]

        assert heard == [b"50000", b"40000"]
        assert listener.get_message() is None


@pytest.mark.parametrize("data", [b"", b"soon", b"-5", b"9" * 17, "٣"], ids=repr)
def test_what_others_publish(ears: RedisWakeups, client: Any, stream_key: str, data: object) -> None:
    """A wake-up that is no number of ms means that the supervisor is to look now."""
    client.publish(channel_of(stream_key), data)

    assert hear(ears) == 0


def test_a_subscription_that_breaks(
    backend: RedisBackend, ears: RedisWakeups, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of it is a wake-up, and so is the next begin, which does not come at once."""
    assert ears._subscription is not None
    assert ears._subscription.socket is not None
    host, port = ears._subscription.socket.getsockname()
    client.client_kill(f"{host}:{port}")

    assert hear(ears) == 0
    assert ears.fileno() == -1
    assert ears.listen() == 0

    monkeypatch.setattr(wakeups, "_OPEN_EVERY", 0)
    ears._next_open = 0.0
    assert ears.listen() > 0
    assert hear(ears) == 0
    backend.enqueue([Message("a", "job", delay_ms=900_000)])
    assert hear(ears) == 900_000


def test_a_login_that_may_neither_publish_nor_subscribe(redis_url: str, stream_key: str, client: Any) -> None:
    """Messages can be delayed; the supervisor learns that it must look by itself."""
    user = f"deaf-{stream_key}"
    client.acl_setuser(user, enabled=True, nopass=True, commands=["+@all"], keys=["*"], reset_channels=True)
    config = ConnectionConfig.from_url(redis_url.replace("://", f"://{user}:x@"))
    try:
        with closing(RedisBackend(config, StoreOptions(stream_key), reclaim_after=0)) as backend:
            assert backend.enqueue([Message("a", "job", delay_ms=900_000)]) == [True]
            assert backend.maintain(1) > 0
            ears = backend.wakeups()
            if ears.listen():
                assert hear(ears) == 0
            assert ears.listen() == 0
            assert backend.depth().delayed == 1
    finally:
        client.acl_deluser(user)


def test_a_forked_process_closes_its_copy(backend: RedisBackend, ears: RedisWakeups) -> None:
    """The subscription of the parent goes on."""
    pid = os.fork()
    if pid == 0:
        backend.close()
        os._exit(0 if ears.fileno() == -1 else 1)
    assert os.waitpid(pid, 0)[1] == 0

    backend.enqueue([Message("a", "job", delay_ms=900_000)])
    assert hear(ears) == 900_000


def test_a_server_without_a_socket() -> None:
    """Nobody can wait on it."""
    config = ConnectionConfig.from_client(fakeredis.FakeRedis(protocol=2))
    with closing(RedisBackend(config, StoreOptions("fake"))) as backend:
        backend.maintain(1)

        assert backend.wakeups().listen() == 0
        assert backend.wakeups().fileno() == -1


def enqueued(backend: RedisBackend) -> None:
    backend.enqueue([Message("late", "job", delay_ms=AGES), Message("soon", "job", delay_ms=20)])


def retried(backend: RedisBackend) -> None:
    backend.enqueue([Message("soon", "job")])
    (held,) = backend.claim("one", 1, 0)
    backend.settle([Settlement(held.receipt, Retry(20))])


@pytest.mark.parametrize("delay", [enqueued, retried])
def test_a_sleeping_supervisor_hears_of_a_short_delay(
    redis_url: str, stream_key: str, monkeypatch: pytest.MonkeyPatch, delay: Callable[[RedisBackend], None]
) -> None:
    """The message becomes ready although the supervisor would have slept for ages."""
    monkeypatch.setattr(reclaiming, "_LONGEST_PERIOD", AGES)
    config, options = ConnectionConfig.from_url(redis_url), StoreOptions(stream_key, lease_ms=4 * AGES)
    looks: list[int] = []
    with closing(RedisBackend(config, options)) as sleeper, closing(RedisBackend(config, options)) as backend:
        maintain = sleeper.maintain

        def look(limit: int) -> int:
            looks.append(maintain(limit))
            return looks[-1]

        monkeypatch.setattr(sleeper, "maintain", look)

        def hears_in_its_sleep() -> bool:
            until(lambda: len(looks) == 2, "it has looked, has subscribed and has looked again: now it sleeps")
            delay(backend)
            found = until(lambda: backend.claim("two", 1, 10), "the delayed message is ready")
            return [one.message.id for one in found] == ["soon"]

        supervise(Starter(live), sleeper, hears_in_its_sleep)  # type: ignore[arg-type] # the tests' fake has its place

    assert looks[:2] == [-1, -1]
