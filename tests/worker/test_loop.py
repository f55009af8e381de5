"""Tasks on an event loop, which must not harm the loop or each other, and plain functions beside them."""

from __future__ import annotations

import asyncio
import functools
import gc
import io
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest

from pyxqueue import current_task
from pyxqueue.inflight import STUCK, InFlightTable
from pyxqueue.model.message import FLOW_VERSION, Delivery, Message, Settlement
from pyxqueue.model.transitions import Counts, counts_of
from pyxqueue.printable import Lines
from pyxqueue.supervisor.duties.stuck import StuckReturner
from pyxqueue.supervisor.launch import make_executors
from pyxqueue.worker import loop_interrupts
from pyxqueue.worker.batch_sizer import MAX_BATCH
from pyxqueue.worker.dispatching import LOOK, LookAhead
from pyxqueue.worker.events import Throttle
from pyxqueue.worker.executors import Threads
from pyxqueue.worker.inputs import InputReader
from pyxqueue.worker.jobs import Job
from pyxqueue.worker.loop import Loop
from pyxqueue.worker.loop_interrupts import Run, Stall
from pyxqueue.worker.options import WorkerOptions
from pyxqueue.worker.places import Ahead
from pyxqueue.worker.steps import JobSteps
from pyxqueue.worker.worker import Worker
from tests.support.interrupting import places
from tests.support.until import until

from .harness import Bench, closed_error

PATIENCE = 20.0


@pytest.fixture
def bench() -> Bench:
    return Bench()


@contextmanager
def working(bench: Bench, loop: Loop | None = None, threads: int = 1) -> Iterator[Worker]:
    """A worker with an event loop, in a thread, until the end of the block."""
    worker = bench.worker(executor=Threads(2 if loop is None else threads), loop=loop or Loop(20))
    thread = threading.Thread(target=worker.run, daemon=True)
    thread.start()
    try:
        yield worker
    finally:
        worker.stop()
        thread.join(PATIENCE)
        assert not thread.is_alive()
        gc.collect()  # what tasks left behind is logged in this test, and not while a later one parses Python


def ended(bench: Bench, *task_ids: str) -> list[str]:
    """What became of these tasks: SUCCESS, or the type of their failure."""

    def look() -> list[str]:
        found = [record for record in bench.broker.wait(task_ids, 0) if record is not None]
        if len(found) < len(task_ids):
            return []
        return [record.error.type if record.error else record.status.name for record in found]

    return until(look, f"{task_ids} end")


async def leave() -> None:
    await asyncio.sleep(0)
    sys.exit("a helper leaves")


async def gathers() -> None:
    await asyncio.gather(leave(), asyncio.sleep(1000))


async def groups() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(leave())
        await asyncio.sleep(1000)


async def creates() -> None:
    task = asyncio.create_task(leave())
    await asyncio.sleep(1000)
    await task


async def calls_later() -> None:
    asyncio.get_running_loop().call_later(0, sys.exit, 3)
    await asyncio.sleep(1000)


async def interrupts() -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    asyncio.get_running_loop().call_soon(interrupt)
    await asyncio.sleep(1000)


async def returns_at_once() -> None:
    """The helper has raised when the task ends, and no code has retrieved its exception."""
    asyncio.create_task(leave())  # noqa: RUF006 - what is tested
    for _ in range(3):
        await asyncio.sleep(0)


async def swallows() -> str:
    """A task may handle what its helper raised."""
    try:
        await asyncio.gather(leave())
    except SystemExit:
        await asyncio.sleep(0.2)
    return "went on"


async def leaves_one_behind() -> None:
    """A helper that outlives its task makes no task fail."""
    asyncio.create_task(leave())  # noqa: RUF006 - what is tested


async def stops_the_loop() -> None:
    asyncio.get_running_loop().stop()
    await asyncio.sleep(0)


def test_an_exception_without_a_readable_attribute(bench: Bench) -> None:
    """Its task fails, also if it has a time limit."""

    async def closed() -> None:
        raise closed_error()

    bench.task(closed, timeout=100)
    with working(bench):
        bench.put("closed")
        assert [end.rpartition(".")[2] for end in ended(bench, "t1")] == ["ClosedError"]


