"""Event loops that come and go: each has a client of its own, which ends with it."""

from __future__ import annotations

import asyncio

from redis import Redis

from pyxqueue import TaskQueue
from tests.support.until import until


def test_the_client_of_a_loop_ends_with_it(redis_url: str, stream_key: str) -> None:
    """A program that calls `asyncio.run` again and again does not collect connections."""
    queue = TaskQueue(redis_url, stream_key=stream_key)
    task = queue.task(name="job")(lambda: None)
    task()
    with Redis.from_url(redis_url, protocol=2) as client:
        before = {one["id"] for one in client.client_list()}

        for _ in range(5):
            asyncio.run(task.aenqueue())

        until(lambda: {one["id"] for one in client.client_list()} <= before, "their connections are closed")
    assert queue.stores.inspector.depth().ready == 6
    queue.close()
