"""A program that publishes very often on a queue's channel keeps no waiter beyond its timeout, and fills no memory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from types import SimpleNamespace
from typing import Any

import pytest

from pyxqueue.backends.redis import ConnectionConfig, RedisBackend, inspector, results, steps
from pyxqueue.backends.redis.aio import AsyncRedisProducer
from pyxqueue.backends.redis.steps import Inbox, Sleep
from pyxqueue.model.message import Message
from pyxqueue.protocols import StoreOptions

TIMEOUT = 100
LOOKS = 5_000
"""More than anybody needs until the timeout."""


@pytest.fixture
def backend(redis_url: str, stream_key: str) -> Iterator[RedisBackend]:
    config = ConnectionConfig.from_url(redis_url)
    with closing(RedisBackend(config, StoreOptions(stream_key), reclaim_after=0)) as backend:
        backend.enqueue([Message("one", "job")])
        yield backend


def publish_with_each_look(backend: RedisBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    for room, name in ((results, "look"), (inspector, "look"), (inspector, "show")):
        monkeypatch.setattr(room, name, published_with_each_look(backend, getattr(room, name)))


def published_with_each_look(backend: RedisBackend, look: Callable[..., Any]) -> Callable[..., Any]:
    looks: list[None] = []

    def wrapped(*args: Any, **options: Any) -> Any:
        looks.append(None)
        assert len(looks) < LOOKS, "it never ends"
        for _ in range(3):
            backend._notifier._channel.tell("one")
        return look(*args, **options)

    return wrapped


@pytest.mark.parametrize("way", ["wait", "watch"])
def test_a_wait_ends_at_its_timeout(backend: RedisBackend, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """It does however often its task is published."""
    (seen,) = backend.show(["one"])
    publish_with_each_look(backend, monkeypatch)

    if way == "wait":
        assert backend.wait(["one"], TIMEOUT) == [None]
    else:
        assert backend.watch("one", seen, TIMEOUT) == seen


@pytest.mark.parametrize("way", ["wait", "watch"])
def test_a_wait_on_an_event_loop_ends_at_its_timeout(
    backend: RedisBackend, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """The same in asyncio."""
    (seen,) = backend.show(["one"])
    producer = backend.asynchronous()
    assert isinstance(producer, AsyncRedisProducer)
    publish_with_each_look(backend, monkeypatch)

    if way == "wait":
        assert asyncio.run(producer.wait(["one"], TIMEOUT)) == [None]
    else:
        assert asyncio.run(producer.watch("one", seen, TIMEOUT)) == seen


def test_an_inbox_keeps_each_id_once() -> None:
    """However often it is put in."""
    inbox = Inbox()
    for _ in range(100_000):
        inbox.put("one")
    inbox.put("two")

    assert inbox.take(None) == {"one": b"", "two": b""}
    assert inbox.take(time.monotonic()) == {None: b""}


def test_an_inbox_keeps_what_was_published_last() -> None:
    """What ended may have been deleted since."""
    inbox = Inbox()
    inbox.put("one", b"ended")
    inbox.put("one")

    assert inbox.take(None) == {"one": b""}


def test_a_wake_up_that_comes_late_ends_no_wait(backend: RedisBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its id was returned by an earlier wait."""
    tell = backend._notifier._channel.tell

    @asynccontextmanager
    async def timeout_and_tell(seconds: float) -> AsyncIterator[None]:
        monkeypatch.undo()
        async with asyncio.timeout(seconds):
            yield
        tell("two")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        await backend.asynchronous().watch("one", None, 20_000)  # from here on it is subscribed
        with backend._notifier.watching(["one", "two"]) as (inbox, _):
            patched = SimpleNamespace(**vars(asyncio) | {"timeout": timeout_and_tell})
            monkeypatch.setattr(steps, "asyncio", patched)
            loop.call_soon(tell, "one")
            assert await Sleep(inbox, None).asleep() == {"one": b"", "two": b""}

            later = asyncio.ensure_future(Sleep(inbox, None).asleep())
            for _ in range(20):
                await asyncio.sleep(0)
            assert not later.done()
            tell("one")
            assert await later == {"one": b""}

    asyncio.run(main())
