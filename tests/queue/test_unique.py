"""Unique, debounced and throttled tasks, as an application sees them."""

from __future__ import annotations

import asyncio
import enum
import pickle
import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from pyxqueue import (
    ConfigurationError,
    Debounce,
    EagerSession,
    Seal,
    SerializationError,
    TaskQueue,
    TaskStatus,
    Throttle,
    Unique,
    eager_mode,
)
from pyxqueue.backends.memory import MemoryBackend, MemoryResults, MemoryStore
from pyxqueue.model.canonical import canonical
from pyxqueue.model.message import FLOW_VERSION, WIRE_VERSION
from pyxqueue.protocols import Backend, StoreOptions
from pyxqueue.split import SplitBackend

runs: list[Any] = []


@pytest.fixture(autouse=True)
def eager() -> Iterator[EagerSession]:
    """Eager mode; an unsealed queue on it is `queue`."""
    runs.clear()
    with eager_mode() as session:
        yield session


def waiting(queue: TaskQueue) -> list[str]:
    return [task.id for task in queue.admin.tasks(TaskStatus.PENDING).tasks]


def a_queue(**options: Any) -> TaskQueue:
    return TaskQueue("unique", **options)


def note(*args: Any) -> None:
    runs.append(args)


def test_a_second_call_returns_the_existing_handle() -> None:
    """While the first is live, an equal call enqueues nothing, whatever the arguments that are not compared."""
    queue = a_queue()

    @queue.task(unique=Unique(by=("customer",)))
    def sync(customer: int, reason: str = "") -> str:
        return f"{customer} {reason}"

    later = sync.with_options(delay=60)
    first, second, other = later(7, "first"), sync(customer=7), later(8)

    assert (first.created, second.created, other.created) == (True, False, True)
    assert second == first
    assert sorted(waiting(queue)) == sorted([first.task_id, other.task_id])
    assert second.get() == "7 first"
    assert sync(7, "again").created


def test_defaults_count_and_so_do_names() -> None:
    """A call is compared as the function gets it."""
    queue = a_queue()

    @queue.task(unique=Unique())
    def sync(customer: int, *rest: int, kind: str = "all", **more: int) -> None: ...

    later = sync.with_options(delay=60)

    assert later(7).created
    assert not later(customer=7).created
    assert not later(7, kind="all").created
    assert later(7, kind="some").created
    assert later(7, 8).created
    assert later(7, a=1, b=2).created
    assert not later(7, b=2, a=1).created


def test_a_key_is_compared_instead_of_arguments() -> None:
    """Calls with one key are equal; those of another task are not."""
    queue = a_queue()
    one = queue.task(name="one")(note).with_options(delay=60, unique=Unique(key="k"))
    two = queue.task(name="two")(lambda *_args: None).with_options(delay=60, unique=Unique(key="k"))

    assert [one(1).created, one(2).created, two(1).created] == [True, False, True]


def test_until_it_has_ended_or_for_a_window() -> None:
    """Without a window an end makes room for the next; a window lasts whatever becomes of the task."""
    queue = a_queue()
    ended = queue.task(name="ended", unique=Unique())(note)
    windowed = queue.task(name="windowed", unique=Unique(window=timedelta(minutes=1)))(note)
    assert queue.eager is not None

    first = windowed()
    assert [ended().created, ended().created] == [True, True]
    assert first.done
    assert windowed() == first
    queue.eager.advance(61)
    assert windowed().created


def test_until_it_has_started() -> None:
    """A call while an equal one runs enqueues another; one while that waits does not."""
    queue = a_queue()

    @queue.task(unique=Unique(until="started", by=()))
    def sync(depth: int = 0) -> None:
        note(depth)
        if depth < 3:
            runs.append([sync(depth + 1).created, sync(9).created])

    sync()

    assert runs == [(0,), [True, False], (1,), [True, False], (2,), [True, False], (3,)]


def test_a_throttle_is_a_window() -> None:
    """The first call runs, and the others within the period are dropped."""
    queue = a_queue()

    @queue.task(throttle=Throttle(60, by="user"))
    def welcome(user: int, text: str) -> None:
        note(user, text)

    assert queue.eager is not None
    handles = [welcome(1, "a"), welcome(1, "b"), welcome(2, "c")]
    queue.eager.advance(61)
    handles.append(welcome(1, "d"))

    assert [handle.created for handle in handles] == [True, False, True, True]
    assert runs == [(1, "a"), (2, "c"), (1, "d")]


