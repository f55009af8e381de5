"""`queue.admin.edit`: a failed task runs again with other arguments."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from pyxqueue import (
    ArgumentError,
    ConfigurationError,
    Rate,
    Seal,
    SealError,
    SerializationError,
    Task,
    TaskQueue,
    TaskStateError,
    Unique,
    UnknownTaskError,
    group,
)
from pyxqueue.backends.memory import MemoryBackend, MemoryStore
from pyxqueue.clock import FakeClock
from pyxqueue.errors import BrokerUnavailableError
from pyxqueue.model.message import Message, TaskInfo, TaskStatus, Unreadable
from pyxqueue.protocols import StoreOptions
from pyxqueue.testing import drain

KEY = "a key of sixteen bytes"
ran: list[Any] = []


@pytest.fixture(autouse=True)
def _nothing_ran() -> None:
    ran.clear()


def work(n: int, *, day: object = None) -> int:
    if n < 0:
        raise ValueError("less than nothing")
    ran.append((n, day))
    return n


@pytest.fixture
def backend() -> MemoryBackend:
    return MemoryBackend(MemoryStore(FakeClock()), StoreOptions("q"))


Make = Callable[..., TaskQueue]


@pytest.fixture
def make(backend: MemoryBackend) -> Make:
    """Makes further queues on the same store, as other programs have them."""
    return lambda **options: TaskQueue(broker=backend, stream_key="q", **options)


def failed(queue: TaskQueue, task: Task[..., Any] | None = None, n: int = -1, **options: Any) -> str:
    """Let a call fail, and return its id."""
    task = task or queue.task(name="work")(work)
    handle = task.with_options(**options)(n, day=date(2024, 2, 29))
    drain(queue)
    assert handle.state is TaskStatus.FAILURE
    return handle.task_id


def test_a_failed_task_runs_with_other_arguments(make: Make) -> None:
    """The old one is gone, the new one names it, and what was not given is the same."""
    queue = make()
    old = failed(queue, headers={"tenant": "acme"}, priority=7)

    handle = queue.admin.edit(old, args=[4])
    message = queue.admin.task(handle.task_id).info.readable
    drain(queue)

    assert ran == [(4, date(2024, 2, 29))]
    assert handle.get() == 4
    assert queue.stores.backend.show([old]) == [None]
    assert message is not None
    assert dict(message.headers) == {"tenant": "acme", "pyxqueue-retry-of": old}
    assert (message.priority, message.attempt, message.past) == (7, 1, "")
    assert queue.admin.task(handle.task_id).info.retry_of == old


def test_name_and_priority_are_changed(make: Make) -> None:
    """The arguments stay, and fit the task that is to run instead."""
    queue = make()
    old = failed(queue)
    queue.task(name="careful")(lambda n, day: ran.append(("careful", n)))

    handle = queue.admin.edit(old.encode(), name="careful", priority=60)
    info = queue.admin.task(handle.task_id).info.readable
    drain(queue)

    assert ran == [("careful", -1)]
    assert info is not None
    assert info.priority == 60


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({}, ConfigurationError, "needs something to change"),
        ({"args": [1, 2]}, ArgumentError, "does not take these arguments"),
        ({"kwargs": {"no": 1}}, ArgumentError, "does not take these arguments"),
        ({"args": "12"}, ConfigurationError, "args= must be a list of .*, not '12'"),
        ({"args": 12}, ConfigurationError, "args= must be a list of .*, not 12"),
        ({"kwargs": [1]}, ConfigurationError, "must be a mapping"),
        ({"kwargs": {1: 1}}, ConfigurationError, "must be a mapping"),
        ({"args": [object()]}, SerializationError, "object"),
        ({"name": "other"}, ConfigurationError, "this program has no task 'other'; it has work"),
        ({"name": "no name"}, ConfigurationError, "is not valid"),
        ({"priority": 101}, ConfigurationError, "priority=101 must be a whole number from -100 to 100"),
        ({"priority": "high"}, ConfigurationError, "priority='high' must be a whole number"),
    ],
)
def test_what_cannot_be_called_changes_nothing(
    change: dict[str, Any], error: type[Exception], said: str, make: Make
) -> None:
    """The failed task is kept, and nothing is enqueued."""
    queue = make()
    old = failed(queue)

    with pytest.raises(error, match=said):
        queue.admin.edit(old, **change)

    assert [info.id for info in queue.admin.tasks().tasks] == [old]
    assert queue.admin.info().depth.failed == 1  # type: ignore[union-attr] # a group has one


def test_only_failed_tasks_are_edited(make: Make, backend: MemoryBackend) -> None:
    """Others, and those that cannot be read, are refused with what they are."""
    queue = make()
    task = queue.task(name="work")(work)
    waiting = task(1).task_id
    backend.adopt([TaskInfo("raw", TaskStatus.FAILURE, Unreadable("raw", {b"x": b"y"}, "no name"), reason="no name")])

    for task_id, error, said in (
        (waiting, TaskStateError, "it is PENDING, not FAILURE"),
        ("raw", TaskStateError, "its message cannot be read: no name"),
        ("nope", UnknownTaskError, "no task has the id 'nope'"),
    ):
        with pytest.raises(error, match=said):
            queue.admin.edit(task_id, args=[1])


def test_a_part_of_a_flow_is_refused(make: Make) -> None:
    """Its successors wait for its id."""
    queue = make()
    task = queue.task(name="work")(work)
    parts = group(task.of(-1), task.of(-2))()
    drain(queue)
    (first, *_) = [info.id for info in queue.admin.failed().tasks]

    with pytest.raises(TaskStateError, match="it is part of the flow"):
        queue.admin.edit(first, args=[1])
    assert parts is not None


def test_the_same_edit_again_enqueues_nothing(make: Make, backend: MemoryBackend) -> None:
    """A program that has died between the two steps is started again: the old task goes, and nothing runs twice."""
    queue = make()
    old = failed(queue)
    (kept,) = backend.show([old])
    first = queue.admin.edit(old, args=[4])
    assert kept is not None
    backend.adopt([kept])  # as if the old one had not been deleted

    second = queue.admin.edit(old, args=[4])
    drain(queue)

    assert (first.task_id, first.created, second.created) == (second.task_id, True, False)
    assert ran == [(4, date(2024, 2, 29))]
    assert backend.show([old]) == [None]


def test_the_old_task_is_deleted_last(make: Make, backend: MemoryBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the store takes nothing, nothing is lost."""
    queue = make()
    old = failed(queue)

    def full(_messages: object) -> list[bool]:
        raise BrokerUnavailableError("gone")

    monkeypatch.setattr(backend, "enqueue", full)
    with pytest.raises(BrokerUnavailableError):
        queue.admin.edit(old, args=[4])

    assert [info.id for info in queue.admin.failed().tasks] == [old]


