"""Calls that expire: the options, what is refused, and what a waiting caller gets."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pyxqueue import TaskExpiredError, TaskQueue, TaskStatus, eager_mode
from pyxqueue.backends.memory import MemoryBackend, MemoryStore
from pyxqueue.errors import ConfigurationError
from pyxqueue.model.message import FLOW_VERSION, WIRE_VERSION, Message
from pyxqueue.protocols import StoreOptions


def message_of(queue: TaskQueue, task_id: str) -> Message:
    message = queue.admin.task(task_id).info.readable
    assert message is not None
    return message


def test_it_expires_while_it_waits() -> None:
    """A delayed retry of the clock: what has not started ends, and `get` says that it expired."""
    with eager_mode() as eager:
        queue, ran = TaskQueue("jobs"), list[int]()

        @queue.task(name="jobs.note", expires=60)
        def note(number: int) -> None:
            ran.append(number)

        queue.admin.pause()
        handle, longer = note(1), note.with_options(expires=timedelta(minutes=5))(2)
        assert queue.admin.explain(handle.task_id).reasons[-1].startswith("it expires at 2023-11-14")
        eager.advance(60)
        with pytest.raises(TaskExpiredError, match="expired before it started"):
            handle.get()
        assert handle.state is TaskStatus.CANCELLED
        queue.admin.resume()
        assert ran == [2]
        assert longer.state is TaskStatus.SUCCESS
        assert queue.admin.retry(handle.task_id, ended=True).done == 1
        assert ran == [2, 1]


def test_older_workers_leave_it_alone() -> None:
    """Only a call that expires has the newer wire version."""
    queue = TaskQueue(broker=MemoryBackend(MemoryStore(), StoreOptions("jobs")))

    @queue.task(name="jobs.note")
    def note() -> None: ...

    plain, soon = note(), note.with_options(expires=datetime.now(UTC) + timedelta(hours=1))()
    assert (message_of(queue, plain.task_id).v, message_of(queue, plain.task_id).expires_ms) == (WIRE_VERSION, 0)
    message = message_of(queue, soon.task_id)
    assert message.v == FLOW_VERSION
    assert 3_500_000 < message.expires_ms - message.enqueued_ms <= 3_600_000


@pytest.mark.parametrize(
    "options",
    [
        {"expires": 60, "delay": 60},
        {"expires": timedelta(seconds=5), "delay": timedelta(minutes=1)},
        {"expires": datetime(2001, 1, 1, tzinfo=UTC)},
        {"delay": 100},
    ],
    ids=["at the delay", "before the delay", "in the past", "the task's own"],
)
def test_what_could_never_start_is_refused(options: dict[str, Any]) -> None:
    """At the call, before anything is stored."""
    queue = TaskQueue(broker=MemoryBackend(MemoryStore(), StoreOptions("jobs")))

    @queue.task(name="jobs.note", expires=90)
    def note() -> None: ...

    with pytest.raises(ConfigurationError, match="so the task could never start"):
        note.with_options(**options)()
    assert queue.admin.tasks().tasks == []


@pytest.mark.parametrize("expires", [0, -1, "soon", datetime(2030, 1, 1)], ids=str)
def test_an_expiry_that_is_none_is_refused(expires: Any) -> None:
    """Where it is written."""
    queue = TaskQueue(broker=MemoryBackend(MemoryStore(), StoreOptions("jobs")))

    @queue.task(name="jobs.note")
    def note() -> None: ...

    with pytest.raises(ConfigurationError, match="expires"):
        note.with_options(expires=expires)


def test_a_store_without_expiry_says_so() -> None:
    """Nothing is stored."""

    class Plain(MemoryBackend):
        begin: Any = None

    queue = TaskQueue(broker=Plain(MemoryStore(), StoreOptions("jobs")))

    @queue.task(name="jobs.note", expires=5)
    def note() -> None: ...

    with pytest.raises(ConfigurationError, match="Plain does not support expires="):
        note()
    assert queue.admin.tasks().tasks == []
