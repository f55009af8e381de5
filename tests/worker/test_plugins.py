"""Where a worker enters its plugins, and that they cannot change what happens."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest

from pyxqueue import Outgoing, Plugin, RetryLater, TaskContext, TaskQueue, TaskSettled, current_task
from pyxqueue.backends.memory import MemoryBackend, MemoryStore
from pyxqueue.errors import Reject, TimeLimitExceeded
from pyxqueue.model.message import (
    Delivery,
    Done,
    Extension,
    Fail,
    LeaseStatus,
    Message,
    Settlement,
    StartStatus,
)
from pyxqueue.plugin import Plugins
from pyxqueue.protocols import StoreOptions
from pyxqueue.worker.executors import Executor, Inline, Threads
from pyxqueue.worker.interrupts import ThreadInterrupter
from pyxqueue.worker.loop import Loop
from pyxqueue.worker.serving import QueueParts
from pyxqueue.worker.worker import Worker
from tests.support.until import until

from .harness import Bench

SPAN: contextvars.ContextVar[str] = contextvars.ContextVar("span", default="")
ROLE: contextvars.ContextVar[str] = contextvars.ContextVar("role", default="")


class Tracer(Plugin):
    """Sets a variable around each task, as a tracer does."""

    def __init__(self, calls: list[Any], name: str = "tracer") -> None:
        self.calls = calls
        self.name = name

    def around(self, context: TaskContext, /) -> AbstractContextManager[object]:
        return self._around(context)

    @contextmanager
    def _around(self, context: TaskContext) -> Iterator[None]:
        self.calls.append((self.name, "enter", context.id, threading.get_ident(), SPAN.get()))
        token = SPAN.set(f"{self.name} {context.id}")
        error: BaseException | None = None
        try:
            yield
        except BaseException as raised:
            error = raised
            raise
        finally:
            SPAN.reset(token)
            self.calls.append((self.name, "leave", context.id, threading.get_ident(), error))


class Roles(Plugin):
    """Notes in which roles it was entered, and sets a variable there."""

    def __init__(self) -> None:
        self.roles: set[str] = set()

    def inside(self, role: str, /) -> AbstractContextManager[object]:
        return self._inside(role)

    @contextmanager
    def _inside(self, role: str) -> Iterator[None]:
        self.roles.add(role)
        token = ROLE.set(role)
        yield
        ROLE.reset(token)


class Broken(Plugin):
    """Raises in every hook."""

    def headers(self, call: Outgoing, /) -> Mapping[str, str]:
        raise ValueError("headers")

    def around(self, context: TaskContext, /) -> AbstractContextManager[object] | None:
        raise SystemExit("around")

    def observe(self, event: object, /) -> None:
        raise KeyboardInterrupt

    def inside(self, role: str, /) -> AbstractContextManager[object] | None:
        raise ValueError("inside")

    def started(self, worker: str, /) -> None:
        raise SystemExit("started")

    def stopping(self, seconds: float, /) -> None:
        raise SystemExit("stopping")


class Manager:
    """A context manager that does what it is told."""

    def __init__(self, enter: Callable[[], object], leave: Callable[[], bool]) -> None:
        self._enter, self._leave = enter, leave

    def __enter__(self) -> None:
        self._enter()

    def __exit__(self, *about: object) -> bool:
        return self._leave()


class Managing(Plugin):
    def __init__(self, manager: Manager) -> None:
        self.manager = manager

    def around(self, context: TaskContext, /) -> AbstractContextManager[object]:
        return self.manager


def fails(text: object) -> Any:
    raise OSError(text)


def span() -> tuple[str, int]:
    return SPAN.get(), threading.get_ident()


async def aspan() -> tuple[str, int]:
    await asyncio.sleep(0)
    return await asyncio.create_task(_in_a_helper())


async def _in_a_helper() -> tuple[str, int]:
    return SPAN.get(), threading.get_ident()


def returned_span() -> Any:
    return aspan()


@pytest.fixture
def bench() -> Bench:
    return Bench()


EXECUTORS: dict[str, Callable[[], tuple[Executor, Loop | None]]] = {
    "inline": lambda: (Inline(ThreadInterrupter()), None),
    "threads": lambda: (Threads(2), None),
    "loop": lambda: (Threads(2), Loop(2)),
}


def run(bench: Bench, how: str, *plugins: Plugin, tasks: int = 1) -> None:
    """Run a worker until so many tasks are settled."""
    executor, loop = EXECUTORS[how]()
    worker = bench.worker(executor=executor, loop=loop, plugins=plugins)
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        until(lambda: len(bench.settled()) == tasks, "they are settled")
    finally:
        worker.stop()
        thread.join()


def value_of(bench: Bench, task_id: str) -> Any:
    (record,) = bench.broker.wait([task_id], 0)
    assert record is not None
    return bench.codec.open_result(record)


@pytest.mark.parametrize("function", [span, aspan, returned_span], ids=lambda function: function.__name__)
@pytest.mark.parametrize("how", EXECUTORS)
def test_a_function_runs_in_what_a_plugin_has_entered(bench: Bench, how: str, function: Callable[..., Any]) -> None:
    """A variable that was set is seen by the function and its helpers, in the thread in which it was set, and by no
    other task."""
    calls: list[Any] = []
    bench.task(function)
    for number in range(3):
        bench.put(function.__name__, task_id=f"t{number}")

    run(bench, how, Tracer(calls), tasks=3)

    for number in range(3):
        seen, thread = value_of(bench, f"t{number}")
        enter, leave = [call for call in calls if call[2] == f"t{number}"]
        assert seen == f"tracer t{number}"
        assert enter == ("tracer", "enter", f"t{number}", enter[3], "")
        assert leave == ("tracer", "leave", f"t{number}", enter[3], None)
        assert how == "loop" or function is not span or thread == enter[3]


def test_plugins_are_left_in_reverse(bench: Bench) -> None:
    """The first of the list is the outermost."""
    calls: list[Any] = []
    bench.task(span)
    bench.put("span")

    run(bench, "inline", Tracer(calls, "one"), Tracer(calls, "two"))

    assert [call[:2] for call in calls] == [("one", "enter"), ("two", "enter"), ("two", "leave"), ("one", "leave")]
    assert calls[1][4] == "one t1"


def _raise(error: BaseException) -> Callable[[], None]:
    def task() -> None:
        raise error

    return task


def _raise_on_loop(error: BaseException) -> Callable[[], Any]:
    async def task() -> None:
        await asyncio.sleep(0)
        raise error

    return task


@pytest.mark.parametrize("error", [ValueError("no"), RetryLater(5), Reject("bad"), SystemExit(3)], ids=repr)
@pytest.mark.parametrize(("how", "made"), [("inline", _raise), ("threads", _raise), ("loop", _raise_on_loop)])
def test_a_plugin_sees_what_the_task_raised(
    bench: Bench, how: str, made: Callable[[BaseException], Callable[[], Any]], error: BaseException
) -> None:
    """An error, and what ends a run in another way."""
    calls: list[Any] = []
    bench.task(made(error))
    bench.put("task")

    run(bench, how, Tracer(calls))

    assert calls[-1][4] is error


@pytest.mark.parametrize("how", ["inline", "loop"])
def test_a_plugin_sees_that_the_time_was_up(bench: Bench, how: str) -> None:
    """As the error that the task fails with, also where a loop has cancelled it."""
    calls: list[Any] = []

    def slow() -> None:
        while True:
            time.sleep(0.01)

    async def aslow() -> None:
        await asyncio.sleep(60)

    function = slow if how == "inline" else aslow
    bench.task(function, timeout=0.05, retries=0)
    bench.put(function.__name__)

    run(bench, how, Tracer(calls))

    error = calls[-1][4]
    assert isinstance(error, TimeLimitExceeded)
    assert "0.05" in str(error)


MANAGERS: dict[str, Manager] = {
    "raises when it is entered": Manager(lambda: fails("enter"), lambda: False),
    "raises when it is left": Manager(lambda: None, lambda: fails("leave")),
    "swallows": Manager(lambda: None, lambda: True),
}


@pytest.mark.parametrize("what", MANAGERS)
@pytest.mark.parametrize(("how", "made"), [("inline", _raise), ("loop", _raise_on_loop)])
def test_a_plugin_cannot_change_how_a_task_ends(
    bench: Bench, caplog: pytest.LogCaptureFixture, how: str, made: Callable[[BaseException], Any], what: str
) -> None:
    """Neither by an error of its own, nor by swallowing that of the task; the other plugins are left, too."""
    calls: list[Any] = []
    error = ValueError("the task's own")
    bench.task(made(error), retries=0)
    bench.put("task")

    run(bench, how, Tracer(calls), Managing(MANAGERS[what]))

    (settled,) = [event for event in bench.events if isinstance(event, TaskSettled)]
    assert settled.verdict == Fail("ValueError: the task's own")
    assert calls[-1][4] is error
    assert "the plugin Managing" in caplog.text


@pytest.mark.parametrize("how", EXECUTORS)
def test_a_plugin_that_raises_everywhere(bench: Bench, caplog: pytest.LogCaptureFixture, how: str) -> None:
    """Its errors are logged, and change nothing, not even for the next plugin."""
    calls: list[Any] = []
    bench.task(span)
    bench.put("span")

    run(bench, how, Broken(), Tracer(calls))

    (settled,) = [event for event in bench.events if isinstance(event, TaskSettled)]
    assert settled.verdict == Done()
    assert value_of(bench, "t1")[0] == "tracer t1"
    assert "the plugin Broken raised an error in around()" in caplog.text
    assert "the plugin Broken raised an error in inside()" in caplog.text


@pytest.mark.parametrize("how", EXECUTORS)
def test_where_a_worker_talks_to_the_store(bench: Bench, how: str) -> None:
    """A plugin is entered in each role, and no task runs inside of it."""
    roles = Roles()

    def role() -> str:
        return ROLE.get()

    async def arole() -> str:
        return ROLE.get()

    for function in (role, arole):
        bench.task(function)
        bench.put(function.__name__, task_id=function.__name__)
    bench.put("role", task_id="asked", lifetime_ms=60_000)

    run(bench, how, roles, tasks=3)

    assert roles.roles == {"claim", "settle", "monitor", "begin"}
    assert [value_of(bench, task_id) for task_id in ("role", "arole", "asked")] == ["", "", ""]


class Listening(MemoryBackend):
    """Notes inside of which role it is called."""

    def __init__(self, bench: Bench) -> None:
        super().__init__(MemoryStore(bench.clock), StoreOptions("tasks", "cg"))
        self.seen: set[tuple[str, str]] = set()

    def claim(self, consumer: str, limit: int, wait_ms: int) -> Sequence[Delivery]:
        self.seen.add(("claim", ROLE.get()))
        return super().claim(consumer, limit, wait_ms)

    def settle(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        self.seen.add(("settle", ROLE.get()))
        return super().settle(settlements)

    def extend(self, extensions: Sequence[Extension]) -> Sequence[LeaseStatus]:
        self.seen.add(("extend", ROLE.get()))
        return super().extend(extensions)

    def begin(self, receipts: Sequence[str]) -> Sequence[StartStatus]:
        self.seen.add(("begin", ROLE.get()))
        return super().begin(receipts)


@pytest.mark.parametrize("stores", [1, 2])
def test_each_request_is_inside_of_a_role(bench: Bench, stores: int) -> None:
    """Also where each of several stores is claimed from in a thread of its own."""
    brokers = [Listening(bench) for _ in range(stores)]
    hooks, done = Plugins([Roles()]), threading.Event()

    def report() -> None:
        current_task().progress(1)
        done.wait(10)

    bench.task(report)
    parts = [
        QueueParts(broker, bench.registry, bench.codec, name=str(number), plugins=hooks)
        for number, broker in enumerate(brokers)
    ]
    worker = Worker(parts, Threads(stores), "me", bench.table)
    body, serializer, _ = bench.codec.seal_call("report", "t1", (), {})
    for broker in brokers:
        broker.enqueue([Message("t1", "report", body, serializer, lifetime_ms=60_000)])
    thread = threading.Thread(target=worker.run)
    thread.start()

    until(lambda: all(any(call == "extend" for call, _ in broker.seen) for broker in brokers), "progress is sent")
    done.set()
    until(lambda: all(any(call == "settle" for call, _ in broker.seen) for broker in brokers), "they are settled")
    worker.stop()
    thread.join()

    for broker in brokers:
        assert broker.seen == {("claim", "claim"), ("begin", "begin"), ("extend", "monitor"), ("settle", "settle")}


@pytest.mark.parametrize("how", EXECUTORS)
def test_nothing_leaks_from_one_task_to_the_next(bench: Bench, how: str) -> None:
    """A variable that a task sets itself ends with it, also where the next one starts at once in its place."""

    def leave() -> str:
        before = SPAN.get()
        SPAN.set("left behind")
        return before

    async def aleave() -> str:
        return leave()

    ids = [f"t{number}" for number in range(8)]
    bench.task(leave)
    bench.task(aleave)
    for task_id in ids:
        bench.put("leave" if how != "loop" else "aleave", task_id=task_id)

    run(bench, how, tasks=8)

    assert [value_of(bench, task_id) for task_id in ids] == [""] * 8


def test_a_task_that_takes_the_place_of_another_on_the_loop() -> None:
    """It starts in the context of the worker, not in that of the task that made room for it."""
    seen: list[str] = []

    async def leave() -> None:
        seen.append(SPAN.get())
        SPAN.set("left behind")

    loop = Loop(1)
    loop.open(fails)
    loop.submit(leave)
    loop.submit(leave)
    loop.wake()
    loop.wait_idle()
    loop.close()

    assert seen == ["", ""]


def test_methods_that_are_not_written_cost_nothing(bench: Bench) -> None:
    """A plugin that only observes stands in no one's way."""

    class Watching(Plugin):
        def observe(self, event: object, /) -> None: ...

    worker = bench.worker(plugins=[Watching()])

    (queue,) = worker._queues
    assert (queue.runner.around, queue.runner.base) == (None, None)


def test_eager_mode_is_the_same() -> None:
    """Plugins add headers, stand around the function, are told of events, and of the begin and the end."""
    calls: list[Any] = []

    class Everything(Tracer):
        def headers(self, call: Outgoing, /) -> Mapping[str, str]:
            return {"of": f"{call.task} {call.queue} {call.count}"}

        def observe(self, event: object, /) -> None:
            calls.append(type(event).__name__)

        def started(self, worker: str, /) -> None:
            calls.append("started")

        def stopping(self, seconds: float, /) -> None:
            calls.append(f"stopping {seconds:g}")

    queue = TaskQueue("memory://", stream_key="shop", eager=True, plugins=[Everything(calls), Broken()])

    @queue.task(name="look")
    def look() -> tuple[str, str]:
        return SPAN.get(), current_task().headers["of"]

    handle = look()
    assert handle.get() == (f"tracer {handle.task_id}", "look shop 1")
    queue.close()
    queue.close()

    named = [call if isinstance(call, str) else call[1] for call in calls]
    assert named == ["started", "TaskStarted", "enter", "leave", "TaskSettled", "stopping 5"]
