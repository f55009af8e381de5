"""Storms of hostile content: no raw error leaves the library, good tasks run in between, nothing accepted is lost.

Each storm is made from a seed, so that one that fails can be run again. The long ones run with the other soak tests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from random import Random
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import ResponseError

from pyxqueue import TaskQueue
from pyxqueue.backends.sqlite.driver import best
from pyxqueue.errors import PyxqueueError
from pyxqueue.model.message import Extension, TaskStatus
from pyxqueue.protocols import Backend
from pyxqueue.testing import drain
from tests.support.seeds import chance_of, seeds_of
from tests.support.tasks import task_of

from . import entries

Attack = Callable[[Random], None]
BETWEEN = 100
"""Hostile entries between two good tasks."""


def queue_on(url: str, stream_key: str) -> TaskQueue:
    queue = TaskQueue(url, stream_key=stream_key, max_payload=10_000)

    @queue.task(name="fuzz.good")
    def good(number: int = 0) -> int:
        return number + 1

    @queue.task(name="fuzz.bad", retries=1, backoff=0)
    def bad(*_: Any, **__: Any) -> None:
        raise ValueError("\x1b[31m\nbad")

    return queue


def look_around(queue: TaskQueue, ids: list[str]) -> None:
    """Do what operators and clients do: each action returns, or raises an error of ours, and no other."""
    backend: Backend = queue.stores.backend
    actions: list[Callable[[], object]] = [
        backend.depth, backend.consumers, backend.groups, backend.lease_ms, lambda: backend.maintain(100),
        lambda: backend.extend([Extension("1-1|w|x|"), Extension("\udcff")]), lambda: backend.show(ids),
        lambda: backend.wait(ids, 0), lambda: backend.wait(ids, 0), lambda: backend.cancel(ids[:3]),
        lambda: backend.requeue(ids[3:6]), lambda: backend.delete(ids[6:9]), lambda: backend.forget(ids[:3]),
        lambda: queue.get_tasks(count=20), queue.get_workers,
        *(lambda state=state: every_page(backend, state) for state in (None, *TaskStatus)),
        *(lambda task_id=task_id: queue.get_task(task_id) for task_id in ids[:5]),
        *(lambda task_id=task_id: queue.result(task_id).get(timeout=0) for task_id in ids[:5]),
    ]  # fmt: skip
    for action in actions:
        with suppress(PyxqueueError):
            action()


def every_page(backend: Backend, state: TaskStatus | None) -> None:
    cursor = ""
    for _ in range(5):
        _, cursor = backend.tasks(state, cursor, 50)
        if not cursor:
            return


def storm(queue: TaskQueue, attack: Attack, ids: Callable[[Random], list[str]], seed: int, count: int) -> None:
    """`count` attacks, good tasks among them, and a worker that works on all of it."""
    random = chance_of(seed)
    good = task_of(queue, "fuzz.good")
    for start in range(0, count, BETWEEN):
        handle = good(start)
        for _ in range(BETWEEN):
            attack(random)
        drain(queue)
        look_around(queue, ids(random))
        drain(queue)
        assert handle.get(timeout=5) == start + 1, f"the good task after {start} attacks"
        handle.forget()


class RedisAttacker:
    """Writes anything under the keys of a queue, but for the tasks that the storm has enqueued."""

    def __init__(self, client: Any, stream_key: str) -> None:
        self._client = client
        self._key = stream_key
        self._prefix = f"{{{stream_key}}}"

    def ids(self, random: Random) -> list[str]:
        """Ids that mean something, of entries and of keys."""
        found = [entry.decode() for entry, _ in self._client.xrevrange(self._key, count=10)]
        return [*found, *(f"zz{random.randrange(30)}" for _ in range(10)), "1-1", "18446744073709551615-1"]

    def __call__(self, random: Random) -> None:
        task = f"{self._prefix}:cg:task:zz{random.randrange(30)}"
        match random.randrange(13):
            case 0:
                self._client.delete(task)
                self._client.set(task, entries.task(random))
            case 1:
                self._client.set(f"{self._prefix}:cg:record:zz{random.randrange(30)}", entries.record(random))
            case 2:
                self._client.delete(task)
                self._client.zadd(task, {entries.value(random): 1})
            case 3:
                place = random.choice(("history", "failed", "parked", "again"))
                self._client.xadd(f"{self._prefix}:cg:{place}", entries.message(random), maxlen=300)
            case 4:
                score = random.choice((0, 1e300, -1e300, float("inf"), 5))
                member = random.choice((entries.value(random), f"zz{random.randrange(30)}".encode()))
                self._client.zadd(f"{self._prefix}:cg:delayed", {member: score})
            case 5:
                name = random.choice((b"group:", b"lease:", b"")) + entries.value(random)
                if name not in {b"group:cg", b"lease:cg"}:
                    self._client.hset(f"{self._prefix}:meta", name, entries.value(random))
            case 6:
                with suppress(ResponseError):
                    name = entries.value(random) or b"x"
                    self._client.execute_command("XGROUP", "CREATECONSUMER", self._key, "cg", name)
            case 7:
                self._client.publish(f"{self._prefix}:wake:{random.randrange(3)}", entries.value(random))
            case 8:
                field = f"{random.choice(entries.NOTES)}:zz{random.randrange(30)}"
                self._client.hset(f"{self._prefix}:cg:notes", field, entries.value(random))
            case _:
                fields = entries.message(random)
                if random.random() < 0.2:
                    fields["id"] = f"zz{random.randrange(30)}"
                self._client.xadd(self._key, fields)


@pytest.fixture
def client(redis_url: str) -> Iterator[Any]:
    with Redis.from_url(redis_url, protocol=2, socket_timeout=20) as client:
        yield client


def on_redis(redis_url: str, stream_key: str, client: Any, seed: int, count: int) -> None:
    with closing(queue_on(redis_url, stream_key)) as queue:
        queue.stores.backend.lease_ms()
        attacker = RedisAttacker(client, stream_key)
        storm(queue, attacker, attacker.ids, seed, count)


def test_redis_in_a_storm(redis_url: str, stream_key: str, client: Any) -> None:
    """Entries, values, notes, members, consumers, groups and pub/sub messages of any content."""
    on_redis(redis_url, stream_key, client, 1, 1_000)


@pytest.mark.soak
@pytest.mark.parametrize("seed", seeds_of(range(10, 20)))
def test_redis_in_long_storms(redis_url: str, stream_key: str, client: Any, seed: int) -> None:
    """A hundred thousand, on every server."""
    on_redis(redis_url, stream_key, client, seed, 10_000)


class SQLiteAttacker:
    """Writes anything into the rows of a file, but for those of tasks that the storm has enqueued."""

    COLUMNS = (
        "attempt",
        "crashes",
        "redelivered",
        "deferrals",
        "due",
        "progress",
        "reason",
        "record",
        "consumer",
        "ended",
    )

    def __init__(self, queue: TaskQueue, file: Path) -> None:
        self._queue = queue
        self._connection = best().connect(f"{file.as_uri()}?mode=rw")  # two libraries in one process damage a file
        self._connection.execute("PRAGMA busy_timeout = 20000")

    def close(self) -> None:
        self._connection.close()

    def ids(self, random: Random) -> list[str]:
        return [f"zz{random.randrange(30)}" for _ in range(12)]

    def __call__(self, random: Random) -> None:
        task_id = f"zz{random.randrange(30)}"
        bad = task_of(self._queue, random.choice(("fuzz.good", "fuzz.bad")))
        with suppress(PyxqueueError):
            bad.with_options(task_id=task_id)()
        anything = random.choice((entries.value(random), entries.value(random).decode("latin-1"), -1, 2**62, 1.5))
        if random.random() < 0.5:
            sql = "UPDATE task SET fields = ? WHERE id = ?"
        else:
            sql = f"UPDATE task SET {random.choice(self.COLUMNS)} = ? WHERE id = ?"
        self._connection.execute(sql, (anything, task_id))


def on_sqlite(file: Path, seed: int, count: int) -> None:
    with closing(queue_on(f"sqlite:///{file}", "q")) as queue:
        queue.stores.backend.lease_ms()
        with closing(SQLiteAttacker(queue, file)) as attacker:
            storm(queue, attacker, attacker.ids, seed, count)


def test_sqlite_in_a_storm(tmp_path: Path) -> None:
    """Bodies, headers, records and progress of any kind and content."""
    on_sqlite(tmp_path / "queue.db", 1, 1_000)


@pytest.mark.soak
@pytest.mark.parametrize("seed", seeds_of(range(10, 20)))
def test_sqlite_in_long_storms(tmp_path: Path, seed: int) -> None:
    """A hundred thousand."""
    on_sqlite(tmp_path / "queue.db", seed, 10_000)
