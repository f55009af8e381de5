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


@pytest.mark.parametrize(("size", "looks"), [(8_000, 1), (9_000, 2)])
def test_a_wait_of_a_process_that_is_subscribed(listens: Side, size: int, looks: int) -> None:
    """One call looks and asks to be told. A small record is told too; a second call reads a large one."""
    delivery = claimed(listens.backend, R2)
    before = listens.calls
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(listens.wait, ["a"], None)
        until(lambda: listens.calls > before, "it has looked")
        settled(listens.backend, R2, done(delivery, value=b"1" * size))
        (told,) = waiting.result()

    assert listens.calls - before == looks + 1  # and the settlement
    assert told is not None
    assert [told] == listens.backend.wait(["a"], 0)
    assert told.value == b"1" * size


@pytest.mark.parametrize(
    "published",
    [
        pytest.param("{id}", id="an older program"),
        pytest.param("{id} {early}", id="stored before the last look"),
        pytest.param("{id} h1-1 {late} 86400000 5 5:state1:9", id="damaged"),
        pytest.param("{id} n1-1", id="not ended"),
        pytest.param("{id} and something else", id="foreign"),
    ],
)
def test_what_is_published_without_a_record_is_looked_up(listens: Side, client: Any, published: str) -> None:
    """Anyone may publish on the channel."""
    delivery = claimed(listens.backend, R2)
    key = f"{{{listens.backend.options.stream_key}}}:cg:task:a"
    (channel,) = client.pubsub_channels(f"*{listens.backend.options.stream_key}*")
    text = published.format(id="a", early="h1-1 1700000000000 86400000 5 5:value2:42", late=99 * 10**12)
    before = listens.calls
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(listens.wait, ["a"], None)
        until(lambda: listens.calls > before and b"+" in client.get(key), "it has looked")
        client.publish(channel, text)
        until(lambda: listens.calls > before + 1, "it has looked again")
        settled(listens.backend, R2, done(delivery))
        assert waiting.result() == listens.backend.wait(["a"], 0)


def test_a_client_of_an_older_program_is_told_the_id_alone(side: Side, client: Any) -> None:
    """Its channel has no `+`. The record is told to the other clients all the same."""
    delivery = claimed(side.backend, R2)
    queue = side.backend.options.stream_key
    key, older, newer = f"{{{queue}}}:cg:task:a", f"{{{queue}}}:wake:older", f"{{{queue}}}:wake:+newer"
    client.set(key, b"n+" + client.get(key)[1:])
    client.hset(f"{{{queue}}}:cg:notes", "waiters:a", f"{older},{newer}")
    with client.pubsub(ignore_subscribe_messages=True) as ears:
        ears.subscribe(older, newer)
        settled(side.backend, R2, done(delivery))
        client.publish(older, "end")

        heard: list[bytes] = []
        while b"end" not in heard:
            if one := ears.get_message(timeout=5):
                heard.append(one["data"])
    assert heard == [b"a", b"a " + client.get(key), b"end"]


def test_a_wait_in_vain(listens: Side) -> None:
    """One call at its begin, one at its end."""
    claimed(listens.backend, R2)

    assert listens.cost(lambda: listens.wait(["a"], 50)) == 2


def test_an_idle_worker_reads_once_for_each_wait(backend: RedisBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """From its second claim on: the first has to be seen, too."""
    reads = []
    execute = backend._broker._reader.execute

    def count(*args: str | int) -> Any:
        reads.append("BLOCK" in args)
        return execute(*args)

    monkeypatch.setattr(backend._broker._reader, "execute", count)
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
