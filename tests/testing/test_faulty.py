"""The faulty broker injects the faults that it is given, and a worker in front of it loses nothing."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence

import pytest

from pyxqueue.backends.memory import MemoryBackend, MemoryResults, MemoryStore
from pyxqueue.backends.memory.group import Group
from pyxqueue.errors import BrokerUnavailableError, Reject
from pyxqueue.locked import Entry
from pyxqueue.model.message import Done, Fail, Record, Settlement, TaskStatus
from pyxqueue.protocols import Backend, StoreOptions
from pyxqueue.split import SplitBackend
from pyxqueue.supervisor.duties import DutyLoop, Releaser, all_duties
from pyxqueue.testing import BackendContract, Fault, FaultyBroker, FaultyResults
from pyxqueue.testing.contract.steps import counts, done, ids_of, job, take
from pyxqueue.testing.faulty import OPERATIONS, FaultyCall
from pyxqueue.testing.memory import MemoryHarness
from pyxqueue.worker.worker import Worker
from tests.support.seeds import seeds_of
from tests.support.until import until
from tests.worker.harness import Bench


class FaultyHarness(MemoryHarness):
    def open(self, group: str = "cg", *, history: int = 100, lease: int | None = None) -> FaultyBroker:  # type: ignore[override]
        return FaultyBroker(super().open(group, history=history, lease=lease))


class TestWithoutFaults(BackendContract):
    """Where nothing fails it is the backend behind it, in every method."""

    @pytest.fixture
    def harness(self) -> FaultyHarness:
        return FaultyHarness()


@pytest.fixture
def backend() -> MemoryBackend:
    return MemoryHarness().open()


def test_a_call_is_lost(backend: MemoryBackend) -> None:
    """A lost call raises, and nothing has happened."""
    broker = FaultyBroker(backend, [Fault.LOSE_CALL])

    with pytest.raises(BrokerUnavailableError, match="enqueue was lost on its way"):
        broker.enqueue([job("a")])

    assert counts(backend) == (0, 0, 0, 0, 0)


def test_a_reply_is_lost(backend: MemoryBackend) -> None:
    """A lost reply raises the same error, and the call has taken effect."""
    broker = FaultyBroker(backend, [Fault.LOSE_REPLY])

    with pytest.raises(BrokerUnavailableError, match="the reply to enqueue was lost"):
        broker.enqueue([job("a")])

    assert counts(backend) == (1, 0, 0, 0, 0)


def test_a_call_is_repeated(backend: MemoryBackend) -> None:
    """The second result is returned: for a claim, what the first one has left."""
    backend.enqueue([job("a"), job("b")])
    broker = FaultyBroker(backend, [Fault.REPEAT])

    assert ids_of(broker.claim("one", 1, 0)) == ["b"]
    assert counts(backend) == (0, 2, 0, 0, 0)


def test_a_call_is_late(backend: MemoryBackend) -> None:
    """It waits before it goes on its way."""
    seen: list[object] = []

    def sleep(seconds: float) -> None:
        seen.append((seconds, counts(backend)))

    FaultyBroker(backend, [Fault.DELAY], delay=1.5, sleep=sleep).enqueue([job("a")])

    assert seen == [(1.5, (0, 0, 0, 0, 0))]
    assert counts(backend) == (1, 0, 0, 0, 0)


def test_faults_come_in_turn_and_end(backend: MemoryBackend) -> None:
    """Each call of the operations takes the next one; the others take none; after the last all goes through."""
    broker = FaultyBroker(backend, [None, Fault.LOSE_CALL], operations={"settle"})
    broker.enqueue([job("a"), job("b")])
    one, two = take(broker)

    assert broker.settle([done(one)]) == [True]
    with pytest.raises(BrokerUnavailableError):
        broker.settle([done(two)])
    assert broker.settle([done(two)]) == [True]
    assert broker.history == (
        FaultyCall("settle", None),
        FaultyCall("settle", Fault.LOSE_CALL),
        FaultyCall("settle", None),
    )


def test_a_seed_says_which_calls_are_hit(backend: MemoryBackend) -> None:
    """The same seed hits the same ones, another seed others, at about the rate that was asked for."""

    def hit(seed: int) -> list[Fault | None]:
        broker = FaultyBroker.random(backend, seed=seed, rate=0.3, kinds=[Fault.REPEAT, Fault.DELAY], delay=0)
        for _ in range(200):
            broker.depth()
        return [call.fault for call in broker.history]

    assert hit(1) == hit(1) != hit(2)
    found = Counter(hit(1))
    assert set(found) == {None, Fault.REPEAT, Fault.DELAY}
    assert 30 < 200 - found[None] < 90


def test_the_operations_are_those_of_a_backend() -> None:
    """Every operation of the protocols is known, and a misspelt one is an error."""
    methods = {name for name in dir(Backend) if not name.startswith("_")}

    assert methods - {"interrupt", "close"} == OPERATIONS
    with pytest.raises(ValueError, match="no operations of a FaultyBroker: setle"):
        FaultyBroker(MemoryHarness().open(), operations={"setle"})


def test_every_operation_can_be_hit(backend: MemoryBackend) -> None:
    """Each method asks under its own name."""
    arguments: dict[str, tuple[object, ...]] = {
        "claim": ("one", 1, 0),
        "release": ("one", []),
        "maintain": (1,),
        "wait": ([], 0),
        "watch": ("a", None, 0),
        "remove_group": ("cg",),
    }
    none = {"lease_ms", "tasks", "consumers", "depth", "groups"}
    for name in sorted(OPERATIONS):
        broker = FaultyBroker(backend, [Fault.LOSE_CALL], operations={name})
        with pytest.raises(BrokerUnavailableError, match=f"^{name} was lost"):
            getattr(broker, name)(*arguments.get(name, () if name in none else ([],)))


# -- a worker in front of it

SEEDS = seeds_of(range(60))
COUNT = 12


class Counted(MemoryBackend):
    """Counts what was accepted, where no fault can hide it."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store, StoreOptions())
        self.ended: Counter[str] = Counter()
        self.receipts: Counter[str] = Counter()

    def settle(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        answers = super().settle(settlements)
        for settlement, accepted in zip(settlements, answers, strict=True):
            self.receipts[settlement.receipt] += accepted
            if isinstance(settlement.verdict, Done | Fail):
                self.ended[settlement.receipt.rpartition("@")[0]] += accepted
        return answers


class Trial:
    """A worker, three kinds of tasks, and a store that can only be reached through faults."""

    def __init__(self, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Worker, "_backoff", lambda *_: 0.0)
        self.bench = Bench()
        store = MemoryStore(self.bench.clock)
        self.bench.clock.subscribe(store.poke)
        self.bench.broker = self.store = Counted(store)
        # A task whose claims are lost again and again is charged for it, which is not what this is about.
        self.bench.task(self.good, max_crashes=100)
        self.bench.task(self.flaky, max_crashes=100, retries=1, backoff=0, jitter=0)
        self.bench.task(self.bad, max_crashes=100)
        self.runs: Counter[str] = Counter()
        self.broker = FaultyBroker.random(self.store, seed=seed, rate=0.3, sleep=lambda _: None)
        self.wanted: dict[str, TaskStatus] = {}
        for number in range(COUNT):
            name = ("good", "flaky", "bad")[number % 3]
            self.bench.put(name, f"t{number}", task_id=f"t{number}")
            self.wanted[f"t{number}"] = TaskStatus.FAILURE if name == "bad" else TaskStatus.SUCCESS

    def good(self, task_id: str) -> str:
        self.runs[task_id] += 1
        return task_id

    def flaky(self, task_id: str) -> str:
        self.runs[task_id] += 1
        if self.runs[task_id] == 1:
            raise OSError("try again")
        return task_id

    def bad(self, task_id: str) -> str:
        self.runs[task_id] += 1
        raise Reject("no use")

    def left(self) -> int:
        """How many have not ended."""
        return COUNT - sum(counts(self.store)[3:])

    def time_passes(self) -> None:
        """Leases that are not extended end."""
        self.bench.clock.advance(self.store.lease_ms() + 1)

    def judge(self, records: Sequence[Record | None]) -> None:
        assert {record.id: record.status for record in records if record is not None} == self.wanted
        assert self.store.ended == dict.fromkeys(self.wanted, 1)
        assert max(self.store.receipts.values()) == 1
        assert self.runs.keys() == self.wanted.keys()
        assert counts(self.store) == (0, 0, 0, COUNT // 3, COUNT - COUNT // 3)


def persist(step: Callable[[], object]) -> None:
    """What the loop of a worker does: the store comes back."""
    while True:
        try:
            step()
        except BrokerUnavailableError:
            continue
        return


def finish(trial: Trial, worker: Worker) -> None:
    """Let the worker work until all has ended, but not for ever."""
    for _ in range(50):
        persist(worker.drain)
        if not trial.left():
            return
        trial.time_passes()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_worker_loses_nothing(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever calls and replies are lost: every task ends as it should, and its end is accepted once."""
    trial = Trial(seed, monkeypatch)
    worker = trial.bench.worker(trial.broker)

    finish(trial, worker)

    trial.judge(trial.store.wait(list(trial.wanted), 0))
    assert any(call.fault for call in trial.broker.history)


@pytest.mark.parametrize("seed", SEEDS)
def test_nor_do_two_stores(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same with results in another store, which fails on its own."""
    trial = Trial(seed, monkeypatch)
    results = MemoryResults(MemoryStore(trial.bench.clock), StoreOptions())
    worker = trial.bench.worker(
        SplitBackend(trial.broker, FaultyResults.random(results, seed=seed + 1_000, rate=0.3, sleep=lambda _: None))
    )

    finish(trial, worker)

    trial.judge(results.wait(list(trial.wanted), 0))


@pytest.mark.parametrize("seed", seeds_of(range(6)))
def test_nor_do_threads(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same with all loops of the worker at work, two tasks at once, and duties that hand back and renew."""
    trial = Trial(seed, monkeypatch)
    worker = trial.bench.threaded(2, trial.broker)
    restless = itertools.count(time.monotonic(), 10).__next__  # to the duties, all is due at every step
    releaser = Releaser(trial.broker, lambda record: record)
    duties = DutyLoop(all_duties(trial.broker, trial.store.lease_ms(), releaser, lambda *_: None), restless)
    running = threading.Thread(target=worker.run, daemon=True)
    running.start()

    def ended() -> bool:
        duties.step([trial.bench.table])
        if trial.left() and not list(worker._jobs) and not counts(trial.store)[0]:
            trial.time_passes()
        return not trial.left()

    until(ended, "every task ends")
    worker.stop()
    running.join(10)

    assert not running.is_alive()
    trial.judge(trial.store.wait(list(trial.wanted), 0))


class SettlesTwice(Group):
    """Takes a receipt as current also after it was settled."""

    def holding(self, receipt: str) -> Entry | None:
        entry = self.tasks.get(receipt.rpartition("@")[0])
        return entry if entry is not None and entry.receipt == receipt else None


def test_the_trial_finds_a_wrong_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test can fail: with each of some seeds it finds a store that accepts a settlement twice."""
    monkeypatch.setattr(MemoryStore, "new_group", SettlesTwice)
    for seed in range(3):
        trial = Trial(seed, monkeypatch)
        finish(trial, trial.bench.worker(trial.broker))

        with pytest.raises(AssertionError):
            trial.judge(trial.store.wait(list(trial.wanted), 0))
