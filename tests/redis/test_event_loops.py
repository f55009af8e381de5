"""Event loops that come and go: each has its own client, which ends with it."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import pytest
import redis.asyncio
from redis import Redis

from pyxqueue import BrokerUnavailableError, TaskQueue
from pyxqueue.backends.redis import ConnectionConfig, RedisBackend, inspector
from pyxqueue.backends.redis.registration import Registration
from pyxqueue.backends.redis.steps import Inbox, Sleep, Steps
from pyxqueue.model.message import TaskInfo
from pyxqueue.protocols import StoreOptions
from pyxqueue.testing.contract.laws import law
from pyxqueue.testing.contract.steps import claimed, done, info, settled
from tests.support.until import until

I6 = law("I6")


def test_the_client_of_a_loop_ends_with_it(redis_url: str, stream_key: str) -> None:
    """A program that calls `asyncio.run` many times does not collect connections."""
    queue = TaskQueue(redis_url, stream_key=stream_key)
    task = queue.task(name="job")(lambda: None)
    task()
    with Redis.from_url(redis_url, protocol=2) as client:
        before = {one["id"] for one in client.client_list()}

        for _ in range(5):
            asyncio.run(task.aenqueue())

        until(lambda: {one["id"] for one in client.client_list()} <= before, "their connections are closed")
    assert queue.stores.backend.depth().ready == 6
    queue.close()


class GoneMeanwhile(asyncio.SelectorEventLoop):
    """A closed loop, of which another thread removes the client just when it is looked at."""

    def __init__(self, loops: dict[asyncio.AbstractEventLoop, Any]) -> None:
        super().__init__()
        self.loops = loops

    def is_closed(self) -> bool:
        self.loops.pop(self, None)
        return super().is_closed()


def test_loops_that_end_in_other_threads(redis_url: str, stream_key: str) -> None:
    """A call on a loop that has no client yet is made, although others vanish meanwhile."""
    backend = RedisBackend(ConnectionConfig.from_url(redis_url), StoreOptions(stream_key))
    with closing(backend):
        loops = backend._registration.session.link.loops
        ended = [GoneMeanwhile(loops), GoneMeanwhile(loops)]
        for one in ended:
            one.close()
            loops[one] = None

        assert asyncio.run(shown(backend)) == [None]

        assert not loops


def test_a_queue_that_is_closed_while_its_loop_does_not_run(
    redis_url: str, stream_key: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The end of the loop closes the connections, and waits for that."""
    queue = TaskQueue(redis_url, stream_key=stream_key)
    task = queue.task(name="job")(lambda: None)
    with Redis.from_url(redis_url, protocol=2) as client:
        before = {one["id"] for one in client.client_list()}
        with asyncio.Runner() as runner:
            runner.run(task.aenqueue())
            queue.close()

        until(lambda: {one["id"] for one in client.client_list()} <= before, "its connections are closed")
    gc.collect()
    assert not caplog.records


@pytest.mark.parametrize("steps", range(8))
def test_a_wait_that_is_cancelled_when_there_is_news(steps: int) -> None:
    """It ends, however many steps of the event loop have passed since the news came."""

    async def cancel() -> None:
        inbox = Inbox()
        waiting = asyncio.create_task(Sleep(inbox, None).asleep())
        await asyncio.sleep(0)
        inbox.put("id")
        for _ in range(steps):
            await asyncio.sleep(0)
        was_waiting = waiting.cancel()
        await asyncio.wait([waiting])
        assert waiting.cancelled() is was_waiting

    asyncio.run(cancel())


@pytest.mark.parametrize("steps", range(12))
def test_a_call_that_is_cancelled_while_idle_connections_are_closed(
    redis_url: str, stream_key: str, steps: int
) -> None:
    """Other calls, which wait for the same connections to close, are not cancelled with it, after however many steps of
    the event loop."""
    backend = RedisBackend(ConnectionConfig.from_url(redis_url), StoreOptions(stream_key))

    async def cancel() -> list[object]:
        producer, link = backend.asynchronous(), backend._registration.session.link
        await asyncio.gather(*(producer.show(["a"]) for _ in range(8)))  # which makes several connections
        link.drop_idle()
        first = asyncio.create_task(producer.show(["a"]))
        await asyncio.sleep(0)
        link.drop_idle()
        others = [asyncio.create_task(producer.show(["a"])) for _ in range(4)]
        for _ in range(steps):
            await asyncio.sleep(0)
        was_under_way = first.cancel()
        found = await asyncio.gather(*others, return_exceptions=True)
        await asyncio.wait([first])
        assert first.cancelled() is was_under_way
        return list(found)

    with closing(backend):
        assert asyncio.run(cancel()) == [[None]] * 4


@pytest.mark.parametrize("times", [1, 2])
def test_a_cancellation_of_another_task(
    redis_url: str, stream_key: str, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """A call that the driver cancels with another task is made again, or raises the error of an outage, and is not
    cancelled."""
    backend = RedisBackend(ConnectionConfig.from_url(redis_url), StoreOptions(stream_key))
    raised: list[BaseException] = []

    async def execute(client: Any, *args: Any) -> Any:
        if len(raised) < times:
            raised.append(asyncio.CancelledError())
            raise raised[-1]
        return await plain(client, *args)

    plain: Any = redis.asyncio.Redis.execute_command
    monkeypatch.setattr(redis.asyncio.Redis, "execute_command", execute)
    with closing(backend):
        if times == 1:
            assert asyncio.run(shown(backend)) == [None]
        else:
            with pytest.raises(BrokerUnavailableError, match="closed by another task"):
                asyncio.run(shown(backend))


async def shown(backend: RedisBackend) -> object:
    return await backend.asynchronous().show(["a"])


def test_a_watch_looks_again_at_its_end(redis_url: str, stream_key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change that wakes no waiter, such as the deletion of an ended task, is returned at the timeout."""
    backend = TaskQueue(redis_url, stream_key=stream_key).stores.backend
    assert isinstance(backend, RedisBackend)
    settled(backend, I6, done(claimed(backend, I6)))
    seen = info(backend, "a", I6)
    side = backend.asynchronous()
    look = inspector.show

    def look_then_delete(registration: Registration, ids: Sequence[str]) -> Steps[list[TaskInfo | None]]:
        found = yield from look(registration, ids)
        backend.delete(ids)
        return found

    monkeypatch.setattr(inspector, "show", look_then_delete)

    assert asyncio.run(side.watch("a", seen, 100)) is None
    backend.close()
