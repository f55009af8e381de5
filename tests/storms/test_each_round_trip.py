"""A crash, an error or a lost reply before and after every call to the store, one at a time: each task ends once."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import pytest
from attrs import frozen

from pyxqueue import Reject, TaskQueue, Unique, current_task
from pyxqueue.eager.backend import NoInterrupter
from pyxqueue.errors import BrokerUnavailableError
from pyxqueue.inflight import InFlightTable
from pyxqueue.model.message import Settlement, TaskStatus
from pyxqueue.protocols import Backend, ScheduleStore, schedules_of
from pyxqueue.supervisor.duties import DutyLoop, Releaser, all_duties
from pyxqueue.testing import FaultyBroker
from pyxqueue.testing.contract.harness import Harness
from pyxqueue.testing.faulty import FaultySchedules
from pyxqueue.testing.memory import MemoryHarness
from pyxqueue.worker.executors import Inline
from pyxqueue.worker.serving import QueueParts
from pyxqueue.worker.worker import Worker
from tests.conftest import Servers, kinds_to_test
from tests.support.redis_harness import RedisHarness
from tests.support.sqlite_harness import SQLiteHarness
from tests.support.tasks import task_of


class Crash(BaseException):
    """The process is gone."""


class BugError(Exception):
    """An error that nobody has thought of."""


@frozen
class Break:
    """What happens at which call to the store."""

    number: int
    error: type[BaseException] | None
    """None: the call takes effect twice."""
    after: bool

    @property
    def shown(self) -> str:
        what = "again" if self.error is None else self.error.__name__
        return f"{what} {'after' if self.after else 'before'} call {self.number}"


NEVER = Break(-1, None, after=False)
ERRORS = Crash, BugError, BrokerUnavailableError
KINDS = [(error, after) for error in ERRORS for after in (False, True)] + [(None, True)]
THINNED = ", thinned"
STORES = [
    "memory",
    f"valkey{THINNED}",
    *(pytest.param(one, marks=pytest.mark.soak) for one in ("sqlite", *kinds_to_test())),
]
"""On one of them, each call breaks in one of these ways, in turns."""


class Breaking(FaultyBroker):
    """Breaks one call. A process that has crashed reaches the store no more."""

    def __init__(self, inner: Backend, what: Break) -> None:
        super().__init__(inner)
        self.what = what
        self.calls: list[str] = []
        self.dead = False

    def _call(self, operation: str, call: Callable[[], Any]) -> Any:
        if self.dead:
            raise Crash
        self.calls.append(operation)
        if len(self.calls) - 1 != self.what.number:
            return call()
        if self.what.after:
            call()
        if self.what.error is None:
            return call()
        self.dead = self.what.error is Crash
        raise self.what.error(operation)

    def schedules(self) -> ScheduleStore | None:
        inner = schedules_of(self.inner)
        return None if inner is None else BreakingSchedules(inner, self)


class BreakingSchedules(FaultySchedules):
    """Its calls are among those of the broker."""

    def __init__(self, inner: Any, broker: Breaking) -> None:
        super().__init__(inner)
        self._call = broker._call  # type: ignore[method-assign]


Make: TypeAlias = Callable[[], Harness]


@pytest.fixture(params=STORES)
def make(request: pytest.FixtureRequest, servers: Servers, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Makes a fresh store each time. Workers try again at once."""
    monkeypatch.setattr(Worker, "_backoff", lambda *_: 0.0)
    made: list[Any] = []

    def new() -> Harness:
        while made:
            made.pop().close()  # moving the time takes as long as there is much in the store
        kind = request.param.removesuffix(THINNED)
        if kind == "memory":
            return MemoryHarness()
        one = SQLiteHarness() if kind == "sqlite" else RedisHarness(connect(servers(kind).url))
        made.append(one)
        return one

    yield new
    while made:
        made.pop().close()


def connect(url: str) -> Any:
    from redis import Redis  # noqa: PLC0415 - of the stores that are tested, two have no server

    return Redis.from_url(url, protocol=2)


class Place:
    """A store, and what its tasks did."""

    def __init__(self, harness: Harness) -> None:
        self.harness = harness
        self.backend = harness.open()
        self.backend.lease_ms()
        self.runs: Counter[str] = Counter()
        self.ends: Counter[str] = Counter()
        self.during: Callable[[], object] = lambda: None
        """What happens while a task runs."""
        settle = self.backend.settle

        def counted(settlements: Sequence[Settlement]) -> Sequence[bool]:
            answers = settle(settlements)
            for settlement, accepted in zip(settlements, answers, strict=True):
                if accepted and settlement.record is not None:
                    self.ends[settlement.record.id] += 1
            return answers

        self.backend.settle = counted  # type: ignore[method-assign]

    def queue(self, broker: Backend) -> TaskQueue:
        queue = TaskQueue(broker=broker, stream_key="kit")

        def note(name: str) -> None:
            self.runs[name] += 1
            self.during()

        def good() -> str:
            note(current_task().id)
            return "good"

        def flaky() -> str:
            note(current_task().id)
            if current_task().attempt == 1:
                raise OSError("try again")
            return "at last"

        def bad() -> None:
            note(current_task().id)
            raise Reject("no use")

        def stepping() -> None:
            current_task().progress(1, 2)
            current_task().step("charge", lambda: note("charge"))
            note(current_task().id)

        options: dict[str, Any] = {"max_crashes": 100, "backoff": 0.0, "retries": 1}
        for function in (good, flaky, bad, stepping):
            queue.task(name=function.__name__, **options)(function)
        queue.task(name="unique", unique=Unique(), **options)(good)
        return queue

    def statuses(self) -> dict[str, TaskStatus]:
        return {info.id: info.status for info in self.backend.tasks(None, "", 100)[0]}

    def live(self) -> int:
        depth = self.backend.depth()
        return depth.waiting + depth.in_flight