def test_a_task_may_replace_the_factory_of_tasks(bench: Bench) -> None:
    """The next task on the loop is not affected."""

    def refuse(*_: Any, **__: Any) -> Any:
        raise SystemExit(3)

    async def replaces() -> None:
        asyncio.get_running_loop().set_task_factory(refuse)

    async def after() -> None:
        await asyncio.sleep(0)

    bench.task(replaces)
    bench.task(after)
    with working(bench):
        bench.put("replaces", task_id="first")
        assert ended(bench, "first") == ["SUCCESS"]
        bench.put("after", task_id="second")
        assert ended(bench, "second") == ["SUCCESS"]


@pytest.mark.parametrize(
    ("task", "end"),
    [(gathers, "SystemExit"), (groups, "SystemExit"), (creates, "SystemExit"), (calls_later, "SystemExit"),
     (interrupts, "KeyboardInterrupt"), (returns_at_once, "SystemExit"), (swallows, "SUCCESS"),
     (leaves_one_behind, "SUCCESS"), (stops_the_loop, "SUCCESS")],
)  # fmt: skip
def test_the_loop_outlives_what_tasks_do_to_it(bench: Bench, task: Callable[[], Any], end: str) -> None:
    """An exception that would end the process fails the task that it comes from, and no other."""
    began = threading.Event()
    go_on: list[Callable[[], object]] = []

    async def neighbour() -> str:
        going = asyncio.Event()
        loop = asyncio.get_running_loop()
        go_on.append(lambda: loop.call_soon_threadsafe(going.set))
        began.set()
        await going.wait()
        return "fine"

    for function in (task, neighbour):
        bench.task(function)
    bench.put("neighbour", task_id="beside")
    with working(bench):
        assert began.wait(PATIENCE)
        bench.put(task.__name__, task_id="t")
        assert ended(bench, "t") == [end]
        go_on[0]()
        began.clear()
        bench.put("neighbour", task_id="after")
        assert began.wait(PATIENCE)
        go_on[1]()

        assert ended(bench, "beside", "after") == ["SUCCESS", "SUCCESS"]


