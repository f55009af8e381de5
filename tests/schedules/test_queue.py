"""`queue.schedules`, the options of a task, and eager mode, as an application uses them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pyxqueue import (
    ArgumentError,
    ConfigurationError,
    Missed,
    Seal,
    TaskQueue,
    UnknownScheduleError,
    current_task,
    eager_mode,
)
from pyxqueue.client.schedules import ScheduleHandle
from pyxqueue.testing.memory import MemoryHarness

Seen = list[tuple[datetime | None, int]]


@pytest.fixture
def queue() -> TaskQueue:
    return TaskQueue(eager=True)


def beat_of(queue: TaskQueue, **options: Any) -> Seen:
    """A task that runs by itself, and notes its ticks."""
    seen: Seen = []

    @queue.task(name="beat", **options)
    def beat() -> None:
        seen.append((current_task().tick, current_task().missed))

    return seen


def test_a_task_runs_by_itself(queue: TaskQueue) -> None:
    """In eager mode a schedule ticks when the test moves the clock; the task sees its tick."""
    seen = beat_of(queue, cron="*/15 * * * *", timezone="Europe/Berlin")
    assert queue.eager is not None
    start = datetime.fromtimestamp(queue.eager.clock() / 1000, UTC)

    queue.eager.advance(timedelta(hours=1))

    first = start.replace(minute=15, second=0, microsecond=0)
    assert seen == [(first + timedelta(minutes=15 * n), 0) for n in range(4)]


def test_every(queue: TaskQueue) -> None:
    """`queue.every` declares an interval."""
    runs = []

    @queue.every(timedelta(seconds=10), name="beat")
    def beat() -> None:
        runs.append(current_task().id)

    assert queue.eager is not None
    queue.eager.advance(30)

    assert len(runs) == 3
    assert queue.schedules["beat"].last_task == runs[-1]


def test_in_eager_mode_of_a_test() -> None:
    """Inside `eager_mode`, a queue takes part once the test has used it."""
    queue = TaskQueue("memory://")
    seen = beat_of(queue, every=60)
    with eager_mode() as eager:
        assert [one.id for one in queue.schedules] == ["beat"]
        eager.advance(120)
    assert len(seen) == 2


def test_waiting_for_another_task_ends(queue: TaskQueue) -> None:
    """A wait does not go on for ever because a schedule ticks for ever."""
    beat_of(queue, every=1)

    @queue.task(retries=1, backoff=5, jitter=0)
    def flaky() -> int:
        if current_task().attempt == 1:
            raise ValueError
        return 5

    assert flaky().get() == 5
    assert queue.schedules["beat"].runs == 5


def test_a_schedule_at_run_time(queue: TaskQueue) -> None:
    """`upsert` makes and changes a schedule, with arguments."""
    seen = []

    @queue.task
    def add(a: int, b: int = 0) -> None:
        seen.append(a + b)

    one = queue.schedules.upsert("acme.weekly", add, 1, kwargs={"b": 2}, cron="@hourly")
    assert (one.when, one.state, one.origin, one.runs) == ("0 * * * * UTC", "active", "runtime", 0)
    assert queue.eager is not None
    queue.eager.advance(timedelta(hours=2))
    changed = queue.schedules.upsert("acme.weekly", add, 5, every=timedelta(hours=1), missed=Missed("skip", grace=60))
    queue.eager.advance(timedelta(hours=1))

    assert seen == [3, 3, 5]
    assert (changed.runs, queue.schedules["acme.weekly"].runs) == (2, 3)
    assert changed.missed_policy == Missed("skip", grace=60)
    assert changed.every == timedelta(hours=1)


def test_pause_resume_trigger_delete(queue: TaskQueue) -> None:
    """A handle changes its schedule; a triggered run has a tick too, and moves nothing."""
    seen = beat_of(queue, every=60)
    assert queue.eager is not None
    handle = queue.schedules["beat"]
    handle.pause()
    queue.eager.advance(300)
    assert (seen, queue.schedules["beat"].state, queue.schedules["beat"].next) == ([], "paused", None)

    result = handle.trigger()
    assert result.get() is None
    assert len(seen) == 1
    assert seen[0][0] is not None
    assert queue.schedules["beat"].runs == 0

    handle.resume()
    queue.eager.advance(60)
    assert len(seen) == 2
    handle.delete()
    queue.eager.advance(300)
    assert len(seen) == 2
    assert "beat" not in queue.schedules
    handle.delete()
    for act in (handle.pause, handle.resume, handle.trigger):
        with pytest.raises(UnknownScheduleError, match="there is no schedule 'beat'"):
            act()


def test_all_are_listed(queue: TaskQueue) -> None:
    """Iterating gives a handle for each schedule, in the order of their ids."""
    beat_of(queue, every=60)

    @queue.task
    def other() -> None: ...

    for name in ("z", "a", "M"):
        queue.schedules.upsert(name, other, cron="@daily")
    listed = list(queue.schedules)
    assert [one.id for one in listed] == ["M", "a", "beat", "z"]
    assert all(isinstance(one, ScheduleHandle) for one in listed)
    assert len(queue.schedules) == 4


@pytest.mark.parametrize("name", ["", "a b", "x" * 49, "ü", None, 5, "a/b"])
def test_what_is_not_an_id(queue: TaskQueue, name: Any) -> None:
    """An id with which a tick's task would not have a valid id is refused; there is no such schedule."""

    @queue.task
    def other() -> None: ...

    with pytest.raises(ConfigurationError, match="is not valid: use 1 to 48 characters"):
        queue.schedules.upsert(name, other, cron="@daily")
    with pytest.raises(UnknownScheduleError):
        _ = queue.schedules[name]


