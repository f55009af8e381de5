"""The steps of a task in a worker: stops, cancellations, lost leases, outages, and waits for other tasks."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from pyxqueue import (
    AsyncResult,
    FlowResult,
    NestedWaitError,
    TaskError,
    TaskQueue,
    TaskStatus,
    agather,
    as_completed,
    chord,
    current_task,
    gather,
)
from pyxqueue.backends.memory import MemoryBackend, MemoryResults, MemoryStore
from pyxqueue.clock import FakeClock
from pyxqueue.codec import Codec
from pyxqueue.eager.backend import NoInterrupter
from pyxqueue.errors import CancelRequested
from pyxqueue.inflight import InFlightTable
from pyxqueue.model.message import Record
from pyxqueue.protocols import StoreOptions
from pyxqueue.split import SplitBackend
from pyxqueue.testing import Fault, FaultyBroker, drain
from pyxqueue.worker import steps as worker_steps
from pyxqueue.worker.executors import Inline, Threads
from pyxqueue.worker.loop import Loop
from pyxqueue.worker.serving import QueueParts
from pyxqueue.worker.worker import Worker

OPTIONS = StoreOptions("q", lease_ms=30_000)


class Place:
    """A queue on a store in memory, its clock, and what its tasks did."""

    def __init__(self, store: MemoryStore | None = None) -> None:
        self.clock = FakeClock()
        self.store = store or MemoryStore(self.clock)
        self.backend = MemoryBackend(self.store, OPTIONS)
        self.ran: list[Any] = []
        self.queue = TaskQueue(broker=self.backend, stream_key="q")
        self.workers: list[Worker] = []

    def task(self, function: Callable[..., Any], **options: Any) -> Any:
        return self.queue.task(name=function.__name__, **options)(function)

    def note(self, value: Any) -> Any:
        self.ran.append(value)
        return value

    def work(self, broker: Any = None, name: str = "one") -> Worker:
        """Run what is ready, with a worker of its own."""
        core = self.queue.core
        parts = QueueParts(broker or self.backend, core.registry, core.codec, core.observer)
        executor = Inline(NoInterrupter())
        worker = Worker([parts], executor, name, InFlightTable(), chance=lambda: 0.0)
        self.workers.append(worker)
        worker.drain()
        executor.close()
        self.backend.release(name, [])  # as the supervisor does
        return worker


@pytest.fixture
def place() -> Place:
    return Place()


def test_a_worker_that_stops_gives_a_task_back_at_its_next_step(place: Place) -> None:
    """Uncharged, with its cursor; another worker goes on behind the finished step."""

    def order() -> int:
        steps = current_task()
        steps.step("one", place.note, 1)
        steps.save("half")
        if len(place.workers) == 1:
            place.workers[0].stop()
        steps.step("two", place.note, 2)
        return steps.attempt + int(steps.cursor() == "half")

    handle: AsyncResult[int] = place.task(order)()
    place.work()
    assert (place.ran, handle.state) == ([1], TaskStatus.PENDING)
    place.work(name="two")
    assert (place.ran, handle.get(0)) == ([1, 2], 2)
    message = handle.info().info.readable
    assert message is not None
    assert (message.attempt, message.crashes, message.deferrals) == (1, 0, 0)


def test_a_loop_stops_at_a_save(place: Place) -> None:
    """And goes on from there."""

    def loop() -> None:
        steps = current_task()
        for number in range(steps.cursor(0), 10):
            place.note(number)
            if number == 4 and len(place.workers) == 1:
                place.workers[0].stop()
            steps.save(number + 1)

    handle = place.task(loop)()
    place.work()
    place.work(name="two")
    assert (place.ran, handle.get(0)) == ([*range(10)], None)


@pytest.mark.parametrize(("seconds", "wanted"), [(5.0, 1), (0.0, 101)])
def test_cursors_are_stored_at_intervals(
    place: Place, monkeypatch: pytest.MonkeyPatch, seconds: float, wanted: int
) -> None:
    """Not each of them, only the first after so many seconds; and once nothing is saved, to see who has the task."""
    monkeypatch.setattr(worker_steps, "FLUSH_EVERY", seconds)
    faulty = FaultyBroker(place.backend, operations={"save_steps"})

    def loop() -> None:
        for number in range(100):
            current_task().save(number)

    place.task(loop)()
    place.work(faulty)
    assert len(faulty.history) == wanted


def test_a_cancelled_task_ends_between_its_steps(place: Place) -> None:
    """It does not begin the next one."""

    def order() -> None:
        steps = current_task()
        steps.step("one", cancelling, 1)
        steps.step("two", place.note, 2)

    def cancelling(number: int) -> None:
        place.note(number)
        handle.cancel()

    task = place.task(order)
    handle: AsyncResult[None] = task()
    place.work()
    assert (place.ran, handle.state) == ([1], TaskStatus.CANCELLED)


def test_a_task_that_was_taken_over_stops(place: Place) -> None:
    """Its old worker stores nothing more, and what it did last is done again by the new one."""
    raised: list[BaseException] = []

    def order() -> str:
        steps = current_task()
        steps.step("one", place.note, 1)
        if len(place.workers) == 1:
            place.clock.advance(31_000)
            place.work(name="two")
        try:
            steps.step("two", place.note, 2)
        except CancelRequested as error:
            raised.append(error)
            raise
        return "done"

    handle = place.task(order)()
    place.work()
    assert (place.ran, handle.get(0)) == ([1, 2, 2], "done")
    assert [str(one) for one in raised] == ["another worker has taken over the task"]


@pytest.mark.parametrize("fault", [Fault.LOSE_CALL, Fault.LOSE_REPLY])
def test_a_step_is_stored_when_the_store_is_back(place: Place, fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its function is not called again, and the task does not fail."""
    monkeypatch.setattr(Worker, "_backoff", lambda *_: 0.0)  # it calls again at once
    faulty = FaultyBroker(place.backend, [fault, fault, None] * 9, operations={"save_steps", "load_steps"})

    def order() -> list[int]:
        return [current_task().step(f"step {number}", place.note, number) for number in range(3)]

    handle = place.task(order)()
    place.work(faulty)
    assert (place.ran, handle.get(0)) == ([0, 1, 2], [0, 1, 2])


