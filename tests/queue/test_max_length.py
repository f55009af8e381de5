"""A queue with `max_length`: what a call does that finds it full."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pyxqueue import (
    ConfigurationError,
    FlowResult,
    QueueFullError,
    StoreFullError,
    Task,
    TaskQueue,
    TaskStatus,
    Throttle,
    Unique,
    chord,
    eager_mode,
)
from pyxqueue.backends.memory import MemoryBackend, MemoryResults, MemoryStore
from pyxqueue.model.message import Done, Message, Record, Settlement
from pyxqueue.protocols import StoreOptions, TakenIn
from pyxqueue.split import SplitBackend
from pyxqueue.testing import drain
from tests.conftest import Servers, kinds_to_test
from tests.support.until import until

BOUND = 50


def double(number: int) -> int:
    return 2 * number


def total(numbers: Sequence[int]) -> int:
    return sum(numbers)


def a_queue(max_length: int = 2, **options: Any) -> TaskQueue:
    return TaskQueue("memory://", "q", max_length=max_length, **options)


def test_a_call_beyond_the_bound_is_refused() -> None:
    """The error says which queue is full, how full, and what to do; the refused call leaves nothing."""
    queue = a_queue()
    task = queue.task(double)
    task.map([(1,), (2,)])

    with pytest.raises(QueueFullError) as raised:
        task(3)

    error = raised.value
    assert isinstance(error, StoreFullError)
    assert (error.queue, error.max_length, error.length, error.accepted, error.ids) == ("q", 2, 2, 0, ())
    assert str(error) == (
        "the queue 'q' is full: 2 of its tasks have not ended, and max_length=2. "
        "Start more workers, raise max_length, or call again later"
    )
    assert len(queue.admin.tasks().tasks) == 2


def test_a_task_that_ended_makes_room() -> None:
    """A refused call is accepted once a task has ended."""
    queue = a_queue(max_length=1)
    task = queue.task(double)
    task(1)
    with pytest.raises(QueueFullError):
        task(2)

    drain(queue)

    assert task(2).state is TaskStatus.PENDING


def test_the_first_calls_of_a_map_are_accepted() -> None:
    """Those that fit are enqueued; the error has their ids, and a note says how many they are."""
    queue = a_queue(max_length=3)
    task = queue.task(double)
    task(0)

    with pytest.raises(QueueFullError) as raised:
        task.map([(number,) for number in range(5)], task_ids=["a", "b", "c", "d", "e"])

    assert raised.value.ids == ("a", "b")
    assert raised.value.accepted == 2
    assert raised.value.__notes__ == [f"2 calls of {task.name} were enqueued before, up to b"]
    drain(queue)
    assert [queue.result(task_id).get(0) for task_id in raised.value.ids] == [0, 2]


def test_the_calls_of_a_long_map_are_counted_from_its_first() -> None:
    """`accepted` counts all that were enqueued, however many round trips the map took."""
    queue = a_queue(max_length=300)
    task = queue.task(double)

    with pytest.raises(QueueFullError) as raised:
        task.map((number,) for number in range(1_000))

    assert raised.value.accepted == len(set(raised.value.ids)) == 300


def test_a_repeat_is_not_refused() -> None:
    """An id that is known needs no room, and its handle says that this call has not created the task."""
    queue = a_queue(max_length=1)
    task = queue.task(double)
    first = task.with_options(task_id="a")(1)

    again = task.with_options(task_id="a")(1)

    assert (first.created, again.created) == (True, False)


def test_a_call_that_joins_a_unique_task_is_not_refused() -> None:
    """An equal call returns the handle of the task that is there; any other is refused."""
    queue = a_queue(max_length=1)
    task = queue.task(unique=Unique())(double)
    first = task(1)

    assert task(1).task_id == first.task_id
    with pytest.raises(QueueFullError):
        task(2)


def test_a_refused_call_does_not_begin_a_window() -> None:
    """A throttled call that had no room is not the one that counts."""
    queue = a_queue(max_length=1)
    task = queue.task(throttle=Throttle(60))(double)
    other = queue.task(name="other")(double)
    other(0)
    with pytest.raises(QueueFullError):
        task(1)

    drain(queue)

    assert task(1).created


class Pauses:
    """Stands for the waiting of a call: a pause takes no time, moves the clock of its caller, and does something."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *acts: Callable[[], object]) -> None:
        self._acts = list(acts)
        self.seconds: list[float] = []
        clock = SimpleNamespace(monotonic=lambda: sum(self.seconds) + len(self.seconds) / 1e6, time_ns=time.time_ns)
        monkeypatch.setattr("pyxqueue.clock.time", clock)
        monkeypatch.setattr("pyxqueue.client.bounding.time", SimpleNamespace(sleep=self.sleep))
        monkeypatch.setattr(
            "pyxqueue.client.bounding.asyncio", SimpleNamespace(**{**vars(asyncio), "sleep": self.asleep})
        )

    def sleep(self, seconds: float) -> None:
        if seconds:
            self.seconds.append(seconds)
            if self._acts:
                self._acts.pop(0)()

    async def asleep(self, seconds: float) -> None:
        self.sleep(seconds)


