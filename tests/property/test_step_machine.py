"""Random tasks with steps, waits and tasks of their own, whose workers die at any point.

The oracle is a log outside of the store: no step that was stored runs again, an unfinished one at most once for each
death, each task returns what it must, and none waits for ever.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, TypeVar

import pytest
from attrs import define, field

from pyxqueue import TaskQueue, current_task
from pyxqueue.eager.backend import NoInterrupter
from pyxqueue.errors import EventTimeoutError
from pyxqueue.inflight import InFlightTable
from pyxqueue.protocols import Backend
from pyxqueue.testing import FaultyBroker
from pyxqueue.testing.contract import Harness
from pyxqueue.worker.executors import Inline
from pyxqueue.worker.serving import QueueParts
from pyxqueue.worker.worker import Worker
from tests.contract.wrong import PLANTED, Wrong
from tests.support.seeds import seeds_of

from ..support.machines import MakeHarness
from ..support.redis_harness import RedisHarness
from ..support.tasks import task_of

T = TypeVar("T")
KINDS = ("step", "step", "step", "sleep", "event", "timeout", "gather", "save", "fail")
TIMED = ("sleep", "timeout")
SLEEP, STEP = 15, 16_000
"""In seconds and ms: longer than a walk takes where the clock goes on by itself, and shorter than a lease."""
ROUNDS = 60


class Killed(BaseException):
    """The process of the worker is gone, as after kill -9."""


@define
class World:
    """A queue whose workers die, and the log of what its tasks did."""

    harness: Harness
    chance: random.Random
    log: Counter[str] = field(factory=Counter)
    """How often each step has begun."""
    seen: dict[str, Any] = field(factory=dict)
    """What each step, wait and gather has returned: the same in each run."""
    faults: list[str] = field(factory=list)
    kills: int = 0
    kill_in: int = -1
    """At which of the next points the worker dies; -1 for at none."""
    dead: bool = False
    boots: int = 0
    backend: Any = field(init=False)
    queue: TaskQueue = field(init=False)
    scripts: dict[str, Sequence[str]] = field(factory=dict)
    """What each task does."""

    def __attrs_post_init__(self) -> None:
        self.backend = self.harness.open(history=1_000)
        self.queue = TaskQueue(broker=self.backend, stream_key="kit")
        for function in (self.scripted, self.child):
            self.queue.task(name=function.__name__, retries=99, backoff=0, max_crashes=999)(_plain(function))

    def point(self) -> None:
        """A point at which the process may be killed. After that, nothing of it goes on."""
        if self.kill_in == 0 and not self.dead:
            self.kills += 1
            self.dead = True
        self.kill_in -= self.kill_in > 0
        if self.dead:
            raise Killed

    # What the tasks do

    def child(self, key: str, number: int) -> int:
        self.point()
        self.log[f"{key} {number}"] += 1
        return number

    def scripted(self, name: str) -> list[Any]:
        got: list[Any] = []
        for number, kind in enumerate(self.scripts[name]):
            key = f"{name} {number}"
            self.point()
            found = getattr(self, f"do_{kind}")(key)
            if self.seen.setdefault(key, found) != found:
                self.faults.append(f"{key} returned {found}, and {self.seen[key]} before")
            got.append(found)
        self.point()
        return got

    def do_step(self, key: str) -> str:
        def work() -> str:
            if key in self.seen:
                self.faults.append(f"{key} was stored, and ran again")
            self.log[key] += 1
            self.point()
            return f"{key} done"

        return current_task().step(key, work)

    def do_sleep(self, key: str) -> None:
        current_task().sleep(key, SLEEP)

    def do_event(self, key: str) -> Any:
        return current_task().wait_event(key)

    def do_timeout(self, key: str) -> Any:
        try:
            return current_task().wait_event(key, timeout=SLEEP)
        except EventTimeoutError:
            return "late"

    def do_gather(self, key: str) -> Any:
        child = task_of(self.queue, "child")
        return current_task().gather(key, [child.of(key, number) for number in range(3)])

    def do_save(self, key: str) -> None:
        current_task().save(key)

    def do_fail(self, key: str) -> None:
        self.log[key] += 1
        if self.log[key] == 1:
            raise ValueError(key)

    # What happens

    def start(self, name: str) -> None:
        # The clock of a Redis cannot be moved, only what it has stored, and times stand in steps too.
        kinds = [kind for kind in KINDS if kind not in TIMED or not isinstance(self.harness, RedisHarness)]
        self.scripts[name] = [self.chance.choice(kinds) for _ in range(self.chance.randint(2, 7))]
        task_of(self.queue, "scripted").with_options(task_id=name)(name)

    def work(self, kill_in: int = -1) -> None:
        """Run what is ready in a worker that may die."""
        self.boots += 1
        self.kill_in, self.dead = kill_in, False
        consumer, executor, table = f"worker-{self.boots}", Inline(NoInterrupter()), InFlightTable()
        core = self.queue.core
        parts = QueueParts(Dying(self.backend, self), core.registry, core.codec)
        try:
            Worker([parts], executor, consumer, table, chance=lambda: 0.0).drain()
        except Killed:
            pass
        finally:
            executor.close()
        self.kill_in, self.dead = -1, False
        if self.chance.random() < 0.8:  # else the whole host is gone, and its lease ends
            self.backend.release(consumer, [entry.receipt for entry in table.entries()])

    def work_and_die(self) -> None:
        self.work(self.chance.randint(0, 40))

    def send(self) -> None:
        name = self.chance.choice(sorted(self.scripts))
        for number, kind in enumerate(self.scripts[name]):
            if kind in ("event", "timeout"):
                self.backend.send_event(name, f"{name} {number}", self._event(name, number))

    def _event(self, name: str, number: int) -> bytes:
        key = f"{name} {number}"
        value = f"{key} came {self.chance.random()}"  # the first one counts
        return self.queue.core.codec.step_value(name, "event", key, value)

    def advance(self) -> None:
        self.harness.advance(self.chance.choice((STEP, self.harness.lease + 1)))

    def finish(self) -> None:
        for _ in range(ROUNDS):
            for name in self.scripts:
                for number, kind in enumerate(self.scripts[name]):
                    if kind == "event":
                        self.backend.send_event(name, f"{name} {number}", self._event(name, number))
            self.work()
            self.harness.advance(self.harness.lease + 1)
            depth = self.backend.depth()
            if not depth.waiting + depth.in_flight:
                break
        else:
            raise AssertionError(f"these wait for ever: {self.backend.tasks()[0]}")

    def check(self) -> None:
        assert self.faults == []
        for name, kinds in self.scripts.items():
            got = self.queue.result(name).get(timeout=0)
            assert got == [self.seen[f"{name} {number}"] for number in range(len(kinds))]
            for number, kind in enumerate(kinds):
                key = f"{name} {number}"
                if kind == "step":
                    assert 1 <= self.log[key] <= 1 + self.kills, key
                if kind == "gather":
                    assert got[number] == [0, 1, 2]
                    assert all(1 <= self.log[f"{key} {n}"] <= 1 + self.kills for n in range(3)), key
            kept = self.backend.load_steps(name)
            assert (kept.steps, kept.events) == ({}, {})


class Dying(FaultyBroker):
    """The store as a process uses it that may die before and after each request."""

    def __init__(self, inner: Backend, world: World) -> None:
        self.world = world
        super().__init__(inner)

    def _call(self, operation: str, call: Callable[[], T]) -> T:
        self.world.point()
        result = call()
        self.world.point()
        return result


def _plain(method: Callable[..., T]) -> Callable[..., T]:
    """A task is a function, not a method."""

    def function(*args: Any) -> T:
        return method(*args)

    return function


def walk(make: MakeHarness, seed: int, worlds: int) -> None:
    chance = random.Random(seed)
    for _ in range(worlds):
        with make() as harness:
            world = World(harness, chance)
            for name in ("a", "b", "c"):
                world.start(name)
            acts: list[Callable[[], None]] = [*[world.work_and_die] * 4, world.work, world.send, world.advance]
            for _ in range(15):
                chance.choice(acts)()
            world.finish()
            world.check()


@pytest.mark.parametrize("seed", seeds_of(range(2)))
def test_tasks_resume_on_every_store(make: MakeHarness, seed: int) -> None:
    """Three tasks of up to seven steps each, whose workers die."""
    walk(make, seed, 4)


FOUND = ("ARetryForgets", "KnownChildrenCount", "NoEventWakes", "TheEndForgetsNothing", "TheLastSaveIsAll")


@pytest.mark.parametrize("wrong", [one for one in PLANTED if one.name in FOUND], ids=lambda one: one.name)
def test_a_wrong_backend_is_found(wrong: Wrong) -> None:
    """The walk finds it within thirty worlds."""
    with pytest.raises(AssertionError):
        walk(lambda: nullcontext(wrong.harness()), 0, 30)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", seeds_of(range(10, 20)))
def test_tasks_resume_on_every_store_for_long(make: MakeHarness, seed: int) -> None:
    """Three hundred tasks each."""
    walk(make, seed, 100)
