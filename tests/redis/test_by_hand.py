"""Messages that were written to the stream by hand."""

from __future__ import annotations

from contextlib import closing

from redis import Redis

from pyxqueue.backends.redis.keys import GroupKeys
from pyxqueue.model.message import Extension, LeaseStatus, Message, Progress, TaskStatus
from pyxqueue.protocols import StoreOptions
from pyxqueue.stores import find_store


def test_a_message_written_by_hand_is_found_while_it_runs(redis_url: str, stream_key: str) -> None:
    """The first extension and the first progress create its task key, in which it must be found."""
    backend = find_store(redis_url, StoreOptions(stream_key)).open()
    backend.maintain(1)
    with Redis.from_url(redis_url) as client:
        task_id = client.xadd(stream_key, {"name": "jobs.add"}).decode()
    [delivery] = backend.claim("worker", 1, 0)

    held = backend.extend([Extension(delivery.receipt), Extension(delivery.receipt, Progress(1, 2))])

    [info] = backend.show([task_id])
    assert held == [LeaseStatus.HELD, LeaseStatus.HELD]
    assert info is not None
    assert (info.status, info.worker, info.progress) == (TaskStatus.STARTED, "worker", Progress(1, 2))
    assert info.started_ms > 0
    assert [task.id for task in backend.tasks(TaskStatus.STARTED)[0]] == [task_id]
    backend.close()


def test_the_entry_of_a_task_is_no_task_of_its_own(redis_url: str, stream_key: str) -> None:
    """Its message has an id: who asks for the entry, or cancels it, changes nothing about the task."""
    opened = find_store(redis_url, StoreOptions(stream_key)).open()
    with closing(opened) as backend, Redis.from_url(redis_url) as client:
        backend.enqueue([Message("a", "job")])
        ((raw, _),) = client.xrange(stream_key)
        entry = raw.decode()

        assert backend.show([entry]) == [None]
        assert backend.wait([entry], 0) == [None]
        assert list(backend.cancel([entry])) == [False]
        assert list(backend.delete([entry])) == [False]

        assert client.exists(GroupKeys.of(stream_key, "cg", stream_key).task(entry)) == 0
        assert [one.message.id for one in backend.claim("w", 9, 0)] == ["a"]