def test_a_call_waits_for_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """With `full_wait`, a call looks again and again, less and less often, until a task has ended."""
    queue = a_queue(max_length=1, full_wait=timedelta(minutes=1))
    task = queue.task(double)
    task(1)
    pauses = Pauses(monkeypatch, *[int] * 9, lambda: drain(queue))

    handle = task(2)

    assert handle.state is TaskStatus.PENDING
    assert len(pauses.seconds) == 10
    assert 0 < pauses.seconds[0] <= 0.01
    assert 0.25 <= pauses.seconds[9] <= 0.5


def test_a_map_goes_on_as_room_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """All calls of a map are accepted in order while tasks end; it may take longer than `full_wait`, which is for each
    wait."""
    queue = a_queue(max_length=2, full_wait=0.1)
    ran: list[int] = []
    task = queue.task(name="ran")(ran.append)
    acts: list[Callable[[], object]] = [int, int, int, lambda: drain(queue)]
    pauses = Pauses(monkeypatch, *acts * 20)

    handles = task.map([(number,) for number in range(33)])

    drain(queue)
    assert ran == list(range(33))
    assert all(handle.created for handle in handles)
    assert sum(pauses.seconds) > 0.1


def test_a_map_that_waits_sends_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """While there is no room, each look takes one message; when there is some, the rest goes in one call."""
    queue = a_queue(max_length=50, full_wait=60)
    task = queue.task(double)
    task.map([(number,) for number in range(50)])
    sent: list[int] = []
    within = MemoryBackend.enqueue_within

    def counted(self: MemoryBackend, messages: Sequence[Message], *terms: Any) -> TakenIn:
        sent.append(len(messages))
        return within(self, messages, *terms)

    monkeypatch.setattr(MemoryBackend, "enqueue_within", counted)
    Pauses(monkeypatch, int, int, lambda: drain(queue))

    task.map([(number,) for number in range(40)])

    assert sent == [40, 1, 1, 1, 39]


def test_a_call_gives_up_after_its_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """When no room came within `full_wait`, the error says for how long the call has waited."""
    queue = a_queue(max_length=1, full_wait=2)
    task = queue.task(double)
    task(1)
    pauses = Pauses(monkeypatch)

    with pytest.raises(QueueFullError, match=r"the queue 'q' is full for 2 s: 1 of its tasks"):
        task(2)

    assert sum(pauses.seconds) == pytest.approx(2, abs=0.01)
    assert len(pauses.seconds) < 20


def test_asyncio_is_refused_and_waits_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """`aenqueue` and `amap` are refused, wait, and are accepted as the calls of a thread."""

    async def call() -> tuple[int, list[int]]:
        queue = a_queue(max_length=1)
        task = queue.task(double)
        with pytest.raises(QueueFullError) as raised:
            await task.amap([(1,), (2,)])
        patient = a_queue(max_length=1, full_wait=60)
        waiting = patient.task(double)
        unique = patient.task(name="unique", unique=Unique())(double)
        Pauses(monkeypatch, *[lambda: drain(patient)] * 10)
        handles = [await waiting.aenqueue(1), *await waiting.amap([(2,), (3,)]), await unique.aenqueue(4)]
        drain(patient)
        return raised.value.accepted, [handle.get(0) for handle in handles]

    assert asyncio.run(call()) == (1, [2, 4, 6, 8])


def test_the_event_loop_runs_while_a_call_waits() -> None:
    """Another coroutine makes room for a call that waits in asyncio."""
    queue = a_queue(max_length=1, full_wait=30)
    task = queue.task(double)
    first = task(1)

    async def call() -> TaskStatus:
        waiting = asyncio.create_task(task.aenqueue(2))
        await asyncio.sleep(0)
        first.cancel()
        return (await waiting).state

    assert asyncio.run(call()) is TaskStatus.PENDING


