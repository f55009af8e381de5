"""A store with the programs that use it, on a clock that only the test moves. Each test sets up what a report tells."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

import pytest
import redis
from attrs import define, field

from pyxqueue import TaskQueue
from pyxqueue.model.message import Delivery, Done, Settlement, StartStatus, Verdict
from pyxqueue.options.limits import Declared
from pyxqueue.protocols import Backend, Beginning, ScheduleStore
from pyxqueue.testing import drain
from pyxqueue.testing.memory import MemoryHarness
from pyxqueue.ticking import Ticker, store_of_schedules

from ..conftest import Servers, kinds_to_test
from ..support.redis_harness import RedisHarness
from ..support.shifted_schedules import Shifted
from ..support.sqlite_harness import SQLiteHarness

LEASE = 30 * 86_400_000
"""Longer than any test, so that a task runs as long as its test says."""
MEMORY_DISK = Path("/dev/shm")
"""Where there is one, files are on it: these tests are not about the disk."""
_BATCH = 256
Wrap: TypeAlias = Callable[[Backend], Backend]


def ms_of(text: str) -> int:
    """The ms of a moment in UTC."""
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@define(eq=False)
class Supervisor:
    """What the supervisor of a program does about time, when the test says so."""

    queue: TaskQueue
    clock: Callable[[], int]
    store: ScheduleStore
    slept_ms: int = 0
    """For how long its machine was asleep."""
    ticker: Ticker = field(init=False)
    _declare_at: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        def monotonic() -> float:
            return (self.clock() - self.slept_ms) / 1000

        self.ticker = Ticker(self.store, self.queue.core.codec, self.clock, monotonic=monotonic)
        self.ticker.begin()

    def look(self) -> None:
        """Do what is due."""
        self.queue.stores.backend.maintain(_BATCH)
        if (declared := self.queue.core.schedules()) and self.clock() >= self._declare_at:
            self.ticker.declare(declared)
            self._declare_at = self.clock() + 60_000
        while self.ticker.tick() <= 0:
            pass


@define(eq=False)
class Site:
    """One store, and the programs that use it."""

    harness: MemoryHarness | SQLiteHarness | RedisHarness
    _offset: int = field(default=0, init=False)
    """By how much the clock of schedules on a server is ahead of that of its harness."""

    # Programs

    def program(
        self, group: str = "cg", *, lease: int = LEASE, wrap: Wrap = lambda it: it, **options: object
    ) -> TaskQueue:
        """Start another program: a queue on this store. `wrap` changes its way to the store."""
        backend = self.harness.open(group, history=10_000, lease=lease)
        if isinstance(self.harness, RedisHarness):
            found = store_of_schedules(backend)
            shifted = Shifted(found, self.harness.raw, self.clock, self.harness.stream_key)
            backend.schedules = lambda: shifted  # type: ignore[method-assign] # a server's clock goes on
        where = {"stream_key": self.harness.stream_key, "consumer_group": group}
        return TaskQueue(broker=wrap(backend), eager=False, **where, **options)  # type: ignore[arg-type] # any options

    def supervisor(self, queue: TaskQueue, store: ScheduleStore | None = None) -> Supervisor:
        """Start the supervisor of a program. `store`: its way to the schedules."""
        return Supervisor(queue, self.clock, store or store_of_schedules(queue.stores.backend))

    def start_worker(self, queue: TaskQueue) -> None:
        """Store the limits of a program as its workers do when they start."""
        if keep := Declared.by((task.name, task.options.limits) for task in queue.core.registry).keeper(
            queue.stores.backend
        ):
            keep(True)

    def work(self, queue: TaskQueue) -> int:
        """Let a worker of a program run what is ready, until nothing is. Returns how many runs that were."""
        return drain(queue)

    def hold(self, queue: TaskQueue, number: int = 1, worker: str = "worker") -> list[Delivery]:
        """Let a worker start up to `number` tasks that do not end. Returns those that it runs."""
        backend = queue.stores.backend
        backend.maintain(_BATCH)
        found = list(backend.claim(worker, number, 0))
        asked = [one.receipt for one in found if one.must_begin]
        assert not asked or isinstance(backend, Beginning)
        statuses = backend.begin(asked) if asked else ()  # type: ignore[attr-defined] # as asserted
        turned_away = {one for one, status in zip(asked, statuses, strict=True) if status is not StartStatus.RUN}
        return [one for one in found if one.receipt not in turned_away]

    def end(self, queue: TaskQueue, held: Sequence[Delivery], verdict: Verdict = Done()) -> list[bool]:  # noqa: B008 - frozen
        """Let tasks that are held end. Returns for each whether the store has accepted that."""
        return list(queue.stores.backend.settle([Settlement(one.receipt, verdict) for one in held]))

    def kill(self, queue: TaskQueue, held: Sequence[Delivery], worker: str = "worker") -> None:
        """Let a worker die while it runs these, and its supervisor notice it."""
        queue.stores.backend.release(worker, [one.receipt for one in held])

    # Time

    def clock(self) -> int:
        """The time of the store in ms."""
        return self.harness.clock() + self._offset

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.harness.advance(round(seconds * 1000))

    def set_clock(self, moment: str | int) -> None:
        """Set the clock by which schedules go to a moment in UTC, which may be earlier."""
        ms = (ms_of(moment) if isinstance(moment, str) else moment) - self.clock()
        if isinstance(self.harness, RedisHarness):
            self._offset += ms
        else:
            self.harness.clock.advance(ms)

    def pass_time(
        self, seconds: int, supervisors: Sequence[Supervisor], step: int = 60, act: Callable[[], object] = lambda: None
    ) -> None:
        """Let the time of schedules pass in steps; every supervisor looks before the first and after each."""
        for one in supervisors:
            one.look()
        for _ in range(0, seconds, step):
            self.set_clock(self.clock() + 1000 * step)
            for one in supervisors:
                one.look()
            act()


def ids(held: Sequence[Delivery]) -> list[str]:
    return [one.message.id for one in held]


def waiting(queue: TaskQueue) -> tuple[int, int, int]:
    """How many tasks are ready, blocked and delayed."""
    depth = queue.stores.backend.depth()
    return depth.ready, depth.blocked, depth.delayed


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the developer's shell has set is not for these tests."""
    for name in ("PYXQUEUE_URL", "PYXQUEUE_EAGER", "PYXQUEUE_LEASE", "PYXQUEUE_SEAL_KEYS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(params=["memory", "file", "server"])
def site(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """An empty store of each kind; of the servers, one."""
    if request.param == "memory":
        yield Site(MemoryHarness())
    elif request.param == "file":
        if MEMORY_DISK.is_dir():
            monkeypatch.setattr(tempfile, "tempdir", str(MEMORY_DISK))
        with closing(SQLiteHarness()) as file:
            yield Site(file)
    else:
        servers: Servers = request.getfixturevalue("servers")
        with redis.Redis.from_url(servers(kinds_to_test()[0]).url) as client, closing(RedisHarness(client)) as server:
            yield Site(server)


@pytest.fixture
def memory() -> Site:
    """For what does not depend on the store."""
    return Site(MemoryHarness())
