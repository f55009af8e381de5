"""Copies of sealed calls that a writer puts into the stream."""

from __future__ import annotations

from contextlib import closing

import pytest
from redis import Redis

from pyxqueue import TaskQueue
from pyxqueue.serializers import Seal
from pyxqueue.testing import drain


@pytest.mark.parametrize("when", ["waits", "ended"])
def test_a_copy_does_not_run(redis_url: str, stream_key: str, when: str) -> None:
    """Its seal fits, but the id belongs to a task that waits or has ended; the next call runs."""
    ran: list[int] = []
    queue = TaskQueue(redis_url, stream_key=stream_key, seal=Seal("k" * 16))
    with closing(queue), Redis.from_url(redis_url) as client:

        @queue.task(name="job")
        def job(number: int) -> int:
            ran.append(number)
            return len(ran)

        handle = job(1)
        ((_, fields),) = client.xrange(stream_key)
        if when == "ended":
            drain(queue)
        for _ in range(3):
            client.xadd(stream_key, fields)
        drain(queue)
        later = job(2)
        drain(queue)

        assert ran == [1, 2]
        assert (handle.get(5), later.get(5)) == (1, 2)
        assert client.xlen(stream_key) == 0