def test_what_the_system_sends_is_not_refused() -> None:
    """A schedule that is triggered, retries and failed tasks that are retried go beyond the bound."""
    queue = a_queue(max_length=1)
    task = queue.task(double)
    failing = queue.task(name="failing", retries=1, backoff=0)(lambda: 1 / 0)
    nightly = queue.schedules.upsert("nightly", task, 1, every=3_600)
    failed = failing()
    drain(queue)
    task(1)

    nightly.trigger()
    queue.admin.retry(failed.task_id)

    assert len(queue.admin.tasks(TaskStatus.PENDING).tasks) == 3
    with pytest.raises(QueueFullError):
        task(3)
    drain(queue)
    assert failed.state is TaskStatus.FAILURE


def a_flow(queue: TaskQueue, task: Task[[int], int]) -> FlowResult:
    """Three tasks, of which the last one waits for the others."""
    return chord([task.of(1), task.of(2)], queue.task(total).of()).enqueue()


@pytest.mark.parametrize("store", ["memory", "redis", "sqlite"])
def test_a_flow_is_accepted_as_a_whole_or_refused(
    store: str, servers: Servers, stream_key: str, tmp_path: Path
) -> None:
    """Nothing of a refused flow is stored; it is accepted once there is room for all its tasks."""
    url = {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path}/q.db"}.get(store) or servers(kinds_to_test()[0]).url
    with closing(TaskQueue(url, stream_key, max_length=4)) as queue:
        task = queue.task(double)
        task.map([(1,), (2,)])

        with pytest.raises(QueueFullError, match=r"has no room for a flow of 3 tasks: 2 of its tasks") as raised:
            a_flow(queue, task)
        assert (raised.value.length, raised.value.ids) == (2, ())
        assert len(queue.admin.tasks().tasks) == 2
        drain(queue)
        flow = a_flow(queue, task)
        with pytest.raises(QueueFullError):
            task.map([(1,), (2,)])
        drain(queue)
        assert flow.get(10) == 6


def test_a_flow_waits_for_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """For `full_wait` seconds, as any call."""
    queue = a_queue(max_length=3, full_wait=60)
    task = queue.task(double)
    before = task(1)
    pauses = Pauses(monkeypatch, int, int, lambda: drain(queue))

    flow = a_flow(queue, task)

    assert len(pauses.seconds) == 3
    drain(queue)
    assert (before.get(0), flow.get(0)) == (2, 6)


def test_a_flow_that_never_has_room() -> None:
    """It is refused at once, whatever `full_wait` is."""
    queue = a_queue(max_length=2, full_wait=3_600)

    with pytest.raises(ConfigurationError, match=r"a flow of 3 tasks never has room in a queue of max_length=2"):
        a_flow(queue, queue.task(double))


def test_a_flow_that_was_stored_in_part_is_completed_in_a_full_queue() -> None:
    """Its first task is known, so it needs no room."""
    queue = a_queue(max_length=3)
    task = queue.task(double)
    with queue.flow("f") as flow:
        flow.add(task, flow.add(task, flow.add(task, 1)))
    queue.admin.delete("f.0")
    task(2)

    with queue.flow("f") as again:
        again.add(task, again.add(task, again.add(task, 1)))

    assert len(queue.admin.tasks().tasks) == 4


def test_an_eager_queue_does_not_wait() -> None:
    """An eager queue is full of what cannot run yet; a call that finds it so is refused at once."""
    with eager_mode():
        queue = TaskQueue("q", max_length=2, full_wait=3_600)
        task = queue.task(double)
        later = task.with_options(delay=60)

        assert [task(number).get() for number in range(5)] == [0, 2, 4, 6, 8]
        later.map([(1,), (2,)])
        with pytest.raises(QueueFullError, match=r"'q' is full: 2 of its tasks"):
            later(3)


def test_two_stores_keep_the_bound_of_the_broker() -> None:
    """With a store of results beside it, the broker refuses."""
    options = StoreOptions("q")
    store = SplitBackend(MemoryBackend(MemoryStore(), options), MemoryResults(MemoryStore(), options))
    queue = TaskQueue(broker=store, stream_key="q", max_length=1)
    task = queue.task(double)
    task(1)

    with pytest.raises(QueueFullError):
        task(2)