def test_a_task_that_was_retried_meanwhile_is_told(
    make: Make, backend: MemoryBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both run, and the error has both ids."""
    queue = make()
    old = failed(queue)
    enqueue = backend.enqueue

    def after_a_retry(messages: Any) -> Any:
        backend.requeue([old])
        assert backend.claim("w", 1, 0)
        return enqueue(messages)

    monkeypatch.setattr(backend, "enqueue", after_a_retry)
    with pytest.raises(TaskStateError, match=f"task {old} is STARTED: another program has retried it") as raised:
        queue.admin.edit(old, args=[4])

    (new,) = [info.id for info in backend.tasks(TaskStatus.PENDING)[0]]
    assert new in str(raised.value)


def test_a_lock_of_the_new_arguments_is_respected(make: Make) -> None:
    """The failed task is kept while an equal call is live; then the new one has the lock."""
    queue = make()
    task = queue.task(name="work", unique=Unique(by="n"))(work)
    old = failed(queue, task)
    live = task(4)

    with pytest.raises(TaskStateError, match=f"task {live.task_id} has the lock of the new call"):
        queue.admin.edit(old, args=[4])
    assert queue.admin.task(old).state is TaskStatus.FAILURE
    drain(queue)
    handle = queue.admin.edit(old, args=[4])

    assert task(4) == handle


def test_limits_follow_from_the_new_arguments(make: Make) -> None:
    """The task waits at the gate of the new value."""
    queue = make()
    task = queue.task(name="work", limits=[Rate(1_000, per=1, by="n")])(work)
    old = failed(queue, task)

    handle = queue.admin.edit(old, args=[4])

    message = queue.admin.task(handle.task_id).info.readable
    assert message is not None
    assert [gate.rpartition("/")[2] for gate in message.gates] == ["4"]


def test_a_program_without_the_task_copies_the_call(make: Make) -> None:
    """It writes the serializer of the old message, which the workers read."""
    queue = make(serializer="msgpack")
    old = failed(queue)

    handle = make(accept=["msgpack"]).admin.edit(old, args=[4])
    drain(queue)

    assert ran == [(4, date(2024, 2, 29))]
    assert handle.task_id != old


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"limits": [Rate(1_000, per=1)]}, "has limits"),
        ({"unique": Unique(by=())}, "has a lock"),
    ],
)
def test_what_follows_from_the_code_needs_the_code(options: dict[str, Any], said: str, make: Make) -> None:
    """Without the task, nobody knows which limit or lock the new arguments have."""
    queue = make()
    old = failed(queue, queue.task(name="work", **options)(work))

    with pytest.raises(ConfigurationError, match=f"{said}, .*name the module"):
        make().admin.edit(old, args=[4])

    assert queue.admin.task(old).state is TaskStatus.FAILURE


def test_a_tenant_needs_the_code(make: Make) -> None:
    """Its share follows from the arguments."""
    queue = make(fair_by="n")
    old = failed(queue)

    with pytest.raises(ConfigurationError, match="has a share of a tenant"):
        make().admin.edit(old, args=[4])


def test_a_serializer_that_is_not_here_is_named(make: Make) -> None:
    """Nothing is written that no worker could read."""
    queue = make(serializer="msgpack")
    old = failed(queue)

    with pytest.raises(ConfigurationError, match="written by the serializer 'msgpack', which this program does"):
        make().admin.edit(old, args=[4], kwargs={})
    with pytest.raises(SerializationError, match="give both args= and kwargs="):
        make().admin.edit(old, args=[4])


def test_the_new_call_is_sealed(make: Make) -> None:
    """A worker trusts it; a program without the key cannot make it."""
    queue = make(seal=Seal(KEY))
    old = failed(queue)

    with pytest.raises(SealError, match="does not have a key"):
        make().admin.edit(old, args=[4])
    queue.admin.edit(old, args=[4])
    drain(queue)

    assert ran == [(4, date(2024, 2, 29))]


def test_a_forged_message_is_not_signed(make: Make, backend: MemoryBackend) -> None:
    """Its headers would be copied under a good signature."""
    queue = make(seal=Seal(KEY))
    queue.task(name="work")(work)
    forged = Message("forged", "work", b"[[1],{}]", headers={"role": "admin"}, seal="nonsense")
    backend.adopt([TaskInfo("forged", TaskStatus.FAILURE, forged, reason="ValueError: no")])

    with pytest.raises(SealError):
        queue.admin.edit("forged", args=[4], kwargs={})

    assert queue.admin.info().depth.ready == 0  # type: ignore[union-attr] # a group has one


def test_arguments_that_cannot_be_read_are_replaced(make: Make, backend: MemoryBackend) -> None:
    """Both have to be given then."""
    queue = make()
    queue.task(name="work")(work)
    broken = Message("broken", "work", b"[[1")
    backend.adopt([TaskInfo("broken", TaskStatus.FAILURE, broken, reason="SerializationError: no")])

    with pytest.raises(SerializationError, match="give both"):
        queue.admin.edit("broken", args=[4])
    queue.admin.edit("broken", args=[4], kwargs={})
    drain(queue)

    assert ran == [(4, None)]


def test_the_time_to_live_begins_again(make: Make, backend: MemoryBackend) -> None:
    """The new task may start for as long as the old one might."""
    queue = make()
    queue.task(name="work")(work)
    message = Message("old", "work", b"[[-1],{}]", enqueued_ms=1_000, expires_ms=61_000)
    backend.adopt([TaskInfo("old", TaskStatus.FAILURE, message, reason="ValueError: no")])

    new = queue.admin.task(queue.admin.edit("old", args=[4]).task_id).info.readable

    assert new is not None
    assert new.expires_ms - new.enqueued_ms == 60_000


def test_an_eager_queue_runs_it_at_once() -> None:
    """As any call there."""
    queue = TaskQueue(stream_key="q", eager=True)
    task = queue.task(name="work")(work)
    old = task(-1)

    handle = queue.admin.edit(old.task_id, args=[4])

    assert handle.get() == 4