def process(place: Place, broker: Breaking, name: str) -> None:
    """Live as a worker process with its supervisor, until nothing is ready. Raises what kills it."""
    queue, table = place.queue(broker), InFlightTable()
    core = queue.core
    worker = Worker(
        [QueueParts(broker, core.registry, core.codec)], Inline(NoInterrupter()), name, table, chance=lambda: 0.0
    )
    duties = DutyLoop(
        all_duties(broker, place.harness.lease, Releaser(broker, lambda record: record), lambda *_: None),
        itertools.count(0, 10).__next__,  # all is due at every step
    )

    def meanwhile() -> None:
        try:
            duties.step([table])
        except (Crash, BugError):
            broker.dead = True  # the watchdog of a supervisor that has died kills the workers

    place.during = meanwhile
    worker.drain()
    duties.step([table])


def work(place: Place, broker: Breaking) -> None:
    """Let processes work, the next one where one has died, until all tasks have ended."""
    for number in range(20):
        try:
            process(place, broker, f"worker-{number}")
        except BrokerUnavailableError:
            continue
        except (Crash, BugError):
            broker = Breaking(place.backend, NEVER)
        if not place.live():
            return
        place.harness.advance(place.harness.lease + 1_000)
    raise AssertionError(f"{place.live()} tasks never end")


WORKER = {"t-good": "good", "t-flaky": "flaky", "t-bad": "bad", "t-stepping": "stepping"}


def worker_trial(make: Make, what: Break) -> int:
    """Let a worker meet one fault. Returns how many calls it makes to the store."""
    place = Place(make())
    queue = place.queue(place.backend)
    for task_id, name in WORKER.items():
        task_of(queue, name).with_options(task_id=task_id)()
    broker = Breaking(place.backend, what)
    work(place, broker)
    expected = dict.fromkeys(WORKER, TaskStatus.SUCCESS) | {"t-bad": TaskStatus.FAILURE}
    assert place.statuses() == expected, what.shown
    assert max(place.ends.values()) == 1, what.shown
    assert place.ends.total() == len(WORKER), what.shown
    assert set(place.runs) == {*WORKER, "charge"}, what.shown
    return len(broker.calls)


def client_trial(make: Make, what: Break) -> int:
    """Let a program that enqueues and operates meet one fault; what raises, it does again. Returns as above."""
    place = Place(make())
    broker = Breaking(place.backend, what)
    for step in STEPS:
        while True:
            try:
                step(place.queue(broker), broker)
            except BrokerUnavailableError:
                continue
            except (Crash, BugError):
                broker = Breaking(place.backend, NEVER)
                continue
            break
        work(place, Breaking(place.backend, NEVER))
    found = place.statuses()
    names = Counter("unique" if task_id not in CLIENT else task_id for task_id in found)
    assert names == dict.fromkeys([*CLIENT, "unique"], 1), what.shown
    assert {task_id: found[task_id] for task_id in CLIENT} == CLIENT, what.shown
    assert max(place.ends.values()) == 2, what.shown  # of what was requeued
    assert {task_id for task_id, count in place.ends.items() if count == 2} == {"bad"}, what.shown
    schedules = schedules_of(place.backend)
    assert schedules is not None
    assert list(schedules.ids()) == ["nightly"], what.shown
    return len(broker.calls)


def call(queue: TaskQueue, broker: Breaking) -> None:
    task_of(queue, "good").with_options(task_id="one")()


def map_(queue: TaskQueue, broker: Breaking) -> None:
    task_of(queue, "good").map([(), ()], task_ids=["two", "three"])


def fail(queue: TaskQueue, broker: Breaking) -> None:
    task_of(queue, "bad").with_options(task_id="bad")()


def delay(queue: TaskQueue, broker: Breaking) -> None:
    task_of(queue, "good").with_options(task_id="later", delay=86_400)()
    queue.result("later").cancel()


def call_unique(queue: TaskQueue, broker: Breaking) -> None:
    task_of(queue, "unique")()


def schedule(queue: TaskQueue, broker: Breaking) -> None:
    queue.schedules.upsert("nightly", task_of(queue, "good"), every=86_400)


def get(queue: TaskQueue, broker: Breaking) -> None:
    assert queue.result("one").get(10) == "good"


def requeue(queue: TaskQueue, broker: Breaking) -> None:
    broker.requeue(["bad"])


STEPS = (call, map_, fail, delay, call_unique, schedule, get, requeue)
SUCCESS = TaskStatus.SUCCESS
CLIENT = {
    "one": SUCCESS,
    "two": SUCCESS,
    "three": SUCCESS,
    "bad": TaskStatus.FAILURE,
    "later": TaskStatus.CANCELLED,
}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("trial", [worker_trial, client_trial])
def test_each_round_trip(request: pytest.FixtureRequest, make: Make, trial: Callable[[Make, Break], int]) -> None:
    """Whatever breaks at whichever call, each task ends as it should, and its end is accepted once."""
    calls = trial(make, NEVER)
    assert calls >= 8
    every = len(KINDS) if request.node.callspec.params["make"].endswith(THINNED) else 1
    for number in range(calls):
        for error, after in KINDS[number % every :: every]:
            trial(make, Break(number, error, after))