def test_a_broker_without_a_bound_is_refused() -> None:
    """`max_length` on a broker that cannot keep it is an error where the queue is made."""

    class Without(MemoryBackend):
        enqueue_within = None  # type: ignore[assignment] # as if it were not there

    broker = Without(MemoryStore(), StoreOptions("q"))
    with pytest.raises(ConfigurationError, match="Without does not support max_length=: leave it out"):
        TaskQueue(broker=broker, stream_key="q", max_length=1)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"max_length": 0}, "max_length=0 must be a whole number, 1 or more"),
        ({"max_length": True}, "max_length=True must be a whole number, 1 or more"),
        ({"max_length": "5"}, "max_length='5' must be a whole number, 1 or more"),
        ({"full_wait": 5}, "max_length=None must be a whole number, 1 or more; full_wait= needs it"),
        ({"max_length": 1, "full_wait": -1}, "full_wait=-1 must be a number of seconds, 0 or more"),
        ({"max_length": 1, "full_wait": "5"}, "full_wait='5' must be a number of seconds, 0 or more"),
    ],
)
def test_a_wrong_bound_is_an_error(options: dict[str, Any], says: str) -> None:
    """An option that is not valid is refused where the queue is made."""
    with pytest.raises(ConfigurationError) as raised:
        TaskQueue("memory://", **options)
    assert str(raised.value) == says


def check_producers_together(url: str, stream_key: str) -> None:
    """Eight producers that do not wait: at no time more than the bound, each call is accepted or refused, none lost."""
    accepted, refused = list[str](), list[int]()

    def produce() -> None:
        with closing(TaskQueue(url, stream_key, max_length=BOUND)) as queue:
            task = queue.task(double)
            for number in range(40):
                try:
                    accepted.append(task(number).task_id)
                except QueueFullError as error:
                    refused.append(error.length)

    with closing(TaskQueue(url, stream_key)) as queue, producers(8, produce) as are_done:
        queue.task(double)
        until(lambda: length(queue) == BOUND, "the queue is full")
        until(lambda: refused, "a call is refused")
        ended, most = [], 0
        while not are_done() or length(queue):
            ended += settle_some(queue)
            most = max(most, length(queue))

        assert most <= BOUND
        assert set(refused) == {BOUND}
        assert sorted(ended) == sorted(accepted)
        assert len(accepted) + len(refused) == 8 * 40


def check_producers_that_wait(url: str, stream_key: str) -> None:
    """Eight producers that wait for room: never more than the bound, and all calls are accepted."""
    accepted: list[str] = []

    def produce() -> None:
        with closing(TaskQueue(url, stream_key, max_length=BOUND, full_wait=60)) as queue:
            task = queue.task(double)
            accepted.extend(handle.task_id for handle in task.map([(number,) for number in range(30)]))

    with closing(TaskQueue(url, stream_key)) as queue, producers(8, produce) as are_done:
        queue.task(double)
        until(lambda: length(queue) == BOUND, "the queue is full")
        ended, most = [], 0
        while not are_done() or length(queue):
            ended += settle_some(queue)
            most = max(most, length(queue))

        assert most <= BOUND
        assert sorted(ended) == sorted(accepted)
        assert len(accepted) == 8 * 30


@contextmanager
def producers(count: int, produce: Callable[[], None]) -> Iterator[Callable[[], bool]]:
    """Run `produce` in threads; the value says whether all have ended. An error of one is raised at the end."""
    with ThreadPoolExecutor(count) as pool:
        running = [pool.submit(produce) for _ in range(count)]
        yield lambda: all(one.done() for one in running)
        for one in running:
            one.result()


def length(queue: TaskQueue) -> int:
    depth = queue.stores.backend.depth()
    return depth.waiting + depth.in_flight


def settle_some(queue: TaskQueue) -> list[str]:
    """Claim and settle a few tasks; return their ids."""
    backend = queue.stores.backend
    found = backend.claim("worker", 7, 20)
    settlements = [Settlement(one.receipt, Done(), Record(one.message.id, TaskStatus.SUCCESS)) for one in found]
    assert all(backend.settle(settlements))
    return [one.message.id for one in found]


@pytest.mark.parametrize("check", [check_producers_together, check_producers_that_wait])
def test_producers_on_redis(check: Callable[[str, str], None], redis_url: str, stream_key: str) -> None:
    """On a server, no producer passes the bound, and nothing that was accepted is lost."""
    check(redis_url, stream_key)


@pytest.mark.parametrize("check", [check_producers_together, check_producers_that_wait])
def test_producers_on_sqlite(check: Callable[[str, str], None], tmp_path: Path) -> None:
    """On a file, no producer passes the bound, and nothing that was accepted is lost."""
    check(f"sqlite:///{tmp_path}/q.db", "q")
