"""One task does not change the next: contexts, signal handlers, streams."""

from __future__ import annotations

import asyncio
import contextvars
import decimal
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pyxqueue.codec import Codec
from pyxqueue.context import current_task
from pyxqueue.errors import NotInTaskError, TimeLimitExceeded
from pyxqueue.model.message import Defer, Message, Unsupported
from pyxqueue.serializers import JSONSerializer
from pyxqueue.worker.events import TaskSettled
from pyxqueue.worker.executors import Inline, Threads
from pyxqueue.worker.loop import Loop
from pyxqueue.worker.surroundings import Surroundings
from tests.support.until import until

from .harness import Bench

VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("VARIABLE", default="untouched")

EXECUTORS: list[Callable[[], dict[str, Any]]] = [
    lambda: {"executor": Inline()},
    lambda: {"executor": Threads(1)},
    lambda: {"executor": Threads(1), "loop": Loop(5)},
]


def touch() -> None:
    decimal.getcontext().prec = 5
    VARIABLE.set("touched")


def look() -> tuple[int, str]:
    return decimal.getcontext().prec, VARIABLE.get()


async def atouch() -> None:
    touch()


async def alook() -> tuple[int, str]:
    await asyncio.sleep(0)
    return look()


def run_all(bench: Bench, executors: dict[str, Any], names: list[str]) -> list[Any]:
    """Run tasks one after the other. Returns their values."""
    worker = bench.worker(**executors)
    runner = threading.Thread(target=worker.run)
    runner.start()
    try:
        for number, name in enumerate(names):
            bench.put(name, task_id=str(number))
            bench.broker.wait([str(number)], 20_000)
    finally:
        worker.stop()
        runner.join(20)
    records = bench.broker.wait([str(number) for number in range(len(names))], 0)
    return [bench.codec.open_result(record) for record in records if record is not None]


@pytest.mark.parametrize("make", EXECUTORS)
def test_each_run_has_a_context_of_its_own(make: Callable[[], dict[str, Any]]) -> None:
    """This goes for context variables and for the decimal context, which a task changes in place."""
    decimal.getcontext()
    bench = Bench()
    for function in (touch, look, atouch, alook):
        bench.task(function)

    values = run_all(bench, make(), ["look", "touch", "look", "atouch", "alook", "look"])

    assert values == [(28, "untouched"), None, (28, "untouched"), None, (28, "untouched"), (28, "untouched")]


def test_the_decimal_context_of_the_thread_is_not_changed() -> None:
    """A copied context shares the decimal context, if the thread has used it before."""
    bench = Bench()
    bench.task(touch)
    decimal.getcontext()
    bench.put("touch")

    bench.worker().drain()

    assert look() == (28, "untouched")


def test_no_task_is_current_after_a_drain() -> None:
    """A drain runs tasks in the caller's own thread."""
    bench = Bench()
    bench.task(look)
    bench.put("look")
    bench.worker().drain()

    with pytest.raises(NotInTaskError):
        current_task()


@pytest.fixture
def surroundings() -> Iterator[Surroundings]:
    before = [(number, signal.getsignal(number)) for number in (signal.SIGALRM, signal.SIGTERM, signal.SIGCHLD)]
    streams, hook, depth = (sys.stdout, sys.stderr), threading.excepthook, sys.getrecursionlimit()
    yield Surroundings()
    for number, handler in before:
        signal.signal(number, handler)
    (sys.stdout, sys.stderr), threading.excepthook = streams, hook
    sys.setrecursionlimit(depth)


def test_what_a_task_has_changed_is_put_back(surroundings: Surroundings, caplog: pytest.LogCaptureFixture) -> None:
    """The log says so, once for each task."""
    before = (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGCHLD), sys.stdout, sys.getrecursionlimit())

    for _ in range(2):
        signal.signal(signal.SIGTERM, lambda *_: None)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        sys.stdout = sys.stderr
        sys.setrecursionlimit(before[3] + 100)
        threading.excepthook = print
        with caplog.at_level(logging.WARNING, "pyxqueue"):
            surroundings.put_back("shop.sell")

    after = (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGCHLD), sys.stdout, sys.getrecursionlimit())
    assert after == before
    (record,) = caplog.records
    what = "the handler of SIGTERM, the handler of SIGCHLD, a standard stream, an excepthook, the recursion limit"
    assert record.getMessage() == f"task shop.sell has changed {what}: put back"


def test_tasks_that_change_nothing_are_not_logged(surroundings: Surroundings, caplog: pytest.LogCaptureFixture) -> None:
    """Most tasks do not touch signal handlers or streams."""
    with caplog.at_level(logging.DEBUG, "pyxqueue"):
        surroundings.put_back("shop.sell")
    assert not caplog.records


