"""Copies of sealed calls that another program puts into the stream."""

from __future__ import annotations

from contextlib import closing

import pytest
from redis import Redis

from pyxqueue import TaskQueue
from pyxqueue.errors import SealError
from pyxqueue.serializers import Seal
from pyxqueue.testing import drain


@pytest.mark.parametrize("when", ["waits", "ended"])
def test_a_copy_does_not_run(redis_url: str, stream_key: str, when: str) -> None:
    """Its seal is valid, but the id belongs to a task that waits or has ended; the next call runs."""
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


def test_an_end_counts_in_its_own_group_only(redis_url: str, stream_key: str) -> None:
    """A record of one group is copied to another one, in which the task has not run."""
    queues = {
        group: TaskQueue(redis_url, stream_key=stream_key, consumer_group=group, seal=Seal("k" * 16)) for group in "ab"
    }
    with closing(queues["a"]), closing(queues["b"]), Redis.from_url(redis_url) as client:
        for queue in queues.values():
            assert queue.admin.groups() is not None
        handle = queues["a"].task(name="other")(lambda text: text.upper())("x")
        drain(queues["a"])
        assert handle.get(5) == "X"

        keys = [f"{{{stream_key}}}:{group}:task:{handle.task_id}" for group in "ab"]
        client.copy(*keys, replace=True)
        with pytest.raises(SealError):
            queues["b"].result(handle.task_id).get(5)
