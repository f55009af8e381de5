"""`queue.admin`: looking at a queue, and acting on its tasks."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import click
import pytest

from pyxqueue import ConfigurationError, SerializationError, TaskQueue, TaskStateError, TaskStatus, UnknownTaskError
from pyxqueue.backends.memory import MemoryBackend, MemoryStore
from pyxqueue.cli.program import COMMANDS, main
from pyxqueue.client.admin import Admin, BatchResult
from pyxqueue.client.compat import ReleaseNames
from pyxqueue.clock import FakeClock
from pyxqueue.model.message import Done, Message, Progress, Record, Settlement, TaskInfo, Unreadable
from pyxqueue.protocols import StoreOptions
from pyxqueue.supervisor.child import boot, consumer_name, with_pid
from pyxqueue.testing import drain

As = Callable[[str], "str | bytes"]
as_text_and_bytes = pytest.mark.parametrize("form", [str, str.encode], ids=["str", "bytes"])


def work(n: int, **_: object) -> int:
    if n < 0:
        raise ValueError("less than nothing")
    return 2 * n


@pytest.fixture
def put(queue: TaskQueue) -> Callable[..., str]:
    """Enqueues a call under an id of our own."""
    task = queue.task(name="work")(work)

    def put(task_id: str, n: int = 1, **options: object) -> str:
        return task.with_options(task_id=task_id, **options)(n, b="x").task_id  # type: ignore[arg-type]

    return put


def states(queue: TaskQueue, *ids: str) -> list[str | None]:
    return [info.status.name if info else None for info in queue.stores.backend.show(ids)]


def test_how_long_a_task_waited_and_ran() -> None:
    """Both are known once it has ended with a run that was measured; the time that it ran is not part of the wait."""
    clock = FakeClock()
    backend = MemoryBackend(MemoryStore(clock), StoreOptions("q"))
    admin = TaskQueue(broker=backend, stream_key="q").admin
    backend.enqueue([Message("a", "job"), Message("b", "job"), Message("late", "job", delay_ms=5_000)])
    clock.advance(2_000)
    a, b = backend.claim("w", 2, 0)
    assert admin.task("a").waited == 2.0
    clock.advance(3_100)
    (late,) = backend.claim("w", 1, 0)
    for delivery, ran_ms in ((a, 3_000), (b, 0), (late, 40)):
        record = Record(delivery.message.id, TaskStatus.SUCCESS, ran_ms=ran_ms)
        assert list(backend.settle([Settlement(delivery.receipt, Done(), record)])) == [True]

    seen = {one: (admin.task(one).waited, admin.task(one).ran) for one in ("a", "b", "late")}

    assert seen == {"a": (2.1, 3.0), "b": (None, None), "late": (0.06, 0.04)}


def refusals(result: BatchResult) -> dict[str, str]:
    return {task_id: str(error) for task_id, error in result.refused.items()}


def test_each_command_has_a_method_of_its_name() -> None:
    """Except those that run tasks, `move`, which works on two stores, `schedule` and `limits`, which are objects of
    their own, `health`, which may ask no store, `doctor`, whose method is a verb, and those that serve others."""
    context = click.Context(main)
    commands = [command for name in COMMANDS if (command := main.get_command(context, name)) is not None]
    names = {str(command.name).replace("-", "_") for command in commands if not command.hidden}

    assert names - {
        "worker",
        "move",
        "schedule",
        "limits",
        "health",
        "doctor",
        "dashboard",
        "metrics",
        "top",
        "timeline",
    } == {name for name in dir(Admin) if not name.startswith("_")} - {
        "workers",  # shown by `info`
        "explain",  # shown by `task`
        "queues",  # shown by `info` where no queue is named
        "retry_flow",  # `flow --retry`
        "edit",  # `retry --args` and the like
        "diagnose",  # `doctor`
        "list",  # `tasks`
        "failures",  # `failed --by kind`
        "statistics",  # `metrics`
    }


def test_the_facade_stays_small() -> None:
    """An application needs few methods; the rest is administration, or has a name of the release 0.1.1."""
    own, old, administration = (
        [name for name, value in vars(kind).items() if callable(value) and not name.startswith("_")]
        for kind in (TaskQueue, ReleaseNames, Admin)
    )

    assert own == ["task", "every", "result", "close", "run", "start", "restart", "shutdown"]
    assert len(old) <= 12
    assert len(administration) <= 16


def test_info_counts_each_place(queue: TaskQueue, put: Callable[..., str]) -> None:
    """The result names the queue and the group."""
    put("failed", -1)
    put("done")
    drain(queue)
    put("late", delay=60)
    put("held")
    queue.stores.backend.claim("worker", 1, 0)
    put("ready")

    info = queue.admin.info()

    assert (info.queue, info.group) == (queue.stream_key, "cg")
    assert info.depth is not None
    depth = info.depth
    assert (depth.ready, depth.in_flight, depth.delayed, depth.failed, depth.history) == (1, 1, 1, 1, 1)


def test_info_of_another_group(tmp_path: Path) -> None:
    """`info` shows another group of the queue, and does not create one."""
    url = f"sqlite:///{tmp_path}/q.db"
    with closing(TaskQueue(url)) as queue, closing(TaskQueue(url, consumer_group="eu")) as other:
        other.stores.backend.lease_ms()
        queue.task(name="work")(work)(1)

        depth = queue.admin.info("eu").depth
        assert depth is not None
        assert depth.ready == 1
        with pytest.raises(ConfigurationError, match="does not have a group 'us'; its groups: cg, eu"):
            queue.admin.info("us")
        assert sorted(queue.admin.groups()) == ["cg", "eu"]


def test_the_queues_of_a_store(tmp_path: Path) -> None:
    """`queues` returns each queue with its groups, up to a limit, and the facts of the store beside them."""
    url = f"sqlite:///{tmp_path}/q.db"
    for name in ("a", "b", "c"):
        with closing(TaskQueue(url, stream_key=name)) as queue:
            queue.task(name="work")(work)(1)
    with closing(TaskQueue(url, stream_key="unused")) as queue:
        page = queue.admin.queues(limit=2)

        assert page is not None
        assert [(one.queue, one.group, one.depth and one.depth.ready) for one in page.queues] == [
            ("a", "cg", 1), ("b", "cg", 1),
        ]  # fmt: skip
        assert (page.more, page.complete) == (1, True)
        assert page.store == queue.admin.info().store != {}


def test_a_store_of_the_applications_own_names_no_queues() -> None:
    """Only the application can open other queues or groups of a store object of its own."""
    store = MemoryStore()
    queue = TaskQueue(broker=MemoryBackend(store, StoreOptions("q")), stream_key="q")
    MemoryBackend(store, StoreOptions("q", "eu")).lease_ms()

    assert queue.admin.queues() is None
    assert queue.admin.info("cg").depth is not None
    with pytest.raises(ConfigurationError, match="cannot open other queues and groups of this store"):
        queue.admin.info("eu")


def test_an_eager_queue_names_no_queues(tmp_path: Path) -> None:
    """The tasks of an eager queue never reach the store that it names."""
    queue = TaskQueue(f"sqlite:///{tmp_path}/q.db", eager=True)

    assert queue.admin.queues() is None
    assert not list(tmp_path.iterdir())


def test_a_worker_that_is_long_silent_is_not_listed() -> None:
    """A worker disappears from the list after two leases, unless it holds a task."""
    clock = FakeClock()
    backend = MemoryBackend(MemoryStore(clock), StoreOptions("q"))
    queue = TaskQueue(broker=backend, stream_key="q")
    queue.task(name="work")(work)(1)
    backend.claim("has", 1, 0)
    backend.claim("idle", 1, 0)

    clock.advance(2 * backend.lease_ms())
    assert [worker.name for worker in queue.admin.workers()] == ["has", "idle"]
    clock.advance(1)
    assert [worker.name for worker in queue.admin.workers()] == ["has"]


def test_workers(queue: TaskQueue, put: Callable[..., str]) -> None:
    """Workers come by name, with their machine, what they hold, and details of the first of these tasks."""
    name = with_pid(consumer_name("eu-", 3, boot()), os.getpid())
    for number in range(4):
        put(f"t{number}")
    queue.stores.backend.claim(name, 4, 0)
    queue.stores.backend.claim("another", 1, 0)

    another, worker = queue.admin.workers(tasks=2)

    assert (another.name, another.node, another.pid, list(another.in_flight)) == ("another", None, None, [])
    assert (worker.name, worker.node, worker.pid) == (name, uuid.getnode(), os.getpid())
    assert list(worker.in_flight) == ["t0", "t1", "t2", "t3"]
    assert [(task.id, task.worker) for task in worker.tasks] == [("t0", name), ("t1", name)]
    assert worker.idle_ms >= 0


@as_text_and_bytes
def test_a_task_in_each_state(queue: TaskQueue, put: Callable[..., str], form: As) -> None:
    """`task` decodes the call and the result of a task in each state."""
    put("done", 4)
    put("failed", -1)
    drain(queue)
    put("waits")

    done, failed, waits = (queue.admin.task(form(name)) for name in ("done", "failed", "waits"))

    assert (done.id, done.state, done.name) == ("done", TaskStatus.SUCCESS, "work")
    assert (done.args, done.kwargs, done.result) == ([4], {"b": "x"}, 8)
    assert (done.failure, done.reason, done.unreadable) == ("", "", "")
    assert failed.failure.startswith("ValueError: less than nothing\nTraceback")
    assert (failed.result, failed.reason) == (None, "ValueError: less than nothing")
    assert (waits.state, waits.result, waits.progress) == (TaskStatus.PENDING, None, None)
    assert isinstance(waits.info.message, Message)


def test_the_progress_of_a_task_that_has_ended(queue: TaskQueue) -> None:
    """The last progress that the task reported is shown."""

    @queue.task
    def half() -> None:
        queue.update_task_progress(50)

    handle = half()
    drain(queue)

    assert queue.admin.task(handle.task_id).progress == Progress(50)


def test_a_task_that_cannot_be_read(queue: TaskQueue) -> None:
    """A message that cannot be read is described, and nothing is made up."""
    unreadable = Unreadable("odd", {b"x": b"y"}, "it is not a message")
    queue.stores.backend.adopt([TaskInfo("odd", TaskStatus.PENDING, unreadable)])

    task = queue.admin.task("odd")

    assert (task.name, task.args, task.kwargs, task.unreadable) == (None, [], {}, "it is not a message")


@as_text_and_bytes
def test_an_unknown_task(queue: TaskQueue, put: Callable[..., str], form: As) -> None:
    """It is an error for a method that takes one id, and a refusal for a method that takes many."""
    put("a")

    with pytest.raises(UnknownTaskError, match="no task has the id 'nope'"):
        queue.admin.task(form("nope"))
    for act in (queue.admin.retry, queue.admin.cancel, queue.admin.delete):
        result = act([form("nope")])
        assert result.done == 0
        assert isinstance(result.refused["nope"], UnknownTaskError)


@pytest.mark.parametrize("odd", [None, 5, ["a"]])
def test_what_is_not_an_id_is_refused(queue: TaskQueue, odd: object) -> None:
    """A value that is not an id is refused instead of being turned into one."""
    with pytest.raises(ConfigurationError, match="is not a task id"):
        queue.admin.task(odd)  # type: ignore[arg-type]
    for act in (queue.admin.flow, queue.admin.retry_flow):
        with pytest.raises(ConfigurationError, match="is not a task id"):
            act(odd)  # type: ignore[arg-type] # wrong on purpose
    with pytest.raises(ConfigurationError, match="is not a task id"):
        queue.admin.cancel([odd])  # type: ignore[list-item]


def test_tasks_by_state_and_name(queue: TaskQueue, put: Callable[..., str]) -> None:
    """Tasks come in pages, the newest first; a state may be given by its name, in any case."""
    put("f", -1)
    drain(queue)
    for number in range(5):
        put(f"t{number}")
    queue.task(name="other")(lambda: None).with_options(task_id="other")()

    first = queue.admin.tasks("pending", name="work", limit=3)
    second = queue.admin.tasks(TaskStatus.PENDING, name="work", after=first.next, limit=3)

    assert [task.id for page in (first, second) for task in page.tasks] == ["t4", "t3", "t2", "t1", "t0"]
    assert second.next == ""
    assert [task.id for task in queue.admin.tasks("Failure").tasks] == ["f"]
    assert [task.id for task in queue.admin.failed().tasks] == ["f"]
    assert len(queue.admin.tasks().tasks) == 7


@pytest.mark.parametrize(
    ("options", "why"),
    [({"state": "asleep"}, "'asleep' is not a state"), ({"limit": 0}, "limit=0 must be 1 or more"),
     ({"after": "nonsense"}, "nonsense")],
)  # fmt: skip
def test_a_list_that_cannot_be_had(queue: TaskQueue, options: dict[str, object], why: str) -> None:
    """It raises an error and does not return an empty list."""
    with pytest.raises(ConfigurationError, match=why):
        queue.admin.tasks(**options)  # type: ignore[arg-type]


def test_failed_tasks_are_retried(queue: TaskQueue, put: Callable[..., str]) -> None:
    """The named failed tasks run again; tasks that did not fail do so only with `ended`."""
    put("f1", -1)
    put("f2", -1)
    put("done")
    drain(queue)
    put("waits")

    result = queue.admin.retry(["f1", b"f1", "done", "waits"])

    assert (result.done, refusals(result)) == (
        1,
        {
            "done": "task done was not retried: it is SUCCESS, not FAILURE",
            "waits": "task waits was not retried: it is PENDING, not FAILURE",
        },
    )
    assert isinstance(result.refused["done"], TaskStateError)
    assert queue.admin.retry("done", ended=True).done == 1
    assert refusals(queue.admin.retry("waits", ended=True)) == {"waits": "task waits was not retried: it is PENDING"}
    assert queue.admin.retry(all_failed=True) == BatchResult(1)
    assert states(queue, "f1", "f2", "done", "waits") == ["PENDING"] * 4


def test_a_retry_says_what(queue: TaskQueue) -> None:
    """`retry(None)` is refused, so that an id that happens to be None does not run all failed tasks."""
    for options in ({}, {"ids": None}, {"ids": ["a"], "all_failed": True}):
        with pytest.raises(ConfigurationError, match="either ids, all_failed=True, or where="):
            queue.admin.retry(**options)
    with pytest.raises(ConfigurationError, match="purge\\(\\) deletes nothing without"):
        queue.admin.purge()


def test_tasks_are_cancelled(queue: TaskQueue, put: Callable[..., str]) -> None:
    """Waiting and running tasks are cancelled; a task that has ended is refused."""
    put("done")
    drain(queue)
    put("runs")
    queue.stores.backend.claim("worker", 1, 0)
    put("waits")

    result = queue.admin.cancel(["done", "runs", "waits"])

    assert (result.done, refusals(result)) == (2, {"done": "task done was not cancelled: it has ended with SUCCESS"})
    assert states(queue, "runs", "waits") == ["STARTED", "CANCELLED"]


def test_tasks_are_deleted(queue: TaskQueue, put: Callable[..., str]) -> None:
    """Their results are deleted too; tasks in flight are not deleted."""
    put("done")
    drain(queue)
    put("runs")
    queue.stores.backend.claim("worker", 1, 0)
    put("waits")

    result = queue.admin.delete(["done", "runs", "waits"])

    assert (result.done, refusals(result)) == (2, {"runs": "task runs was not deleted: it is STARTED; cancel it first"})
    assert states(queue, "done", "runs", "waits") == [None, "STARTED", None]


@pytest.mark.parametrize(
    ("what", "left"),
    [("waiting", ["f", "done", "runs"]), ("failed", ["done", "late", "runs", "waits"]),
     ("history", ["f", "late", "runs", "waits"])],
)  # fmt: skip
def test_places_are_purged(queue: TaskQueue, put: Callable[..., str], what: str, left: list[str]) -> None:
    """Each place can be purged by itself; tasks in flight stay."""
    put("f", -1)
    put("done")
    drain(queue)
    put("runs")
    queue.stores.backend.claim("worker", 1, 0)
    put("waits")
    put("late", delay=60)

    number = queue.admin.purge(**{what: True})

    assert sorted(task.id for task in queue.admin.tasks().tasks) == sorted(left)
    assert number == 5 - len(left)


def test_flows_are_purged(queue: TaskQueue, put: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Also what becomes ready because the page before it was deleted."""
    monkeypatch.setattr("pyxqueue.client.admin._PAGE", 2)
    put("f", -1)
    task = queue.task(name="ends")(work)
    with queue.flow() as flow:
        handles = [flow.add(task, 0)]
        for _ in range(7):
            handles.append(flow.add(task, handles[-1]))

    assert queue.admin.purge(waiting=True) == 9
    assert queue.admin.tasks().tasks == []


def test_groups_are_listed_and_removed(queue: TaskQueue, put: Callable[..., str]) -> None:
    """Removing a group that does not exist is an error."""
    put("a")

    assert list(queue.admin.groups()) == ["cg"]
    with pytest.raises(ConfigurationError):
        queue.admin.remove_group("eu")
    queue.admin.remove_group("cg")
    assert list(queue.admin.groups()) == []


def test_a_result_that_cannot_be_read_here_is_told() -> None:
    """A result that cannot be decoded here is replaced by a text that says so."""
    writer = TaskQueue("memory://", stream_key="q", serializer="msgpack")
    handle = writer.task(name="work")(work)(4)
    drain(writer)
    reader = TaskQueue(broker=writer.stores.backend, stream_key="q")

    task = reader.admin.task(handle.task_id)

    with pytest.raises(SerializationError):
        reader.result(handle.task_id).get()
    assert task.result.startswith("<cannot be decoded here: ")
    assert task.args == task.kwargs == f"<msgpack, {len(task.info.message.body)} bytes>"  # type: ignore[union-attr]