def test_a_worker_that_stops_does_not_wait_for_the_store(place: Place) -> None:
    """The task is given back, uncharged, with the step that could not be stored."""

    def charge() -> int:
        place.note(1)
        place.workers[0].stop()
        return 7

    handle = place.task(lambda: (current_task().step("one", charge), current_task().attempt), retries=0)()
    faulty = FaultyBroker(place.backend, [None, None, Fault.LOSE_CALL], operations={"save_steps", "load_steps"})
    place.work(faulty)
    assert handle.state is TaskStatus.PENDING
    place.work(name="two")
    assert (handle.get(0), place.ran) == ((7, 1), [1])


def test_a_task_that_another_worker_has_ended(place: Place) -> None:
    """The steps are gone with its end, and none of them runs again: the old worker is told that it lost the task."""
    raised: list[BaseException] = []

    def order() -> str:
        if len(place.workers) == 1:
            place.clock.advance(31_000)
            place.work(name="two")
            with pytest.raises(CancelRequested) as lost:
                current_task().step("one", place.note, "again")
            raised.append(lost.value)
            with pytest.raises(CancelRequested):
                current_task().cursor()
        current_task().step("one", place.note, "charged")
        return "done"

    handle = place.task(order)()
    place.work()
    assert (handle.get(0), place.ran) == ("done", ["charged"])
    assert "another worker has taken over" in str(raised[0])


