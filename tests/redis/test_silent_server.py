"""A server that is there and does not answer: a wait with a timeout lasts no longer than that."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from redis import Redis

from pyxqueue import AsyncResult, BrokerUnavailableError, ResultTimeoutError, TaskQueue, UnknownTaskError
from pyxqueue.backends.redis import RedisBackend
from pyxqueue.backends.redis.aio import AsyncRedisProducer
from pyxqueue.backends.redis.session import REPLY_TIMEOUT, Session
from pyxqueue.testing.servers import Server
from tests.conftest import kinds_to_test
from tests.support.until import until

SOON = REPLY_TIMEOUT - 1
"""Seconds within which a wait of half a second ends, though the driver alone would wait longer."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(kinds_to_test()[0]) as server:
        yield server


@pytest.fixture
def handle(server: Server) -> Iterator[AsyncResult[Any]]:
    """A task that is not run."""
    queue = TaskQueue(server.url, stream_key="silent")
    yield queue.task(name="never")(lambda: None)()
    queue.close()


def get(handle: AsyncResult[Any]) -> None:
    handle.get(0.5)


def await_(handle: AsyncResult[Any]) -> None:
    asyncio.run(handle.aget(0.5))


@pytest.mark.parametrize("wait", [get, await_])
def test_a_wait_on_a_silent_server(
    server: Server, handle: AsyncResult[Any], wait: Callable[[AsyncResult[Any]], None]
) -> None:
    """It ends at its timeout, and says that the store is silent."""
    server.pause()

    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(wait, handle)
        with pytest.raises(ResultTimeoutError, match=r"within 0\.5 s, or the store could not report it: the store at"):
            waiting.result(SOON)


def test_a_server_that_falls_silent_during_a_wait(server: Server, handle: AsyncResult[Any]) -> None:
    """The look at the end of the time is as short as the first one."""
    with ThreadPoolExecutor(1) as threads, Redis.from_url(server.url, protocol=2) as client:
        waiting = threads.submit(handle.get, 1.5)
        until(lambda: any(one["cmd"] == "subscribe" for one in client.client_list()), "the waiter listens")
        server.pause()
        with pytest.raises(ResultTimeoutError, match="or the store could not report it"):
            waiting.result(SOON)


def test_a_look_at_a_server_that_is_gone(server: Server, handle: AsyncResult[Any]) -> None:
    """It raises an error: a task that cannot be seen must not look like one that has not ended."""
    server.kill()

    with pytest.raises(BrokerUnavailableError):
        handle(block=False)


def test_a_wait_outlives_a_restart(server: Server, handle: AsyncResult[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes on while the server is away; here the server comes back, and knows no task any more."""
    failed, results = threading.Event(), handle._reader.backend
    assert isinstance(results, RedisBackend)
    look = Session.run

    def noted(self: Session, *args: Any) -> Any:
        try:
            return look(self, *args)
        except BrokerUnavailableError:
            failed.set()
            raise

    monkeypatch.setattr(Session, "run", noted)
    with ThreadPoolExecutor(1) as threads, Redis.from_url(server.url, protocol=2) as client:
        waiting = threads.submit(handle.get, 40)
        until(lambda: any(one["cmd"] == "subscribe" for one in client.client_list()), "the waiter listens")
        server.kill()
        results._notifier._channel.tell(None)  # as if it had been woken just before
        assert failed.wait(20)
        server.restart()
        with pytest.raises(UnknownTaskError):
            waiting.result(20)


def test_an_await_outlives_a_restart(server: Server, handle: AsyncResult[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The same in asyncio."""
    failed, results = threading.Event(), handle._reader.backend
    assert isinstance(results, RedisBackend)
    look = AsyncRedisProducer._run

    async def noted(self: AsyncRedisProducer, *args: Any) -> Any:
        try:
            return await look(self, *args)
        except BrokerUnavailableError:
            failed.set()
            raise

    monkeypatch.setattr(AsyncRedisProducer, "_run", noted)
    with ThreadPoolExecutor(1) as threads, Redis.from_url(server.url, protocol=2) as client:
        waiting = threads.submit(lambda: asyncio.run(handle.aget(40)))
        until(lambda: any(one["cmd"] == "subscribe" for one in client.client_list()), "the waiter listens")
        server.kill()
        results._notifier._channel.tell(None)  # as if it had been woken just before
        assert failed.wait(20)
        server.restart()
        with pytest.raises(UnknownTaskError):
            waiting.result(20)
