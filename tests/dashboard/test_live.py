"""Changes that are pushed to open pages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

import pytest

from pyxqueue import TaskQueue
from pyxqueue.dashboard import Access, Dashboard
from pyxqueue.dashboard.live import LOST, Hub
from pyxqueue.dashboard.threads import BusyError, StoreThreads
from pyxqueue.errors import BrokerUnavailableError


class Source:
    """What a hub looks at; each look waits until the test lets it go."""

    def __init__(self) -> None:
        self.looks = 0
        self.texts: Mapping[str, str] = {"a": "1", "b": "1"}
        self.error: Exception | None = None
        self.may_look = asyncio.Semaphore(0)

    async def look(self) -> Mapping[str, str]:
        await self.may_look.acquire()
        self.looks += 1
        if self.error is not None:
            raise self.error
        return self.texts


async def first(stream: AsyncGenerator[Mapping[str, str]]) -> Mapping[str, str]:
    return await anext(stream)


def test_ten_listeners_cost_one_look() -> None:
    """All get the same, and each only what has changed."""

    async def listen() -> None:
        source = Source()
        hub = Hub(source.look, 0)
        streams = [hub.changes() for _ in range(10)]
        waiting = [asyncio.create_task(first(stream)) for stream in streams]
        source.may_look.release()
        assert await asyncio.gather(*waiting) == [{"a": "1", "b": "1", LOST: ""}] * 10
        source.texts = {"a": "1", "b": "2"}
        waiting = [asyncio.create_task(first(stream)) for stream in streams]
        source.may_look.release()
        assert await asyncio.gather(*waiting) == [{"b": "2"}] * 10
        assert source.looks == 2
        for stream in streams:
            await stream.aclose()

    asyncio.run(listen())


def test_nobody_looks_while_nobody_listens() -> None:
    """Neither before the first listener, nor after the last."""

    async def listen() -> None:
        source = Source()
        hub = Hub(source.look, 0)
        assert hub.looks == 0
        async with aclosing(hub.changes()) as stream:
            source.may_look.release()
            await anext(stream)
            for _ in range(100):
                source.may_look.release()
        seen = hub.looks
        for _ in range(20):
            await asyncio.sleep(0)
        assert hub.looks == seen
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(listen())


def test_a_stream_ends_when_the_hub_is_closed() -> None:
    """A server that stops does not wait for open pages."""

    async def listen() -> None:
        source = Source()
        hub = Hub(source.look, 0)
        stream = hub.changes()
        source.may_look.release()
        await anext(stream)
        waiting = asyncio.create_task(first(stream))
        await asyncio.sleep(0)
        hub.close()
        with pytest.raises(StopAsyncIteration):
            await waiting

    asyncio.run(listen())


@pytest.mark.parametrize("steps", range(8))
def test_a_stream_that_is_cancelled_when_there_is_news(steps: int) -> None:
    """It ends, although nothing has changed for this page."""

    async def listen() -> None:
        source = Source()
        hub = Hub(source.look, 60)
        stream = hub.changes()
        source.may_look.release()
        await anext(stream)
        waiting = asyncio.create_task(first(stream))
        await asyncio.sleep(0)
        hub._tell(hub._latest)
        for _ in range(steps):
            await asyncio.sleep(0)
        waiting.cancel()
        for _ in range(10):
            await asyncio.sleep(0)
        assert waiting.cancelled()
        await stream.aclose()

    asyncio.run(listen())


def test_a_store_that_is_down_is_said_and_the_numbers_stay() -> None:
    """Open pages say so, and go on when it is back."""

    async def listen() -> None:
        source = Source()
        async with aclosing(Hub(source.look, 0).changes()) as stream:
            source.may_look.release()
            await anext(stream)
            source.error = BrokerUnavailableError("the store is away")
            source.may_look.release()
            assert await anext(stream) == {LOST: "the store is away"}
            source.error = None
            source.may_look.release()
            assert await anext(stream) == {LOST: ""}

    asyncio.run(listen())


def test_a_store_that_hangs_does_not_take_the_threads_of_the_application() -> None:
    """While all four are busy, another look is refused, and does not run later."""

    async def use() -> None:
        threads, gate, ran = StoreThreads(patience=0.0), asyncio.Event(), []
        loop = asyncio.get_running_loop()

        def hang() -> None:
            asyncio.run_coroutine_threadsafe(gate.wait(), loop).result()

        hanging = [asyncio.create_task(threads.run(hang)) for _ in range(4)]
        while threads.running < 4:  # noqa: ASYNC110 - threads begin when they do
            await asyncio.sleep(0)
        with pytest.raises(BusyError):
            await threads.run(lambda: ran.append(1))
        gate.set()
        await asyncio.gather(*hanging)
        threads.patience = 60.0
        await threads.run(lambda: ran.append(2))
        assert ran == [2]
        threads.close()

    asyncio.run(use())


async def events(app: Dashboard, path: str, count: int) -> list[str]:
    """Return the first events of a stream; then the visitor goes away."""
    found: list[str] = []
    gone = asyncio.Event()

    async def receive() -> Mapping[str, object]:
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Mapping[str, object]) -> None:
        body = message.get("body", b"")
        assert isinstance(body, bytes)
        found.extend(part for part in body.decode().split("\n\n") if part.startswith("event"))
        if len(found) >= count:
            gone.set()

    headers = [(b"host", b"testserver")]
    scope = {"type": "http", "method": "GET", "path": path, "root_path": "", "query_string": b"", "headers": headers,
             "scheme": "http", "http_version": "1.1", "server": ("testserver", 80), "client": ("a", 1),
             "asgi": {"version": "3.0", "spec_version": "2.3"}}  # fmt: skip
    await app(scope, receive, send)  # type: ignore[arg-type] # mappings are enough here
    return found


def test_the_stream_of_a_task_ends_with_it(queue: TaskQueue) -> None:
    """It says first what is there, and what becomes of it."""
    handle = queue.task(name="send")(print)(1)
    app = Dashboard(queue, access=Access.ALL)

    async def watch() -> list[str]:
        stream = asyncio.create_task(events(app, f"/t/mail/cg/{handle.task_id}/events", 3))
        await asyncio.to_thread(handle.cancel)
        return await stream

    found = asyncio.run(watch())

    assert found[-1].startswith("event: end")
    assert "Cancelled" in "".join(found)


def test_the_stream_of_the_overview_has_numbers(queue: TaskQueue) -> None:
    """The hub stops when the page is closed."""
    app = Dashboard(queue, access=Access.READ)

    (event, *_) = asyncio.run(events(app, "/events", 1))

    assert event.startswith("event: change\ndata: {")
    assert app._services.hub._task is None