def test_a_store_that_keeps_no_steps(place: Place) -> None:
    """It refuses with words, and so does the sender of an event."""
    split = TaskQueue(broker=place.backend, results=_results(place), stream_key="q")
    assert isinstance(split.stores.backend, SplitBackend)

    @split.task
    def order() -> None:
        current_task().step("one", place.note, 1)

    handle = order()
    drain(split)
    with pytest.raises(TaskError, match="SplitBackend does not keep the steps of tasks: use another store"):
        handle.get(0)
    with pytest.raises(ValueError, match="SplitBackend does not keep events for tasks"):
        split.send_event(handle, "e")
    with pytest.raises(ValueError, match="SplitBackend does not keep the steps of tasks: leave out fresh="):
        split.admin.retry(handle.task_id, fresh=True)


def _results(place: Place) -> Any:
    return MemoryResults(place.store, OPTIONS)


def test_a_step_takes_one_round_trip(place: Place) -> None:
    """And the first one two more, to look what is stored and who has the task; a task without steps takes none."""
    faulty = FaultyBroker(place.backend, operations={"save_steps", "load_steps"})

    def order(count: int) -> None:
        for number in range(count):
            current_task().step(f"step {number}", place.note, number)

    task = place.task(order)
    for count, wanted in ((0, 0), (1, 3), (5, 10)):
        task(count)
        place.work(faulty)
        assert len(faulty.history) == wanted