def test_a_message_whose_arguments_do_not_fit_is_deferred() -> None:
    """A worker of another release may have a function that takes them."""
    bench = Bench()
    bench.task(look)
    bench.put("look", 1, task_id="new")

    bench.worker().drain()

    (event,) = [one for one in bench.events if isinstance(one, TaskSettled)]
    assert isinstance(event.verdict, Defer)
    assert isinstance(event.outcome, Unsupported)
    assert event.outcome.failure.type == "ArgumentError"
    (info,) = bench.broker.show(["new"])
    assert info is not None
    assert isinstance(info.message, Message)
    assert info.message.deferrals == 1


def forked_and_came_back(how: str) -> int:
    """Fork in a task; the child comes back out of the task's function."""
    pid = os.fork()
    if pid:
        _, status = os.waitpid(pid, 0)
        return os.waitstatus_to_exitcode(status)
    if how == "exit":
        sys.exit(7)
    if how == "words":
        sys.exit("words")
    if how == "raise":
        raise ValueError(how)
    return 99


async def aforked_and_came_back(how: str) -> int:
    return forked_and_came_back(how)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("name", ["forked_and_came_back", "aforked_and_came_back"])
@pytest.mark.parametrize("make", EXECUTORS)
@pytest.mark.parametrize(("how", "code"), [("exit", 7), ("words", 1), ("raise", 1), ("return", 0)])
def test_a_fork_that_returns_from_the_task_ends_as_any_process(
    make: Callable[[], dict[str, Any]], name: str, how: str, code: int
) -> None:
    """It does not go on as a second worker: it settles nothing, and the process of the task goes on."""
    bench = Bench()
    bench.task(forked_and_came_back)
    bench.task(aforked_and_came_back)
    worker = bench.worker(**make())
    runner = threading.Thread(target=worker.run)
    runner.start()
    try:
        bench.put(name, how)
        (record,) = bench.broker.wait(["t1"], 20_000)
    finally:
        worker.stop()
        runner.join(20)

    assert record is not None
    assert bench.codec.open_result(record) == code


@pytest.mark.parametrize("executor", [Inline, lambda: Threads(2)])
def test_the_worker_lives_on_after_hostile_exceptions(executor: Callable[[], Any]) -> None:
    """Each of the two would end a thread."""

    class Hostile(Exception):  # noqa: N818
        def __str__(self) -> str:
            raise SystemExit(3)

    def hostile() -> None:
        raise Hostile

    bench = Bench()
    bench.task(hostile)
    bench.task(look)
    worker = bench.worker(executor=executor())
    runner = threading.Thread(target=worker.run)
    runner.start()
    try:
        for number in range(2):
            bench.put("hostile", task_id=f"h{number}")
        bench.put("look", task_id="after")
        records = bench.broker.wait(["h0", "h1", "after"], 20_000)
        until(lambda: all(records), "all have ended", 1)
    finally:
        worker.stop()
        runner.join(20)

    assert [record and record.status.name for record in records] == ["FAILURE", "FAILURE", "SUCCESS"]


def raise_over_time() -> None:
    raise TimeLimitExceeded


async def araise_over_time() -> None:
    raise_over_time()


@pytest.mark.parametrize("name", ["raise_over_time", "araise_over_time"])
@pytest.mark.parametrize("make", EXECUTORS)
def test_a_task_may_raise_the_error_of_a_time_limit_itself(make: Callable[[], dict[str, Any]], name: str) -> None:
    """A task without a `timeout` that raises `TimeLimitExceeded` fails like any other, and the worker goes on."""
    bench = Bench()
    bench.task(raise_over_time)
    bench.task(araise_over_time)
    worker = bench.worker(**make())
    runner = threading.Thread(target=worker.run)
    runner.start()
    try:
        bench.put(name)
        (record,) = bench.broker.wait(["t1"], 20_000)
        assert not worker.broken.is_set()
    finally:
        worker.stop()
        runner.join(20)

    assert record is not None
    assert record.error is not None
    assert record.error.type == "pyxqueue.errors.TimeLimitExceeded"


def test_an_observer_may_raise_anything() -> None:
    """It is called for the next task all the same."""
    bench = Bench()
    bench.task(look)
    seen: list[object] = []

    def observe(event: object) -> None:
        seen.append(event)
        raise SystemExit

    worker = bench.worker(observer=observe)
    for number in range(2):
        bench.put("look", task_id=str(number))
    worker.drain()

    assert len(seen) == 4


def test_the_hard_limit_holds_while_arguments_are_decoded() -> None:
    """Another program may have made arguments that take long to decode."""
    bench, limited = Bench(), []

    class Looking(JSONSerializer):
        def loads(self, data: bytes) -> Any:
            limited.append([entry.task_id for entry in bench.table.overdue(float("inf"))])
            return super().loads(data)

    bench.codec = Codec.of("tasks", [Looking()], None)
    bench.task(look, hard_timeout=3)
    bench.put("look")

    bench.worker().drain()

    assert limited == [["t1"]]
