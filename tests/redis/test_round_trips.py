"""How many round trips a wait takes, in threads and in asyncio: one for each time that it has to look."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from pyxqueue.backends.redis import RedisBackend
from pyxqueue.backends.redis.aio import AsyncRedisProducer
from pyxqueue.backends.redis.steps import Execute
from pyxqueue.model.message import Message, Record
from pyxqueue.testing.contract.laws import law
from pyxqueue.testing.contract.steps import claimed, done, settled
from tests.support.until import until

R2 = law("R2")


class Side:
    """One of the two sides of a backend, and the number of replies that it has got."""

    def __init__(self, backend: RedisBackend, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
        self.backend = backend
        self.way = way
        self.calls = 0
        execute, aexecute = backend._session.execute, AsyncRedisProducer._execute

        def count(*args: Any, **options: Any) -> Any:
            reply = execute(*args, **options)
            self.calls += 1
            return reply

        async def acount(side: AsyncRedisProducer, request: Execute) -> Any:
            reply = await aexecute(side, request)
            self.calls += 1
            return reply

        monkeypatch.setattr(backend._session, "execute", count)
        monkeypatch.setattr(AsyncRedisProducer, "_execute", acount)

    def wait(self, ids: Sequence[str], timeout_ms: int | None) -> Sequence[Record | None]:
        if self.way == "thread":
            return self.backend.wait(ids, timeout_ms)
        return asyncio.run(self._wait(ids, timeout_ms))

    async def _wait(self, ids: Sequence[str], timeout_ms: int | None) -> Sequence[Record | None]:
        return await self.backend.asynchronous().wait(ids, timeout_ms)

    def cost(self, action: Callable[[], object]) -> int:
        before = self.calls
        action()
        return self.calls - before


@pytest.fixture(params=["thread", "asyncio"])
def side(backend: RedisBackend, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Side:
    return Side(backend, monkeypatch, request.param)


@pytest.fixture
def listens(side: Side, client: Any) -> Side:
    """It is subscribed, as it is from its first wait for a record that was not there."""
    with ThreadPoolExecutor(1) as threads:
        delivery = claimed(side.backend, R2, "first")
        waiting = threads.submit(side.wait, ["first"], None)
        until(lambda: client.pubsub_channels(f"*{side.backend.options.stream_key}*"), "it is subscribed")
        settled(side.backend, R2, done(delivery))
        assert waiting.result()
    return side


def test_a_record_that_is_there_needs_no_subscription(side: Side, client: Any) -> None:
    """One call reads it."""
    settled(side.backend, R2, done(claimed(side.backend, R2)))

    assert side.cost(lambda: side.wait(["a"], None)) == 1
    assert not client.pubsub_channels(f"*{side.backend.options.stream_key}*")


def test_a_wait_of_a_process_that_is_subscribed(listens: Side) -> None:
    """One call looks and asks to be told, a second one reads the record."""
    delivery = claimed(listens.backend, R2)
    before = listens.calls
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(listens.wait, ["a"], None)
        until(lambda: listens.calls > before, "it has looked")
        settled(listens.backend, R2, done(delivery))
        assert waiting.result()[0] is not None

    assert listens.calls - before == 2 + 1  # and the settlement


def test_a_wait_in_vain(listens: Side) -> None:
    """One call at its begin, one at its end."""
    claimed(listens.backend, R2)

    assert listens.cost(lambda: listens.wait(["a"], 50)) == 2


def test_an_idle_worker_reads_once_for_each_wait(backend: RedisBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """From its second claim on: the first has to be seen, too."""
    reads = []
    read = backend._broker._reader.read

    def count(args: Sequence[str | int]) -> Any:
        reads.append("BLOCK" in args)
        return read(args)

    monkeypatch.setattr(backend._broker._reader, "read", count)
    backend.claim("w", 1, 1)
    assert reads == [False, True]

    reads.clear()
    backend.claim("w", 1, 1)
    assert reads == [True]

    reads.clear()
    backend.interrupt()
    backend.claim("w", 1, 60_000)
    assert reads == [False]

    reads.clear()
    backend.enqueue([Message("one", "job")])
    assert len(backend.claim("w", 1, 60_000)) == 1
    assert reads == [True]