def test_a_suspended_task_is_logged(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """With what it waits for, and not as a failure."""

    def order() -> None:
        current_task().wait_event("approved")

    handle = place.task(order)()
    with caplog.at_level(logging.INFO, "pyxqueue"):
        place.work()
    (line,) = [one for one in caplog.records if handle.task_id in one.getMessage()]
    assert line.getMessage().endswith("attempt 1: suspended until the event 'approved' comes")
    assert line.levelno == logging.INFO


# Waiting for other tasks


def inner(number: int) -> int:
    return number


@pytest.mark.parametrize(
    "wait",
    [
        lambda handle: handle.get(),
        lambda handle: handle(),
        lambda handle: gather([handle]),
        lambda handle: list(as_completed([handle])),
        lambda handle: list(handle.watch()),
    ],
    ids=["get", "call", "gather", "as_completed", "watch"],
)
def test_a_task_does_not_wait_for_another_without_a_limit(place: Place, wait: Callable[[Any], Any]) -> None:
    """It gets an error that names `gather`."""
    child = place.task(inner)

    def outer() -> str:
        handle = child(1)
        try:
            wait(handle)
        except NestedWaitError as error:
            return str(error)
        raise AssertionError

    handle = place.task(outer)()
    place.work()
    assert "use current_task().gather(name, [task.of(...)]), which gives the worker back" in handle.get(0)


def test_a_coroutine_does_not_wait_either(place: Place) -> None:
    """Its place on the event loop is one of a number, too."""
    child = place.task(inner)

    async def outer() -> int:
        refused = 0
        for wait in (child(1), child(2).aget(), agather([child(3)])):
            try:
                await wait
            except NestedWaitError:
                refused += 1
        return refused

    handle = place.task(outer)()
    place.work()
    assert handle.get(0) == 3


def test_what_has_ended_needs_no_wait(place: Place) -> None:
    """The result of an earlier task can be read, and one with a timeout be waited for."""
    child = place.task(inner)
    earlier = child(7)
    place.work()

    def outer() -> tuple[int, str]:
        try:
            child(8).get(timeout=0.001)
        except TimeoutError:
            return earlier.get(), "in vain"
        raise AssertionError

    handle = place.task(outer)()
    place.work()
    assert handle.get(0) == (7, "in vain")


def test_a_task_may_wait_for_one_of_another_queue(place: Place) -> None:
    """Other workers run it."""
    other = TaskQueue("memory://", stream_key="other", eager=True)
    elsewhere = other.task(name="elsewhere")(inner)

    def outer() -> int:
        return int(elsewhere(5).get())

    handle = place.task(outer)()
    place.work()
    assert handle.get(0) == 5


def test_gather_in_a_worker(place: Place) -> None:
    """With one worker, tasks that gather tasks that gather tasks come to an end."""

    def tree(depth: int) -> int:
        if not depth:
            return 1
        return sum(current_task().gather("branches", [task.of(depth - 1) for _ in range(3)]))

    task = place.task(tree)
    handle = task(4)
    place.work()
    assert handle.get(0) == 81


def test_gather_waits_for_the_store(place: Place) -> None:
    """Also where it looks what became of a task without a record."""
    child = place.task(lambda: place.note(current_task().id))

    def order() -> Any:
        for ended in place.ran:
            assert place.queue.admin.delete(ended).done == 1
        return current_task().gather("g", [child.of()])

    handle = place.task(order)()
    faulty = FaultyBroker(place.backend, [Fault.LOSE_CALL], operations={"show"})
    place.work(faulty)
    with pytest.raises(TaskError, match="which it gathers, is gone"):
        handle.get(0)
    assert len(faulty.history) == 2


def _chord(place: Place, body: Callable[..., Any]) -> FlowResult:
    part = place.task(int, retries=0)
    return chord([part.of("1"), part.of("2")], place.task(body, retries=0).of())()


def _read_in_vain(place: Place, times: int) -> FaultyBroker:
    """Before the task begins, it is looked whether its arguments are there; so many later reads find no store."""
    return FaultyBroker(place.backend, [None, *[Fault.LOSE_CALL] * times], operations={"wait"})


def test_the_results_of_a_chord_wait_for_the_store(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its body reads them as it iterates, and an outage meanwhile is not its failure."""
    monkeypatch.setattr(Worker, "_backoff", lambda *_: 0.0)

    def total(parts: Sequence[int]) -> int:
        place.note("began")
        return sum(parts)

    handle = _chord(place, total)
    place.work(_read_in_vain(place, 3))
    assert (handle.get(0), place.ran) == (3, ["began"])


@pytest.mark.parametrize("on_loop", [False, True], ids=["stopping", "loop"])
def test_a_body_that_cannot_wait_for_its_results_is_given_back(place: Place, on_loop: bool) -> None:
    """Uncharged, where its worker must stop, or an event loop would stand still."""

    def total(parts: Sequence[int]) -> tuple[int, int]:
        if not place.ran and not on_loop:
            place.workers[-1].stop()
        place.note("began")
        return sum(parts), current_task().attempt

    async def coroutine(parts: Sequence[int]) -> tuple[int, int]:
        return total(parts)

    handle = _chord(place, coroutine if on_loop else total)
    place.work(_read_in_vain(place, 1))
    place.work(name="two")
    assert (handle.get(0), place.ran) == ((3, 1), ["began", "began"])


@pytest.mark.parametrize("many", [False, True], ids=["one", "chord"])
def test_a_callback_waits_for_what_was_retried_before_it_began(place: Place, many: bool) -> None:
    """It was ready, since the other one had failed; its result is gone with the retry, and comes again."""

    def part() -> int:
        if not place.ran:
            raise ValueError
        return 7

    def report(value: Any) -> Any:
        return place.note(list(value) if many else value)

    task = place.task(part, retries=0)
    callback = place.task(report, retries=0)
    with place.queue.flow("f") as flow:
        if many:
            flow.chord([task.of(), task.of()], callback.with_options(task_id="c").of(), on_failure="continue")
        else:
            flow.add(callback.with_options(task_id="c"), flow.add(task), on_failure="continue")
    place.queue.admin.pause(task="report")
    place.work()
    place.note("healed")
    assert place.queue.admin.retry([one.id for one in place.queue.admin.failed().tasks]).done == 1 + many
    place.queue.admin.pause(task="part")
    place.queue.admin.resume(task="report")
    place.work(name="two")
    assert (place.queue.result("c").state, place.ran) == (TaskStatus.PENDING, ["healed"])
    place.queue.admin.resume(task="part")
    place.clock.advance(5_000)
    place.work(name="three")
    assert place.queue.result("c").get(0) == ([7, 7] if many else 7)


def test_a_deleted_child_is_an_error_in_its_place(place: Place) -> None:
    """`gather` raises it, or returns it beside the results of the others."""

    def child(number: int) -> int:
        if number == 1:
            place.backend.delete([one.id for one in place.backend.tasks()[0] if one.id.endswith(".1")])
        return number

    def order(errors_too: bool) -> list[str]:
        calls = [task.of(number) for number in (1, 2)]
        got = current_task().gather("both", calls, return_exceptions=errors_too)
        return [type(one).__name__ for one in got]

    task, parent = place.task(child), place.task(order)
    kind, strict = parent(True), parent(False)
    place.work()
    assert kind.get(0) == ["int", "UnknownTaskError"]
    with pytest.raises(TaskError, match=r"UnknownTaskError: the result of task .*\.1, which it gathers, is gone"):
        strict.get(0)


class LooksEarly(MemoryBackend):
    """The first look for records is before the tasks have ended."""

    looks = 0

    def wait(self, ids: Sequence[str], timeout_ms: int | None, least: int | None = None) -> Sequence[Record | None]:
        self.looks += 1
        return [None] * len(ids) if self.looks == 1 else super().wait(ids, timeout_ms, least)


def test_a_child_may_end_while_the_task_looks(place: Place) -> None:
    """One that was retried ends between the look for its record and the one for its state: its result is there."""

    def child(number: int) -> int:
        return number

    def order() -> list[int]:
        return current_task().gather("both", [task.of(number) for number in (1, 2)])

    task = place.task(child)
    handle = place.task(order)()
    place.work(LooksEarly(place.store, OPTIONS))
    assert handle.get(0) == [1, 2]


def test_results_of_another_serializer(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the queue reads and does not write is not stored as a step, and returned all the same."""
    monkeypatch.setattr(Codec, "open_result", lambda _codec, _record: {"made with pickle": object})

    def child() -> int:
        return 1

    def order() -> int:
        return len(current_task().gather("one", [task.of()])[0])

    task = place.task(child)
    handle = place.task(order)()
    place.work()
    monkeypatch.undo()
    assert handle.get(0) == 1


def test_async_tasks_on_a_loop(place: Place) -> None:
    """Steps of coroutines in a worker without a loop of its own."""

    async def slow(number: int) -> int:
        await asyncio.sleep(0)
        return int(place.note(number))

    async def outer() -> int:
        one = await current_task().astep("one", slow, 1)
        await current_task().asleep("s", 10)
        return one + await current_task().astep("two", slow, 2)

    handle = place.task(outer)()
    place.work()
    assert handle.state is TaskStatus.PENDING
    place.clock.advance(10_000)
    place.work()
    assert (handle.get(0), place.ran) == (3, [1, 2])


def test_async_tasks_on_an_event_loop(place: Place) -> None:
    """Steps of many coroutines on one loop: each waits without its place there."""

    async def part(number: int) -> int:
        return number

    async def outer(number: int) -> int:
        task = current_task()
        one = await task.astep("one", part, number)
        await task.asleep("s", 0)
        await task.asave(one)
        parts = await task.agather("parts", [child.of(one), child.of(1)])
        return int(sum(parts) + await task.await_event("e"))

    child, parent = place.task(part), place.task(outer)
    handles = [parent(number) for number in range(5)]
    for handle in handles:
        assert place.queue.send_event(handle, "e", 100)
    core = place.queue.core
    parts = QueueParts(place.backend, core.registry, core.codec)
    worker = Worker([parts], Threads(1), "loop", InFlightTable(), wait_ms=20, loop=Loop(2))
    thread = threading.Thread(target=worker.run)
    thread.start()
    found = gather(handles, timeout=30)
    worker.stop()
    thread.join()
    assert found == [number + 101 for number in range(5)]
