"""Messages that were written to the stream by hand."""

from __future__ import annotations

from redis import Redis

from pyxqueue.model.message import Extension, LeaseStatus, Progress, TaskStatus
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