@pytest.mark.parametrize("seal", [None, Seal("a key of sixteen bytes")])
@pytest.mark.parametrize(("keep", "text"), [("last", "c"), ("first", "a")])
def test_calls_become_one(seal: Seal | None, keep: Any, text: str) -> None:
    """It runs once the calls have stopped, with the arguments and headers of the last or the first call."""
    queue = a_queue(seal=seal)

    @queue.task(debounce=Debounce(5, by=("doc",), keep=keep))
    def index(doc: int, text: str) -> None:
        note(doc, text)

    assert queue.eager is not None
    handles = []
    for each in "abc":
        handles.append(index.with_options(headers={"text": each})(1, each))
        queue.eager.advance(4)
    assert runs == []
    queue.eager.advance(2)

    assert runs == [(1, text)]
    assert len(set(handles)) == 1
    assert [handle.created for handle in handles] == [True, False, False]
    message = handles[0].info().info.readable
    assert message is not None
    assert message.headers == {"text": text}
    assert index(1, "next").created


def test_a_debounced_task_runs_at_the_longest_wait() -> None:
    """Calls that do not stop delay it no further than `max_wait`."""
    queue = a_queue()
    index = queue.task(name="index", debounce=Debounce(5, by=(), max_wait=10))(note)
    assert queue.eager is not None

    for second in range(0, 24, 4):
        index(second)
        queue.eager.advance(4)

    assert runs == [(8,), (20,)]


def test_map_gives_equal_calls_one_handle() -> None:
    """Each call of a map gets a handle, several of them the same."""
    queue = a_queue()

    @queue.task(unique=Unique(by="n"))
    def work(n: int, text: str = "") -> str:
        return text

    @queue.task(debounce=Debounce(5, by="n"))
    def index(n: int, text: str) -> None:
        note(n, text)

    handles = work.with_options(delay=60).map([(1, "a"), (2, "b"), (1, "c")])
    joined = index.map([(1, "a"), (2, "b"), (1, "c")])

    assert [handle.created for handle in handles] == [True, True, False]
    assert handles[0] == handles[2]
    assert handles[2].get() == "a"
    assert [handle.created for handle in joined] == [True, True, False]
    assert runs == [(1, "c"), (2, "b")]


def test_asyncio_too() -> None:
    """`aenqueue` and `amap` join calls as `enqueue` and `map` do."""
    queue = a_queue()
    work = queue.task(name="work", unique=Unique(by=()))(note)
    index = queue.task(name="index", debounce=Debounce(5, by=()))(note)

    async def call() -> list[bool]:
        first = await work.with_options(delay=60).aenqueue(1)
        handles = [first, await work.aenqueue(2), *await index.amap([(1,), (2,)]), await index.aenqueue(3)]
        await handles[-1]
        return [handle.created for handle in handles]

    assert asyncio.run(call()) == [True, False, True, False, False]
    assert runs == [(3,)]


def test_an_id_of_ones_own_comes_first() -> None:
    """A known id changes nothing, and says so; a new one asks for the lock."""
    queue = a_queue()
    work = queue.task(name="work", unique=Unique(by=()))(note)
    plain = queue.task(name="plain")(note)
    index = queue.task(name="index", debounce=Debounce(5, by=()))(note)
    queue.task(name="x")

    assert work.with_options(task_id="a", delay=60)(1).created
    repeated, conflicting = work.with_options(task_id="a")(1), work.with_options(task_id="b")(2)
    assert (repeated.task_id, repeated.created) == ("a", False)
    assert (conflicting.task_id, conflicting.created) == ("a", False)
    assert [plain.with_options(task_id="p")().created, plain.with_options(task_id="p")().created] == [True, False]
    handles = [index.with_options(task_id=name)(name) for name in ("c", "d", "c")]
    assert [(handle.task_id, handle.created) for handle in handles] == [("c", True), ("c", False), ("c", False)]


def test_the_options_of_a_call_replace_those_of_the_task() -> None:
    """Any of the three replaces the one of the task; a task without one can have one for a call."""
    queue = a_queue()
    work = queue.task(name="work", unique=Unique(by=()))(note)
    work.with_options(delay=60)(1)

    assert not work(1).created
    assert work.with_options(unique=Unique(key="other"))(1).created
    assert work.with_options(throttle=Throttle(5))(1).created


