"""What the release 0.1.1 offered for administration, under the same names and with the same dictionaries."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable

import pytest

from pyxqueue import (
    Cancellation,
    ConfigurationError,
    MsgpackSerializer,
    TaskQueue,
    TaskStateError,
    UnknownTaskError,
    current_task,
)
from pyxqueue.backends.memory import MemoryBackend, MemoryStore
from pyxqueue.clock import FakeClock
from pyxqueue.model.message import Done, Extension, Progress, Settlement
from pyxqueue.protocols import StoreOptions
from pyxqueue.supervisor.child import boot, consumer_name, with_pid
from pyxqueue.testing import drain

As = Callable[[str], "str | bytes"]
as_text_and_bytes = pytest.mark.parametrize("form", [str, str.encode], ids=["str", "bytes"])


def download(n: object, **_: object) -> object:
    if n == "bad":
        raise ValueError("no such page")
    return n


@as_text_and_bytes
def test_a_task_that_runs(queue: TaskQueue, form: As) -> None:
    """`get_task` returns the dictionary of 0.1.1, with the progress beside it."""
    task_id = queue.task(name="queues.spider.download")(download)(75).task_id
    name = with_pid(consumer_name("", 1, boot()), os.getpid())
    (delivery,) = queue.stores.backend.claim(name, 1, 0)
    info = queue.stores.backend.show([task_id])[0]
    assert info is not None

    assert queue.get_task(form(task_id)) == {
        "task_id": form(task_id),
        "info": {"state": 2, "value": None, "worker": name, "update_time": info.updated_ms // 1000},
        "data": {b"task": b'{"task_name": "queues.spider.download", "args": [75], "kwargs": {}}'},
        "progress": None,
    }
    assert queue.get_task_progress(form(task_id)) is None
    queue.stores.backend.extend([Extension(delivery.receipt, Progress(40))])
    assert queue.get_task(form(task_id))["progress"] == 40
    queue.stores.backend.extend([Extension(delivery.receipt, Progress(2, 5, "half"))])
    assert queue.get_task_progress(form(task_id)) == {"done": 2, "total": 5, "message": "half"}


def test_a_task_that_waits_and_one_that_is_done(queue: TaskQueue) -> None:
    """A waiting task has state 1 and no worker, a successful one 5 and its value."""
    task = queue.task(download)
    task_id = task((1, 2), key="ä").task_id

    waiting = queue.get_task(task_id)
    drain(queue)
    done = queue.get_task(task_id)

    assert (waiting["info"]["state"], waiting["info"]["worker"]) == (1, None)
    assert (done["info"]["state"], done["info"]["value"]) == (5, (1, 2))
    assert done["info"]["worker"].startswith("drain-")
    assert json.loads(done["data"][b"task"])["kwargs"] == {"key": "ä"}


def test_a_task_that_failed(queue: TaskQueue) -> None:
    """A failed task has state 4, and its value is the error with the traceback."""
    task_id = queue.task(download)("bad").task_id
    drain(queue)

    info = queue.get_task(task_id)["info"]
    assert info["state"] == 4
    assert info["value"].startswith("ValueError: no such page\nTraceback")


def test_a_task_that_was_cancelled(queue: TaskQueue) -> None:
    """A cancelled task has state 6."""
    task_id = queue.task(download)(1).task_id

    assert queue.result(task_id.encode()).cancel()
    assert queue.result(task_id).cancel() is Cancellation.TOO_LATE
    assert queue.get_task(task_id)["info"]["state"] == 6


def test_a_body_that_is_no_json_has_a_marker() -> None:
    """The name is shown, and a marker stands for the arguments."""
    queue = TaskQueue("memory://", stream_key="q", serializer=MsgpackSerializer())
    task_id = queue.task(name="work")(download)(1).task_id

    data = json.loads(queue.get_task(task_id)["data"][b"task"])

    assert data["task_name"] == "work"
    assert data["args"] == data["kwargs"] == "<msgpack, 4 bytes>"


def test_an_int_of_any_length_is_shown(queue: TaskQueue) -> None:
    """The int is shown without reaching CPython's limit on decimal digits."""
    task_id = queue.task(download)(10**5000).task_id

    assert json.loads(queue.get_task(task_id)["data"][b"task"])["task_name"].endswith("download")


@as_text_and_bytes
def test_an_unknown_task(queue: TaskQueue, form: As) -> None:
    """It is an error for each method that needs the task."""
    queue.task(download)(1)

    for ask in (queue.get_task, queue.get_task_progress, queue.retry_task, queue.admin.task):
        with pytest.raises(UnknownTaskError, match="no task has the id 'nope'"):
            ask(form("nope"))


def test_tasks_come_newest_first(queue: TaskQueue) -> None:
    """Tasks of any state are returned, ten by default."""
    ids = [handle.task_id for handle in queue.task(download).map([(n,) for n in range(12)])]
    queue.admin.cancel(ids[5])
    ids.sort(reverse=True)

    assert [task["task_id"] for task in queue.get_tasks()] == ids[:10]
    assert [task["task_id"] for task in queue.get_tasks(count=100)] == ids
    assert queue.get_tasks(count=0) == queue.get_tasks(count=-1) == []
    assert queue.get_tasks()[0] == queue.get_task(ids[0])