def test_a_loop_that_cannot_go_on_ends_the_worker(
    bench: Bench, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker logs it and does not wait for the jobs on the loop, which never end."""

    loop = Loop(20)

    async def breaks_the_loop() -> None:
        monkeypatch.setattr(loop._loop, "_run_once", lambda: 1 / 0)
        await asyncio.sleep(1000)

    bench.task(breaks_the_loop)
    bench.put("breaks_the_loop")
    worker = bench.worker(executor=Threads(2), loop=loop)

    with pytest.raises(RuntimeError, match="a thread of me broke"):
        worker.run()
    assert "the thread pyxqueue-loop of me broke" in caplog.text
    assert worker.broken.is_set()

    monkeypatch.undo()
    (run,) = loop.interrupter._runs.values()
    run.handle.cancel()
    loop._loop.run_until_complete(asyncio.wait([run.handle]))
    loop._loop.close()


def test_plain_functions_run_in_threads(bench: Bench) -> None:
    """Several run at once, and tasks of the loop do not wait for them, however many there are."""
    meeting, go = threading.Barrier(2), threading.Event()

    def plain() -> None:
        meeting.wait(PATIENCE)
        assert go.wait(PATIENCE)

    async def quick() -> None:
        await asyncio.sleep(0)

    for function in (plain, quick):
        bench.task(function)
    for number in range(LOOK - 10):
        bench.put("plain", task_id=f"plain-{number}")
    bench.put("quick", task_id="quick")
    with working(bench):
        assert ended(bench, "quick") == ["SUCCESS"]
        assert bench.broker.depth().history == 1
        go.set()
        assert set(ended(bench, *(f"plain-{number}" for number in range(LOOK - 10)))) == {"SUCCESS"}


def test_workers_with_async_tasks_have_threads(bench: Bench) -> None:
    """By default as many as documented; a decorated ``async def`` counts as an async task."""

    async def inner() -> None: ...

    @functools.wraps(inner)
    def wrapped() -> Any:
        return inner()

    bench.task(wrapped)
    executor, loop = make_executors(WorkerOptions(processes=1), bench.registry)

    assert isinstance(executor, Threads)
    assert executor.room() == 8
    assert loop is not None
    assert loop.room() == 100
    loop._loop.close()


def test_a_decorated_coroutine_function_runs_on_the_loop(bench: Bench) -> None:
    """After its first call it is known to return a coroutine, and runs on the loop, in the context of its own task."""
    loops: list[object] = []
    threads: list[int] = []

    def decorated() -> Any:
        threads.append(threading.get_ident())

        async def body() -> str:
            await asyncio.sleep(0)
            loops.append(asyncio.get_running_loop())
            from pyxqueue import current_task  # noqa: PLC0415 - as late as possible

            return current_task().id

        return body()

    bench.task(decorated)
    loop = Loop(20)
    with working(bench, loop):
        for task_id in ("first", "second"):
            bench.put("decorated", task_id=task_id)
            assert ended(bench, task_id) == ["SUCCESS"]

    assert loops == [loop._loop, loop._loop]
    assert threads[1] == loop._thread.ident != threads[0]
    records = bench.broker.wait(["first", "second"], 0)
    assert [record and record.value for record in records] == [b'"first"', b'"second"']


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it may interrupt a finalizer
def test_a_plain_function_that_is_interrupted_while_its_coroutine_runs(bench: Bench) -> None:
    """Wherever that is, the loop goes on: it needs no lock that the interrupted thread had."""
    loop = Loop(20)

    async def long() -> None:
        for _ in range(100):
            await asyncio.sleep(0)

    job = Job(Delivery(Message("id", "job"), "receipt", 1), 0)

    def run() -> None:
        loop.run_coroutine(job, long())

    with working(bench, loop):
        for place in places(run):
            goes_on = threading.Event()
            loop._loop.call_soon_threadsafe(goes_on.set)
            assert goes_on.wait(PATIENCE), place


def test_a_job_that_waits_for_the_loop_has_not_started(bench: Bench) -> None:
    """A job whose first line could not run yet is in flight, but not running, and has no time limit."""
    go, began = threading.Event(), threading.Event()

    async def block() -> None:
        began.set()
        go.wait(PATIENCE)

    async def other() -> None: ...

    bench.task(block, hard_timeout=1000)
    bench.task(other, hard_timeout=1000)
    with working(bench):
        bench.put("block", task_id="block")
        assert began.wait(PATIENCE)
        bench.put("other", task_id="other")
        until(lambda: len(bench.table.entries()) == 2, "both are in flight")
        waiting = {entry.task_id: entry.waiting for entry in bench.table.entries()}
        go.set()
        assert ended(bench, "block", "other") == ["SUCCESS", "SUCCESS"]

    assert waiting == {"block": False, "other": True}


def pace_of_fifty() -> Callable[[int, float], int]:
    """Returns a function that ends so many jobs, lets so many seconds pass, and returns how many of at most 50 to claim
    ahead."""
    now = 0.0
    ahead = Ahead(50, lambda: now)

    def after(ended: int, seconds: float) -> int:
        nonlocal now
        for _ in range(ended):
            ahead.ended()
        now += seconds
        return ahead.jobs()

    return after


def test_claiming_ahead_follows_the_pace_of_the_tasks() -> None:
    """As many as ended in a hundredth of a second; none behind tasks that take long, and never more than the limit."""
    after = pace_of_fifty()

    assert after(0, 0.0) == 0
    assert [after(250, 0.125), after(13, 0.125), after(12, 0.125)] == [20, 1, 0]
    assert after(2000, 0.125) == 50
    assert after(0, 0.0078125) == 50, "the next look is not due"
    assert after(0, 0.015625) == 0


def test_claiming_ahead_follows_the_slowest_moment() -> None:
    """What is claimed ahead would wait while no task ends, however many end before and after."""
    after = pace_of_fifty()

    assert [after(1000, 0.125), after(0, 0.03125), after(1000, 0.03125), after(1000, 0.03125)] == [50, 0, 0, 0]
    assert after(1000, 0.0625) == 50, "the slow moment is more than a tenth of a second ago"


@pytest.mark.parametrize(("places", "longest"), [(1, 8), (20, 10), (10_000, MAX_BATCH)])
def test_a_loop_claims_at_most_half_its_places_ahead(places: int, longest: int) -> None:
    """A few if there are hardly any places, and at most one batch."""
    loop = Loop(places)

    assert loop._places._ahead._longest == longest
    loop._loop.close()


def test_a_loop_claims_more_when_half_of_what_is_ahead_has_started(bench: Bench) -> None:
    """Each claim is a round trip, which is to bring many messages."""
    loop = Held(bench)
    loop.hurry(8)

    async def never() -> None: ...

    rooms = []
    for _ in range(9):
        rooms.append(loop.room())
        loop.submit(never)

    assert rooms == [12, 11, 10, 9, 8, 7, 6, 5, 0]
    loop._loop.close()


class Held(Loop):
    """A loop with four places whose last jobs were short, and the tasks `hold`, which run until `go`."""

    def __init__(self, bench: Bench) -> None:
        self.now = 0.0
        super().__init__(4, lambda: self.now)
        self.began: list[str] = []
        self._go = asyncio.Event()

        async def hold(name: str) -> None:
            self.began.append(name)
            await self._go.wait()

        bench.task(hold)

    def go(self) -> None:
        self._loop.call_soon_threadsafe(self._go.set)

    def hurry(self, jobs: int) -> None:
        """Make it claim so many ahead from now on."""
        for _ in range(jobs * 13):
            self._places._ahead.ended()
        self.now += 0.125


def hold(bench: Bench, *names: str) -> None:
    for name in names:
        bench.put("hold", name, task_id=name)


def in_flight(bench: Bench, *, waiting: bool) -> set[str]:
    return {entry.task_id for entry in bench.table.entries() if entry.waiting == waiting}


def test_a_loop_claims_ahead_and_starts_in_order(bench: Bench) -> None:
    """What is claimed ahead is held and not running until a place is free, and no more is claimed than that."""
    loop = Held(bench)
    loop.hurry(2)
    with working(bench, loop):
        hold(bench, *"abcdefgh")
        until(lambda: len(bench.table.entries()) == 6, "two are claimed ahead")
        until(lambda: len(loop.began) == 4, "the places are taken")
        assert in_flight(bench, waiting=False) == set("abcd")
        assert in_flight(bench, waiting=True) == set("ef")
        assert loop.room() == 0
        loop.go()
        assert set(ended(bench, *"abcdefgh")) == {"SUCCESS"}

    assert loop.began == list("abcdefgh")


def test_what_is_claimed_ahead_goes_to_a_worker_that_has_time(bench: Bench) -> None:
    """The supervisor gives it back uncharged after a moment, and the worker neither runs it nor claims it again while
    its places are taken."""
    loop = Held(bench)
    loop.hurry(2)
    duty = StuckReturner(bench.broker)
    with working(bench, loop):
        hold(bench, *"abcdef")
        until(lambda: len(loop.began) == 4 and len(bench.table.entries()) == 6, "two wait")
        duty.step([bench.table], time.monotonic() + 2 * STUCK)
        others = bench.broker.claim("other", 10, 0)
        loop.go()
        assert set(ended(bench, *"abcd")) == {"SUCCESS"}

    assert [(one.message.id, counts_of(one.message)) for one in others if isinstance(one.message, Message)] == [
        ("e", Counts()),
        ("f", Counts()),
    ]
    assert loop.began == list("abcd")
    assert not bench.table.busy()


def test_a_process_that_dies_is_not_charged_for_what_it_has_claimed_ahead(bench: Bench) -> None:
    """Only the tasks that were running count a crash."""
    loop = Held(bench)
    loop.hurry(2)
    with working(bench, loop) as worker:
        hold(bench, *"abcdef")
        until(lambda: len(loop.began) == 4 and len(bench.table.entries()) == 6, "two wait")
        bench.broker.release("me", [entry.receipt for entry in bench.table.entries() if entry.running])
        worker.stop()
        loop.go()

    messages = [info.message for info in bench.broker.show(list("abcdef")) if info is not None]
    assert [one.crashes for one in messages if isinstance(one, Message)] == [1, 1, 1, 1, 0, 0]


def test_a_batch_wakes_the_loop_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Waking it costs more than starting a task."""
    wakes: list[Any] = []
    loop = Loop(20)
    worker = bench.worker(executor=Threads(1), loop=loop)
    monkeypatch.setattr(loop._loop, "call_soon_threadsafe", lambda function, *_: wakes.append(function))

    async def quick() -> None: ...

    bench.task(quick)
    for number in range(5):
        bench.put("quick", task_id=f"t{number}")
    worker._claimer.claim(5, 0)

    assert len(wakes) == 1
    loop._loop.close()


def test_a_blocked_loop_is_logged_and_moves_the_limits_of_others(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """The log names the task and shows its stack; both time limits of the other task move."""
    now = 100.0
    go, holds = threading.Event(), threading.Event()
    finish: list[asyncio.Event] = []

    async def holder() -> None:
        holds.set()
        go.wait(PATIENCE)

    async def victim() -> None:
        finish.append(asyncio.Event())
        await finish[0].wait()

    bench.task(victim, timeout=PATIENCE, hard_timeout=50)
    bench.task(holder, hard_timeout=50)
    loop = Loop(20)
    stall = loop.interrupter._stall = Stall(loop._loop, loop.interrupter._runs, lambda: now)
    with working(bench, loop):
        bench.put("victim", task_id="victim")
        until(lambda: finish, "the victim waits")
        (run,) = loop.interrupter._runs.values()
        soft = soft_limit(run)
        bench.put("holder", task_id="holder")
        assert holds.wait(PATIENCE)
        before = deadlines(bench.table)
        until(lambda: stall._asked, "the loop is asked")
        now += 1.0
        until(lambda: stall._counted == now, "a look")
        now += 4.0
        until(lambda: "has been blocked for 5.0 s by holder holder" in caplog.text, "it is told")
        after = deadlines(bench.table)
        go.set()
        assert ended(bench, "holder") == ["SUCCESS"]
        until(lambda: soft_limit(run) != soft, "the soft limit has moved")
        moved = soft_limit(run) - soft
        loop._loop.call_soon_threadsafe(finish[0].set)
        assert ended(bench, "victim") == ["SUCCESS"]

    assert "go.wait(PATIENCE)" in caplog.text
    assert [after[name] - before[name] for name in ("victim", "holder")] == pytest.approx([5.0, 0.0])
    assert moved == pytest.approx(5.0)


def soft_limit(run: Run) -> float:
    assert run.limit is not None
    return run.limit._timers[0].when()


def deadlines(table: InFlightTable) -> dict[str, float]:
    """When the process is to be killed, by task."""
    return {entry.task_id: table._times(entry.slot)[1] for entry in table.entries()}


def test_a_cancellation_before_the_first_step_has_no_effect(bench: Bench) -> None:
    """The job runs to its end, and there is room on the loop for the next one."""
    loop = Loop(1)

    async def nothing() -> None: ...

    bench.task(nothing)
    with working(bench, loop) as worker:
        begun = loop._start

        def start(run: Any) -> None:
            begun(run)
            (job,) = worker._jobs
            loop.interrupter._cancel(job, 1)

        loop._start = start  # type: ignore[method-assign]
        bench.put("nothing", task_id="one")
        assert ended(bench, "one") == ["SUCCESS"]
        bench.put("nothing", task_id="two")
        assert ended(bench, "two") == ["SUCCESS"]


@pytest.mark.parametrize("by_worker", [True, False], ids=["by_worker", "by_a_neighbour"])
@pytest.mark.parametrize(
    ("owner", "name", "ends"),
    [
        (InputReader, "fill", ("CANCELLED", "asyncio.exceptions.CancelledError")),
        (JobSteps, "keep_cursor", ("SUCCESS", "SUCCESS")),
    ],
    ids=["before", "after"],
)
def test_a_cancellation_while_a_job_waits_beside_its_function(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, owner: type, name: str, ends: Sequence[str], *, by_worker: bool
) -> None:
    """Before the function, the job ends as if it was cancelled in it; after that, as the function did. Its neighbour
    goes on."""
    held, cancelled, go = threading.Event(), threading.Event(), threading.Event()
    inner = getattr(owner, name)

    def hold(self: Any, *args: Any) -> Any:
        held.set()
        assert go.wait(PATIENCE)
        return inner(self, *args)

    async def steps() -> None:
        current_task().cursor()

    async def neighbour() -> None:
        await asyncio.to_thread(go.wait, PATIENCE)

    monkeypatch.setattr(owner, name, hold)
    for function in (steps, neighbour):
        bench.task(function)
    bench.task(len)
    loop = Loop(2)
    with working(bench, loop) as worker:
        bench.put("neighbour", task_id="neighbour")
        bench.put("steps", task_id="steps", after=("first",), flow="flow", v=FLOW_VERSION)
        bench.put("len", [], task_id="first", successors=("f:steps",), flow="flow", v=FLOW_VERSION)
        assert held.wait(PATIENCE)
        run = next(run for run in loop.interrupter._runs.values() if run.job.delivery.message.id == "steps")
        cancel = partial(loop.interrupter._cancel, run.job, 1) if by_worker else run.handle.cancel
        loop._loop.call_soon_threadsafe(cancel)
        loop._loop.call_soon_threadsafe(cancelled.set)
        assert cancelled.wait(PATIENCE)
        go.set()
        assert ended(bench, "neighbour") == ["SUCCESS"]
        assert ended(bench, "steps") == [ends[0 if by_worker else 1]]
    assert not worker.broken.is_set()


def test_a_worker_stops_while_a_cancelled_job_is_settled(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop is closed by then, and nothing is cancelled there any more."""
    begun, settles, go = threading.Event(), threading.Event(), threading.Event()
    settle = bench.broker.settle

    def settle_late(settlements: Sequence[Settlement]) -> Sequence[bool]:
        settles.set()
        assert go.wait(PATIENCE)
        return settle(settlements)

    async def endless() -> None:
        begun.set()
        await asyncio.sleep(1000)

    monkeypatch.setattr(bench.broker, "settle", settle_late)
    bench.task(endless)
    bench.put("endless")
    loop = Loop(20)
    with working(bench, loop) as worker:
        assert begun.wait(PATIENCE)
        (entry,) = bench.table.entries()
        bench.table.ask_cancel(entry)
        assert settles.wait(PATIENCE)
        worker.stop()
        until(loop._loop.is_closed, "the loop is closed")

        worker._monitors[0]._look()

        go.set()
    assert not worker.broken.is_set()


def test_looking_ahead_of_plain_functions() -> None:
    """A claim takes what the loop has room for until plain functions were given back; then looks become rarer."""
    now = 0.0
    ahead = LookAhead(lambda: now)
    assert ahead.room(100, 0) == 100

    looks = []
    for _ in range(7):
        ahead.refused()
        ahead.refused()
        assert ahead.room(100, 3) == 3
        looks.append(ahead.pause())
        now += ahead.pause()
        assert ahead.room(100, 3) == LOOK
        assert ahead.room(100, 3) == 3
    assert looks == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0])

    now += ahead.pause()
    assert ahead.room(100, 0) == 100
    ahead.refused()
    assert ahead.pause() == pytest.approx(0.05)


HOSTILE = "\x1b[2J\nERROR forged\n" + "x" * 1_000_000


class Hostile:
    """Its `repr`, which asyncio takes into the text of its line, is hostile."""

    def __repr__(self) -> str:
        return HOSTILE

    def __call__(self) -> None:
        raise ValueError(HOSTILE)


async def leaves_a_task() -> None:
    async def helper() -> None:
        raise ValueError(HOSTILE)

    asyncio.create_task(helper())  # noqa: RUF006 - what is tested
    await asyncio.sleep(0)
    gc.collect()


async def leaves_a_callback() -> None:
    asyncio.get_running_loop().call_soon(Hostile())
    await asyncio.sleep(0.01)


@pytest.mark.parametrize("inline", [True, False])
@pytest.mark.parametrize("task", [leaves_a_task, leaves_a_callback])
def test_what_no_code_handles_is_fit_to_be_shown(
    bench: Bench,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    task: Callable[[], Any],
    inline: bool,
) -> None:
    """It is logged as printable lines of limited length, with a traceback, and a limited number of times."""
    monkeypatch.setattr(loop_interrupts, "_unhandled", Throttle("%d more", 3, monotonic=lambda: 1.0))
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logging.getLogger().addHandler(handler)
    ids = [f"t{number}" for number in range(10)]
    bench.task(task)
    for task_id in ids:
        bench.put(task.__name__, task_id=task_id)
    try:
        if inline:
            worker = bench.worker()
            worker.drain()
            worker.executor.close()
        else:
            with working(bench):
                ended(bench, *ids)
    finally:
        logging.getLogger().removeHandler(handler)

    # On a slow machine a line about a blocked loop comes between: `gc.collect` blocks it.
    records = [one for one in caplog.records if "has been blocked" not in one.getMessage()]
    assert [one.name for one in records] == ["pyxqueue.worker"] * 3
    assert {type(one.exc_text) for one in records} == {Lines}
    assert stream.getvalue().replace("\n", "").isprintable()
    assert not [line for line in stream.getvalue().splitlines() if line.startswith("ERROR")]
    assert len(stream.getvalue()) < 60_000
