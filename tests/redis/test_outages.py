"""A server that goes away during a wait, at any moment, and comes back with its data."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from types import SimpleNamespace
from typing import Any

import pytest

from pyxqueue import AsyncResult, BrokerUnavailableError, TaskQueue, agather, gather
from pyxqueue.client.waiting import Limit, Steps, arun, run
from pyxqueue.testing import drain
from pyxqueue.testing.servers import Server
from tests.conftest import kinds_to_test

Handle = AsyncResult[Any]


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(kinds_to_test()[0], args=("--appendonly", "yes", "--appendfsync", "always")) as server:
        yield server


async def awatch(handle: Handle) -> object:
    async for _ in handle.watch():
        pass
    return await handle


def watch(handle: Handle) -> object:
    for _ in handle.watch():
        pass
    return handle.get()


WAITS: list[Callable[[Handle], object]] = [
    lambda handle: handle.get(),
    lambda handle: asyncio.run(handle.aget()),
    watch,
    lambda handle: asyncio.run(awatch(handle)),
    lambda handle: gather([handle])[0],
    lambda handle: asyncio.run(agather([handle]))[0],
]


@pytest.mark.parametrize("wait", WAITS, ids=["get", "await", "watch", "async watch", "gather", "agather"])
@pytest.mark.parametrize("begins", ["before the first answer", "before the hint", "after the hint"])
def test_a_wait_without_a_limit_outlives_an_outage(
    server: Server, monkeypatch: pytest.MonkeyPatch, wait: Callable[[Handle], object], begins: str
) -> None:
    """Whenever the outage begins: the look for workers has no deadline."""
    monkeypatch.setattr("pyxqueue.backends.redis.steps.RECHECK", 0.1)
    monkeypatch.setattr("pyxqueue.client.waiting._SILENCE", 10 if begins == "after the hint" else 600)
    asked, hinted, borne = threading.Event(), threading.Event(), threading.Event()
    monkeypatch.setattr("pyxqueue.client.waiting.log.warning", lambda *_: hinted.set())
    next_look, retry_pause = Limit.next_look, Limit.retry_pause

    def look(self: Limit, slice_ms: int | None) -> float | None:
        asked.set()
        return next_look(self, slice_ms)

    def put_up_with(self: Limit, error: BrokerUnavailableError, began: float) -> float:
        borne.set()
        return retry_pause(self, error, began)

    monkeypatch.setattr(Limit, "next_look", look)
    monkeypatch.setattr(Limit, "retry_pause", put_up_with)
    with closing(TaskQueue(server.url, stream_key="away")) as queue, ThreadPoolExecutor(1) as threads:
        handle = queue.task(name="work")(lambda: "done")()
        if begins == "before the first answer":
            server.kill()
        waiting = threads.submit(wait, handle)
        assert (hinted if begins == "after the hint" else asked).wait(20)
        server.kill()
        assert borne.wait(20)
        server.restart()
        drain(queue)
        assert waiting.result(20) == "done"


def test_a_wait_ends_when_the_store_stays_away(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a limited time it raises the error of the store."""
    monkeypatch.setattr("pyxqueue.client.waiting.PATIENCE", 0.01)
    with closing(TaskQueue(server.url, stream_key="away")) as queue:
        handle = queue.task(name="work")(lambda: "done")()
        server.kill()
        for wait in WAITS[:2]:
            with pytest.raises(BrokerUnavailableError):
                wait(handle)


class Failing:
    """A request to a store that fails after so many seconds, each time it is sent, and then is answered."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *seconds: float) -> None:
        self._seconds, self._now = list(seconds), 1_000.0
        clock = SimpleNamespace(monotonic=lambda: self._now, sleep=lambda _: None)
        monkeypatch.setattr("pyxqueue.client.waiting.time", clock)
        monkeypatch.setattr("pyxqueue.client.waiting._OUTAGE_PAUSE", 0.0)

    def ask(self) -> str:
        if not self._seconds:
            return "answer"
        self._now += self._seconds.pop(0)
        raise BrokerUnavailableError("down")

    async def aask(self) -> str:
        return self.ask()

    def send(self, *, in_asyncio: bool) -> str:
        def steps() -> Steps[str]:
            return (yield self)  # type: ignore[no-any-return] # a reply may be anything

        limit = Limit("", None, None, None, False, False)
        return asyncio.run(arun(steps(), limit)) if in_asyncio else run(steps(), limit)


@pytest.mark.parametrize("in_asyncio", [False, True])
def test_a_wait_outlives_a_second_outage(monkeypatch: pytest.MonkeyPatch, in_asyncio: bool) -> None:
    """The time in between, in which the wait itself is the request under way, does not count."""
    assert Failing(monkeypatch, 5, 5, 65, 5, 5).send(in_asyncio=in_asyncio) == "answer"


@pytest.mark.parametrize("in_asyncio", [False, True])
def test_requests_that_all_fail_are_one_outage(monkeypatch: pytest.MonkeyPatch, in_asyncio: bool) -> None:
    """However long each of them takes, up to the longest that one can take."""
    with pytest.raises(BrokerUnavailableError):
        Failing(monkeypatch, 5, 11, 11, 11).send(in_asyncio=in_asyncio)