def test_a_plain_handle_says_that_it_was_created() -> None:
    """`created` is True for a plain call, and False for a handle that was made from an id; a pickle keeps it."""
    queue = a_queue()
    handle = queue.task(name="plain")(note)()

    assert handle.created
    assert not queue.result(handle.task_id).created
    assert handle.__reduce__()[1][-1] is True if _has_home(handle) else True


def _has_home(handle: Any) -> bool:
    try:
        handle.__reduce__()
    except pickle.PicklingError:
        return False
    return True


def test_the_wire_version_keeps_older_workers_away() -> None:
    """A worker that would not give back the lock leaves the message alone; one that ends by time, or plain, does not
    need that."""
    queue = a_queue()
    task = queue.task(name="task")(note).with_options(delay=60, headers={})

    def version(**options: Any) -> int:
        message = task.with_options(**options)().info().info.readable
        assert message is not None
        return message.v

    assert version(delay=60) == WIRE_VERSION
    assert version(delay=60, throttle=Throttle(5)) == version(debounce=Debounce(5)) == WIRE_VERSION
    assert version(delay=60, unique=Unique()) == FLOW_VERSION
    assert version(delay=60, unique=Unique(until="started", key="a")) == FLOW_VERSION


def test_a_retry_says_who_has_the_lock() -> None:
    """A failed task is not retried while another one has its lock, and the reason names that."""
    queue = a_queue()

    @queue.task(unique=Unique(by=()))
    def work(fail: bool) -> None:
        if fail:
            raise ValueError

    failed, holder = work(True), work.with_options(delay=60)(False)
    result = queue.admin.retry(failed.task_id)
    assert result.done == 0
    assert str(result.refused[failed.task_id]) == (
        f"task {failed.task_id} was not retried: task {holder.task_id} has its lock; wait until that has ended, or "
        f"cancel it"
    )
    holder.cancel()
    assert queue.admin.retry(failed.task_id).done == 1


def test_two_stores_as_one_keep_locks_if_the_broker_does() -> None:
    """A `SplitBackend` has the locks of its broker."""
    store = MemoryStore()
    options = StoreOptions("unique")
    backend = SplitBackend(MemoryBackend(store, options), MemoryResults(MemoryStore(), options))
    queue = TaskQueue(stream_key="unique", broker=backend, eager=False)
    task = queue.task(name="task", unique=Unique())(note)
    before, EagerSession.override = EagerSession.override, None
    try:
        assert [task().created, task().created] == [True, False]
    finally:
        EagerSession.override = before


def test_a_store_without_locks_refuses_with_words() -> None:
    """The error says what is missing."""
    backend = _without(MemoryBackend(MemoryStore(), StoreOptions("unique")), "enqueue_unique", "lock_holders")
    queue = TaskQueue(stream_key="unique", broker=backend, eager=False)
    backend = _without(MemoryBackend(MemoryStore(), StoreOptions("unique")), "begin")
    other = TaskQueue(stream_key="unique", broker=backend, eager=False)
    task = queue.task(name="task", unique=Unique())(note)
    before, EagerSession.override = EagerSession.override, None
    try:
        with pytest.raises(ConfigurationError, match="does not keep locks, which Unique needs"):
            task()
        with pytest.raises(ConfigurationError, match="is not asked when a task starts"):
            other.task(name="task", unique=Unique(until="started"))(note)()
    finally:
        EagerSession.override = before


def _without(backend: Backend, *missing: str) -> Any:
    names = [name for name in dir(backend) if not name.startswith("_") and name not in missing]
    return SimpleNamespace(**{name: getattr(backend, name) for name in names})


BAD: list[tuple[dict[str, Any], str]] = [
    (
        {"unique": Unique(by="nobody")},
        "by= of Unique names 'nobody', which task does not have; its parameters are a, b",
    ),
    ({"unique": Unique(), "debounce": Debounce(5)}, "a task can hold one lock only: give one of unique= and debounce="),
    ({"unique": True}, r"unique=True is not a Unique: write unique=Unique\(by=\('customer',\)\)"),
    ({"throttle": 60}, r"throttle=60 is not a Throttle: write throttle=Throttle\(60\)"),
    ({"unique_for": 60}, r"unique_for: unique=Unique\(by="),
]


