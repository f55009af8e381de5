"""One result that cannot be read, among many that are waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from redis import Redis

import pyxqueue
from pyxqueue import TaskQueue
from pyxqueue.backends.sqlite.driver import best
from pyxqueue.errors import SerializationError
from pyxqueue.testing import drain

Damage = Callable[[str], object]


def check(queue: TaskQueue, damage: Damage) -> None:
    """Of three tasks that have ended, one has a record that cannot be read."""
    double = queue.task(name="double")(lambda number: 2 * number)
    handles = [double(number) for number in range(3)]
    drain(queue)
    damage(handles[1].task_id)

    for found in (
        pyxqueue.gather(handles, timeout=20, return_exceptions=True),
        asyncio.run(pyxqueue.agather(handles, timeout=20, return_exceptions=True)),
    ):
        assert (found[0], found[2]) == (0, 4)
        assert isinstance(found[1], SerializationError)
    come = {handle.task_id for handle in pyxqueue.as_completed(handles, timeout=20)}
    assert come == {handle.task_id for handle in handles}
    with pytest.raises(SerializationError):
        handles[1].get(timeout=20)


def test_it_takes_no_other_along_on_redis(redis_url: str, stream_key: str) -> None:
    """Each of the others comes, with its value."""
    with closing(TaskQueue(redis_url, stream_key=stream_key)) as queue, Redis.from_url(redis_url) as client:
        check(queue, lambda task_id: client.append(f"{{{stream_key}}}:cg:task:{task_id}", "1:v2:99"))


def test_it_takes_no_other_along_on_sqlite(tmp_path: Path) -> None:
    """By the same rule."""
    file = tmp_path / "queue.db"

    def damage(task_id: str) -> None:
        with closing(best().connect(f"{file.as_uri()}?mode=rw")) as connection:
            connection.execute("UPDATE task SET record = x'ff' WHERE id = ?", (task_id,))

    with closing(TaskQueue(f"sqlite:///{file}", stream_key="q")) as queue:
        check(queue, damage)
