"""What another program may write into the keys of schedules."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from attrs import evolve
from redis import Redis

from pyxqueue import TaskQueue
from pyxqueue.backends.redis.keys import schedule, timetable
from pyxqueue.codec import Codec
from pyxqueue.errors import BrokerError
from pyxqueue.model.message import evolve as evolve_message
from pyxqueue.protocols import Changed, ScheduleChange, ScheduleStore, schedules_of
from pyxqueue.serializers import JSONSerializer
from pyxqueue.ticking import Ticker


@pytest.fixture
def queue(redis_url: str, stream_key: str) -> Iterator[TaskQueue]:
    queue = TaskQueue(redis_url, stream_key)
    task = queue.task(name="kit.job")(lambda: None)
    for name in ("a", "b"):
        queue.schedules.upsert(name, task, every=3_600)
    yield queue
    queue.close()


@pytest.fixture
def raw(redis_url: str) -> Iterator[Redis]:
    with closing(Redis.from_url(redis_url)) as client:
        yield client


@pytest.fixture
def store(queue: TaskQueue) -> ScheduleStore:
    found = schedules_of(queue.stores.backend)
    assert found is not None
    return found


def make_due(store: ScheduleStore, *names: str) -> None:
    for one in store.get(names):
        assert one is not None
        due = evolve(one, mark=f"{one.mark}-due", next_ms=1, cursor=one.cursor - 3_600_000)
        assert store.change(ScheduleChange(one.id, one.mark, due)) is Changed.DONE


def ticker(store: ScheduleStore) -> Ticker:
    return Ticker(store, Codec.of("q", [JSONSerializer()], None))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("every", "x"), ("next", "-5"), ("cursor", "1e9"), ("missed", "never"), ("overlap", "kill"), ("id", "other"),
        ("name", ""), ("headers", "{"), ("schedule", "99"), ("runs", "9" * 400), ("schedule", "z"),
    ],
)  # fmt: skip
def test_a_damaged_schedule_stops_no_other(  # noqa: PLR0917
    queue: TaskQueue, store: ScheduleStore, raw: Redis, stream_key: str, field: str, value: str
) -> None:
    """A schedule that cannot be read is left alone; the other one ticks."""
    make_due(store, "a", "b")
    raw.hset(schedule(stream_key, "a"), field, value)

    for _ in range(2):
        ticker(store).tick()

    assert [one.id for one in queue.schedules] == ["b"]
    assert queue.schedules["b"].runs == 1
    with pytest.raises(BrokerError, match="damaged, or of a newer"):
        queue.schedules.delete("a")


def test_what_is_no_schedule_in_the_timetable(
    queue: TaskQueue, store: ScheduleStore, raw: Redis, stream_key: str
) -> None:
    """Members that cannot be ids are removed; ids without a schedule hold up nothing."""
    make_due(store, "a")
    raw.zadd(timetable(stream_key), {"no id": 0, "ü": 0, "x" * 49: 0, "nothing": 0, "": 0})

    ticker(store).tick()

    assert queue.schedules["a"].runs == 1
    assert sorted(raw.zrange(timetable(stream_key), 0, -1)) == [b"a", b"b", b"nothing"]


def test_many_members_without_a_schedule(queue: TaskQueue, store: ScheduleStore, raw: Redis, stream_key: str) -> None:
    """However many they are, they hold up nothing, and nobody looks again at once because of them."""
    make_due(store, "a")
    raw.zadd(timetable(stream_key), {f"gone{number}": 0 for number in range(600)})
    looks = ticker(store)

    left = looks.tick()

    assert queue.schedules["a"].runs == 1
    assert 0 < min(left, looks.tick()) <= 3_600


def test_another_type_at_the_key_of_a_schedule(
    queue: TaskQueue, store: ScheduleStore, raw: Redis, stream_key: str
) -> None:
    """The other schedule ticks, and the schedule can be made again."""
    make_due(store, "a", "b")
    raw.delete(schedule(stream_key, "a"))
    raw.set(schedule(stream_key, "a"), "text")

    ticker(store).tick()

    assert queue.schedules["b"].runs == 1
    assert list(store.get(["a"])) == [None]


def test_another_type_at_the_timetable(queue: TaskQueue, store: ScheduleStore, raw: Redis, stream_key: str) -> None:
    """Maintenance goes on; a tick is refused and enqueues nothing."""
    (one,) = store.get(["a"])
    assert one is not None
    raw.delete(timetable(stream_key))
    raw.set(timetable(stream_key), "text")

    assert queue.stores.backend.maintain(10) == -1
    assert store.next_look == float("inf")
    message = evolve_message(one.call, id="a.1")
    with pytest.raises(BrokerError):
        store.change(ScheduleChange("a", one.mark, evolve(one, mark="x"), message))
    assert queue.stores.backend.depth().ready == 0


def test_a_group_named_as_the_keys_of_schedules(redis_url: str, queue: TaskQueue, stream_key: str, raw: Redis) -> None:
    """Removing it leaves the schedules."""
    for name in ("schedule", "timetable"):
        with closing(TaskQueue(redis_url, stream_key, consumer_group=name)) as other:
            other.stores.backend.lease_ms()
            queue.admin.remove_group(name)
    assert [one.id for one in queue.schedules] == ["a", "b"]


def test_a_task_that_was_taken_out_by_hand_holds_up_nothing(
    queue: TaskQueue, store: ScheduleStore, raw: Redis, stream_key: str
) -> None:
    """If the message of the task before is gone, the next tick is enqueued."""
    make_due(store, "a")
    ticker(store).tick()
    make_due(store, "a")
    entries: Any = raw.xrange(stream_key)
    raw.xdel(stream_key, entries[0][0])
    (one,) = store.get(["a"])
    assert one is not None
    message = evolve_message(one.call, id="a.2")
    tick = ScheduleChange("a", one.mark, evolve(one, mark="x"), message, unless=one.task_id, otherwise=one)

    assert store.change(tick) is Changed.DONE
    assert queue.stores.backend.depth().ready == 1