def test_the_newest_tasks_of_a_busy_queue() -> None:
    """What was just enqueued is shown, however many older ones have ended since."""
    clock = FakeClock()
    broker = MemoryBackend(MemoryStore(clock), StoreOptions("q"))
    queue = TaskQueue(broker=broker, stream_key="q")
    task = queue.task(download)
    task.map([(n,) for n in range(1_100)])
    clock.advance(1)
    newest = [task(n).task_id for n in range(3)]
    done = 0
    while done < 1_100:
        claimed = broker.claim("worker", min(100, 1_100 - done), 0)
        done += sum(broker.settle([Settlement(one.receipt, Done()) for one in claimed]))

    assert sorted(one["task_id"] for one in queue.get_tasks(count=3)) == sorted(newest)
    (running,) = broker.claim("worker", 1, 0)
    assert running.message.id in [one["task_id"] for one in queue.get_tasks(count=3)]


@as_text_and_bytes
def test_tasks_can_be_paged_by_id(queue: TaskQueue, form: As) -> None:
    """A list may begin at an id, end at one, or both."""
    task = queue.task(download)
    for n in range(5):
        task.with_options(task_id=f"id-{n}")(n)

    def names(**limits: str | bytes) -> list[str]:
        return [one["task_id"] for one in queue.get_tasks(**limits)]  # type: ignore[arg-type]

    assert names(end=form("id-2")) == ["id-2", "id-1", "id-0"]
    assert names(start=form("id-3")) == ["id-4", "id-3"]
    assert names(start=form("id-1"), end=form("id-2")) == ["id-2", "id-1"]
    assert names(start=form("id-9")) == []


def test_the_total_counts_every_state(queue: TaskQueue) -> None:
    """Ready, delayed, in flight, failed and ended tasks are counted."""
    task = queue.task(download)
    task("bad")
    task(1)
    drain(queue)
    task.with_options(delay=60)(2)
    task(3)
    queue.stores.backend.claim("worker", 1, 0)
    task(4)

    assert queue.task_total() == 5


def test_workers_are_told_by_their_names(queue: TaskQueue) -> None:
    """The name contains the machine and the process id."""
    name = with_pid(consumer_name("eu-", 3, boot()), os.getpid())
    task_id = queue.task(download)(1).task_id
    queue.stores.backend.claim(name, 1, 0)
    queue.stores.backend.claim("somebody", 1, 0)

    workers = queue.get_workers()

    assert workers[name]["node_id"] == uuid.getnode()
    assert workers[name]["pid"] == os.getpid()
    assert workers[name]["task_id"] == task_id
    assert isinstance(workers[name]["update_time"], int)
    assert workers["somebody"]["node_id"] is workers["somebody"]["pid"] is workers["somebody"]["task_id"] is None


@as_text_and_bytes
def test_a_retry_keeps_the_id(queue: TaskQueue, form: As) -> None:
    """The task runs again as if for the first time."""
    attempts = []

    @queue.task
    def work() -> None:
        attempts.append(current_task().attempt)
        if len(attempts) == 1:
            raise ValueError

    task_id = work().task_id
    drain(queue)
    handle = queue.retry_task(form(task_id))

    assert (handle.task_id, handle.state.name) == (task_id, "PENDING")
    drain(queue)
    assert queue.get_task(task_id)["info"]["state"] == 5
    assert attempts == [1, 1]


def test_only_an_ended_task_is_retried(queue: TaskQueue) -> None:
    """The error says where it is."""
    task_id = queue.task(download)(1).task_id

    with pytest.raises(TaskStateError, match=f"task {task_id} was not retried: it is PENDING"):
        queue.retry_task(task_id)


def test_what_the_history_has_dropped_is_not_retried() -> None:
    """The result is still there, but the message is not, so it cannot run again."""
    queue = TaskQueue("memory://", stream_key="q", queue_size=0)
    handle = queue.task(download)(1)
    drain(queue)

    assert handle.get() == 1
    with pytest.raises(TaskStateError, match="its message is no longer in the history"):
        queue.retry_task(handle.task_id)
    assert b'"task_name": null' in queue.get_task(handle.task_id)["data"][b"task"]


@as_text_and_bytes
def test_clearing_a_range(queue: TaskQueue, form: As) -> None:
    """At most `count` tasks are deleted with their results, and none in flight."""
    task = queue.task(download)
    for n in range(6):
        task.with_options(task_id=f"id-{n}")(n)
    queue.stores.backend.claim("worker", 1, 0)

    assert queue.clear_tasks(form("id-4"), form("id-5")) == 2
    assert queue.clear_tasks(count=0) == 0
    assert queue.clear_tasks(count=1) == 1
    assert queue.clear_tasks() == 2
    assert [one["task_id"] for one in queue.get_tasks()] == ["id-0"]
    with pytest.raises(UnknownTaskError):
        queue.get_task("id-4")


def test_gc_has_nothing_to_do() -> None:
    """The history is cut to the size of this side of the queue when a task ends here."""
    store, other = MemoryStore(), StoreOptions("q", history=100)
    larger = TaskQueue(stream_key="q", broker=MemoryBackend(store, other))
    larger.task(download).map([(n,) for n in range(5)])
    drain(larger)
    queue = TaskQueue(stream_key="q", broker=MemoryBackend(store, StoreOptions("q", history=2)))

    assert queue.task_total() == 5
    assert queue.gc() == 0
    queue.task(download)(5)
    drain(queue)
    assert queue.task_total() == 2


def test_a_queue_has_its_names(queue: TaskQueue) -> None:
    """The attributes are those given as arguments."""
    named = TaskQueue("mail", consumer_group="eu")

    assert (named.stream_key, named.consumer_group) == ("mail", "eu")
    assert (TaskQueue().stream_key, TaskQueue().consumer_group) == ("tasks", "cg")
    with pytest.raises(ConfigurationError, match="has two names"):
        TaskQueue("mail", stream_key="other")