def test_what_upsert_refuses(queue: TaskQueue) -> None:
    """Arguments that the function does not take, options of single calls, and a call without times."""

    @queue.task
    def add(a: int, b: int) -> int:
        return a + b

    with pytest.raises(ArgumentError):
        queue.schedules.upsert("s", add, 1, cron="@daily")
    with pytest.raises(ConfigurationError, match="needs cron= or every="):
        queue.schedules.upsert("s", add, 1, 2)
    with pytest.raises(ConfigurationError, match="is not a task"):
        queue.schedules.upsert("s", add.function, 1, 2, cron="@daily")  # type: ignore[arg-type]
    for option in ({"delay": 5}, {"task_id": "x"}):
        with pytest.raises(ConfigurationError, match="belongs to a single call"):
            queue.schedules.upsert("s", add.with_options(**option), 1, 2, cron="@daily")
    assert len(queue.schedules) == 0


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"cron": "* * *"}, "has 3 fields, not five"),
    ({"cron": "* * * * * *"}, r"for seconds use every=timedelta"),
    ({"cron": "0 0 31 2 *"}, "never ticks: none of its months has such a day"),
    ({"cron": "@daily", "timezone": "Mars"}, "the time zone 'Mars' is not known here"),
    ({"cron": "@daily", "every": 5}, "give either cron= or every="),
    ({"every": 0.5}, "at least one second"),
    ({"every": timedelta(milliseconds=999)}, "at least one second"),
    ({"every": 5, "timezone": "UTC"}, "the same in every time zone"),
    ({"every": 5, "missed": "all"}, "contradicts itself"),
    ({"every": 5, "missed": "never"}, "must be 'once' or 'skip' or 'all'"),
    ({"every": 5, "overlap": "kill"}, "must be 'skip' or 'allow' or 'queue'"),
    ({"overlap": "skip"}, "give cron= or every= too"),
    ({"missed": "once"}, "give cron= or every= too"),
]


@pytest.mark.parametrize(("options", "said"), WRONG)
def test_what_the_decorator_refuses(queue: TaskQueue, options: dict[str, Any], said: str) -> None:
    """An option that is not valid is refused where the task is declared."""
    with pytest.raises(ConfigurationError, match=said):
        queue.task(**options)


def test_a_task_that_needs_arguments(queue: TaskQueue) -> None:
    """A function with a parameter without a default cannot run by itself."""
    with pytest.raises(ConfigurationError, match=r"give its parameters defaults, or make the schedule with queue\.sch"):

        @queue.task(cron="@daily")
        def report(customer: int) -> None: ...


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"policy": "never"}, "must be"),
        ({"policy": "once", "grace": 5}, "belongs to missed='skip'"),
        ({"policy": "skip", "limit": 5}, "belong to missed='all'"),
        ({"policy": "skip", "grace": 0}, "more than 0"),
        ({"policy": "all", "limit": 0}, "from 1 to 1,000"),
        ({"policy": "all", "limit": 1_001}, "from 1 to 1,000"),
        ({"policy": "all", "within": -1}, "more than 0"),
    ],
)
def test_what_missed_refuses(wrong: dict[str, Any], said: str) -> None:
    """Numbers that do not belong to the policy, or are out of range."""
    with pytest.raises(ConfigurationError, match=said):
        Missed(**wrong)


def test_a_long_name_has_a_short_id(queue: TaskQueue) -> None:
    """The id of a declared schedule is the name of its task, cut where it is too long."""
    for name in ("a" * 48, "b" * 49, "modül.größe.<locals>.f"):

        @queue.task(name=name, cron="@daily")
        def task() -> None: ...

    ids = [one.id for one in queue.schedules]
    assert ids[0] == "a" * 48
    assert all(len(one) <= 48 for one in ids)
    assert len(set(ids)) == 3
    assert {one.task for one in queue.schedules} == {"a" * 48, "b" * 49, "modül.größe.<locals>.f"}


def test_a_sealed_queue() -> None:
    """Ticks of a sealed queue are sealed, and a worker with the key runs them."""
    queue = TaskQueue(eager=True, seal=Seal("0123456789abcdef"))
    seen = beat_of(queue, every=60)
    assert queue.eager is not None
    queue.eager.advance(60)
    assert len(seen) == 1
    queue.schedules["beat"].trigger().get()
    assert len(seen) == 2


def test_a_store_without_schedules() -> None:
    """A backend that does not keep schedules is refused with words."""

    class Plain:
        def __init__(self) -> None:
            self.inner = MemoryHarness().open()

        def __getattr__(self, name: str) -> Any:
            if name == "schedules":
                raise AttributeError(name)
            return getattr(self.inner, name)

    queue = TaskQueue(broker=Plain())
    with pytest.raises(ConfigurationError, match="this store does not keep schedules"):
        list(queue.schedules)