@pytest.mark.parametrize(("options", "text"), BAD)
def test_mistakes_are_found_at_decoration(options: dict[str, Any], text: str) -> None:
    """The error names the option and what to write."""
    queue = a_queue()
    with pytest.raises(ConfigurationError, match=text):

        @queue.task(name="task", **options)
        def task(a: int, b: int) -> None: ...


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Unique(window=0), "window=0 must be a number of seconds, more than 0"),
        (lambda: Throttle(-1), "period=-1.* must be a number of seconds, more than 0"),
        (lambda: Debounce(5, max_wait=2), "max_wait=2 is shorter than the period of 5 s"),
        (lambda: Unique(window=5, until="started"), "give either until='started' or window=, not both"),
        (lambda: Unique(by="a", key="b"), "give either by= or key=, not both"),
        (lambda: Unique(until="never"), "until='never' must be 'finished' or 'started'"),  # type: ignore[arg-type]
        (lambda: Unique(key=7), "key=7 must be a text"),  # type: ignore[arg-type]
        (lambda: Unique(by=[7]), "by=a list must be names of parameters"),  # type: ignore[list-item]
        (lambda: Unique(by=7), "by=7 must be names of parameters"),  # type: ignore[arg-type] # wrong on purpose
    ],
)
def test_values_are_checked(make: Any, text: str) -> None:
    """A value that makes no sense is refused where it is written."""
    with pytest.raises((ValueError, TypeError), match=text):
        make()


def test_a_debounced_call_has_no_other_delay() -> None:
    """The period is its delay."""
    queue = a_queue()
    task = queue.task(name="task", debounce=Debounce(5))(note)

    with pytest.raises(
        ConfigurationError, match="a debounced task waits for its period after each call: leave out delay="
    ):
        task.with_options(delay=5)
    with pytest.raises(ConfigurationError, match="leave out eta=, expires="):
        task.with_options(eta=NOON, expires=5)
    with pytest.raises(ConfigurationError, match="leave out expires="):
        queue.task(name="other", debounce=Debounce(5), expires=60)(note)
    with pytest.raises(ConfigurationError, match="by= of Throttle names 'x'"):
        task.with_options(throttle=Throttle(5, by="x"))


@pytest.mark.parametrize("value", [{1, 2}, -0.0, float("nan"), object(), [{"a": frozenset()}], Decimal("nan")])
def test_what_cannot_be_compared_is_refused(value: Any) -> None:
    """The error names the argument, and says what to do."""
    queue = a_queue(serializer="pickle", seal=Seal("a key of sixteen bytes"))

    @queue.task(unique=Unique())
    def task(tags: Any) -> None: ...

    with pytest.raises(SerializationError, match=r"its argument tags cannot be compared .* give Unique a key="):
        task(value)


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
DIFFERENT: list[Any] = [
    None, True, False, 0, 1, -1, 10**5000, 0.0, 1.0, float("inf"), "", "a", "1", "é", b"", b"a", b"1",
    [], [1], [1, 2], [[1], 2], (), (1,), ([1],), {}, {"a": 1}, {"a": [1]}, {"a": 1, "b": 2}, {1: "a"}, {"1": "a"},
    Decimal(1), Decimal("1.5"), Decimal(0), Decimal("1e30"), Decimal(-1), Decimal("1" * 40), Decimal("1" * 39 + "2"),
    uuid.UUID(int=1), uuid.UUID(int=2), NOON, NOON.replace(tzinfo=None), NOON.date(), NOON.time(), date(2026, 5, 2),
    time(12, 1), timedelta(1), timedelta(0, 1), timedelta(0, 0, 1), Colour.RED, Colour.BLUE, ["a", "b"], ["ab"],
    [["a"], "b"], ["a", ["b"]], "s1:a", [None], [[]], {"a": {"b": 1}}, {"a": {}, "b": 1},
]  # fmt: skip


def test_different_values_have_different_forms() -> None:
    """Neither type nor structure gets lost."""
    forms = [canonical(value) for value in DIFFERENT]

    assert len(set(forms)) == len(forms)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        (Decimal("1.10"), Decimal("1.1")),
        (Decimal(100), Decimal("1e2")),
        (Decimal("0.00"), Decimal(0)),
        ([1, {"x": (2,)}], [1, {"x": (2,)}]),
    ],
)
def test_equal_values_have_one_form(one: Any, other: Any) -> None:
    """Neither order of names nor spelling of a number matters."""
    assert canonical(one) == canonical(other)


def test_a_deep_value_is_refused() -> None:
    """A form is as deep as it can be written without a limit of the stack."""
    value: Any = []
    for _ in range(60):
        value = [value]

    with pytest.raises(ValueError, match="nested more than 50 levels deep"):
        canonical(value)
