"""Programs that tick schedules, in random order and with every fault, against an oracle that looks at every minute."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import pytest
import redis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from pyxqueue.backends.memory import MemoryBackend, MemoryStore
from pyxqueue.backends.memory.schedules import MemorySchedules
from pyxqueue.backends.redis import ConnectionConfig, RedisBackend
from pyxqueue.backends.sqlite import SQLiteBackend
from pyxqueue.clock import FakeClock
from pyxqueue.codec import Codec
from pyxqueue.errors import BrokerUnavailableError
from pyxqueue.model import schedules as rules
from pyxqueue.model.message import Done, Message, Settlement, evolve
from pyxqueue.model.schedules import MissedTicks, Schedule
from pyxqueue.model.ticks import Timing
from pyxqueue.protocols import Backend, Changed, DueSchedules, ScheduleChange, ScheduleStore, StoreOptions, schedules_of
from pyxqueue.serializers import JSONSerializer
from pyxqueue.testing.servers import Server
from pyxqueue.ticking import Ticker

from ..schedules.oracle import ticks
from ..support.shifted_schedules import Shifted

MINUTE, HOUR = 60_000, 3_600_000
STARTS = [
    datetime(2026, month, day, hour, 7, 13, tzinfo=UTC)
    for month, day in ((3, 28), (3, 29), (10, 24), (10, 25), (4, 4), (7, 1))
    for hour in (0, 14, 22)
]
TIMINGS = [
    Timing("30 2 * * *", "Europe/Berlin"),
    Timing("*/20 1-3 * * *", "Europe/Berlin"),
    Timing("0 2,3 * * *", "Australia/Lord_Howe"),
    Timing("15 * * * *", "America/New_York"),
    Timing(every_ms=37 * MINUTE),
]
POLICIES: list[tuple[MissedTicks, rules.Overlap]] = [
    (MissedTicks("once"), "allow"),
    (MissedTicks("once"), "skip"),
    (MissedTicks("once"), "queue"),
    (MissedTicks("skip", HOUR), "allow"),
    (MissedTicks("all", 0, 1_000, 400 * 24 * HOUR), "allow"),
    (MissedTicks("all", 0, 1_000, 400 * 24 * HOUR), "queue"),
]


def moment(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


def oracle(timing: Timing, after: int, until: int) -> list[int]:
    if timing.every_ms:
        minutes = range(after // MINUTE * MINUTE, until + 1, MINUTE)
        return [one for one in minutes if one > after and one % timing.every_ms == 0]
    found = ticks(timing.cron, timing.timezone, moment(after), moment(until))
    return [round(one.timestamp() * 1000) for one in found]


class Line:
    """The way of one program to the store: its look may be stale, and its next change may get lost."""

    next_look = 0.0

    def __init__(self, inner: ScheduleStore) -> None:
        self.inner = inner
        self.seen: DueSchedules | None = None
        self.fault = ""

    def due(self, limit: int) -> DueSchedules:
        seen, self.seen = self.seen, None
        return self.inner.due(limit) if seen is None or not limit else seen

    def get(self, ids: Sequence[str]) -> Sequence[Schedule | None]:
        return self.inner.get(ids)

    def ids(self) -> Sequence[str]:
        return self.inner.ids()

    def change(self, change: ScheduleChange) -> Changed:
        fault, self.fault = self.fault, ""
        if fault == "lost call":
            raise BrokerUnavailableError(fault)
        changed = self.inner.change(change)
        if fault == "repeat":
            assert self.inner.change(change) is Changed.REFUSED
        if fault == "lost reply":
            raise BrokerUnavailableError(fault)
        return changed


class Machine(RuleBasedStateMachine):
    """Three programs, one schedule."""

    opened: ClassVar[Callable[[FakeClock], AbstractContextManager[Backend]]]

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.begun = False
        self.top = 0
        """The latest time that the clock has shown."""

    def begin(self, start: datetime, timing: Timing, policy: tuple[MissedTicks, rules.Overlap]) -> None:
        self.clock.advance(round(start.timestamp() * 1000) - self.clock())
        self.context = type(self).opened(self.clock)
        self.backend = self.context.__enter__()
        self.backend.lease_ms()
        store = schedules_of(self.backend)
        assert store is not None
        self.store: ScheduleStore = store
        self.lines = [Line(store) for _ in range(3)]
        self.tickers = [Ticker(line, Codec.of("q", [JSONSerializer()], None), None) for line in self.lines]
        self.ran: dict[int, int] = {}
        self.counted = 0
        self.held: list[str] = []
        self.ages = [self.clock()] * 2
        self.begun = True
        self.define(timing, policy)

    def define(self, timing: Timing, policy: tuple[MissedTicks, rules.Overlap]) -> None:
        call = Message("s", "kit.job", b"[[],{}]")
        new = Schedule("s", timing, call, *policy)
        self.tickers[0].alter("s", lambda old: rules.upserted(old, new, self.clock()))

    @property
    def one(self) -> Schedule:
        (found,) = self.store.get(["s"])
        assert found is not None
        return found

    def collect(self) -> None:
        """A worker claims what was enqueued: each tick once, none early, each one of the oracle's."""
        for delivery in self.backend.claim("w", 10_000, 0):
            tick = int(delivery.message.id.rpartition(".")[2])
            assert tick not in self.ran, f"{moment(tick)} was enqueued twice"
            assert tick <= self.clock(), f"{moment(tick)} was enqueued early, at {moment(self.clock())}"
            self.ran[tick] = self.clock()
            self.held.append(delivery.receipt)

    @precondition(lambda self: not self.begun)
    @rule(start=st.sampled_from(STARTS), timing=st.sampled_from(TIMINGS), policy=st.sampled_from(POLICIES))
    def start(self, start: datetime, timing: Timing, policy: tuple[MissedTicks, rules.Overlap]) -> None:
        self.begin(start, timing, policy)

    @precondition(lambda self: self.begun)
    @rule(ms=st.sampled_from([MINUTE, 10 * MINUTE, 30 * MINUTE, HOUR, HOUR, 2 * HOUR, 5 * HOUR, 26 * HOUR, 50 * HOUR]))
    def time_passes(self, ms: int) -> None:
        self.clock.advance(ms)

    @precondition(lambda self: self.begun)
    @rule(minutes=st.integers(1, 120))
    def clock_is_set_back(self, minutes: int) -> None:
        """By less than a day: a cursor that is further ahead counts as wrong."""
        self.top = max(self.top, self.clock())
        self.clock.advance(max(self.top - 23 * HOUR, self.clock() - minutes * MINUTE) - self.clock())

    @precondition(lambda self: self.begun)
    @rule(which=st.integers(0, 2))
    def look(self, which: int) -> None:
        self.lines[which].seen = self.store.due(256)

    @precondition(lambda self: self.begun)
    @rule(which=st.integers(0, 2), fault=st.sampled_from(["", "", "lost call", "lost reply", "repeat"]))
    def tick(self, which: int, fault: str) -> None:
        before, stale = self.one, self.lines[which].seen is not None
        self.lines[which].fault = fault
        with suppress(BrokerUnavailableError):
            self.tickers[which].tick()
        self.lines[which].seen, self.lines[which].fault = None, ""
        self.account(before)
        if not (stale or fault):
            assert self.one.paused or self.one.next_ms > self.clock(), "something is due that was looked at"

    @precondition(lambda self: self.begun)
    @rule()
    def tasks_end(self) -> None:
        self.backend.settle([Settlement(receipt, Done()) for receipt in self.held])
        self.held.clear()

    @precondition(lambda self: self.begun)
    @rule()
    def pause(self) -> None:
        self.tickers[1].alter("s", lambda old: rules.paused(old, self.clock()) if old else None)

    @precondition(lambda self: self.begun)
    @rule()
    def resume(self) -> None:
        self.tickers[1].alter("s", lambda old: rules.resumed(old, self.clock()) if old else None)

    @precondition(lambda self: self.begun)
    @rule(timing=st.sampled_from(TIMINGS), policy=st.sampled_from(POLICIES))
    def upsert(self, timing: Timing, policy: tuple[MissedTicks, rules.Overlap]) -> None:
        before = self.one
        self.define(timing, policy)
        after = self.one
        if before.definition == after.definition:
            assert (after.cursor, after.next_ms) == (before.cursor, before.next_ms)
        elif not before.paused:
            pending = oracle(before.timing, before.cursor, max(before.cursor, self.clock()))
            assert after.cursor == (pending[0] - 1 if pending else max(before.cursor, self.clock()))

    @precondition(lambda self: self.begun and self.one.origin == "code")
    @rule(timing=st.sampled_from(TIMINGS))
    def an_older_release_declares(self, timing: Timing) -> None:
        before = self.one
        old = evolve(before, timing=timing, declared_ms=before.declared_ms - 1)
        self.tickers[2].alter("s", lambda found: rules.declared(found, old, self.clock()))
        assert self.one.timing == before.timing
        assert self.one.cursor == before.cursor

    @precondition(lambda self: self.begun)
    @rule(timing=st.sampled_from(TIMINGS))
    def a_newer_release_declares(self, timing: Timing) -> None:
        before = self.one
        self.tickers[2].alter("s", lambda found: evolve(before, origin="code") if found else None)
        new = evolve(before, timing=timing, origin="code", declared_ms=before.declared_ms + 1)
        self.tickers[2].alter("s", lambda found: rules.declared(found, new, self.clock()))
        assert self.one.timing == timing
        assert self.one.seen_ms == self.clock()

    def account(self, before: Schedule) -> None:
        """What has become of each tick up to the cursor is counted, and what ran was one of them."""
        after, earlier = self.one, set(self.ran)
        self.collect()
        passed = oracle(before.timing, before.cursor, after.cursor) if after.cursor > before.cursor else []
        self.counted += len(passed)
        assert set(self.ran) - earlier <= set(passed), "a task has run for a time that is no tick"
        assert after.runs + after.skipped + after.missed_ticks == self.counted
        assert after.runs == len(self.ran)
        if before.missed.policy == "all" and after.cursor > before.cursor:
            assert set(self.ran) - earlier == set(passed), "a missed tick was not made up for"

    def teardown(self) -> None:
        if self.begun:
            self.context.__exit__(None, None, None)


@contextmanager
def in_memory(clock: FakeClock, kind: type[MemorySchedules] = MemorySchedules) -> Iterator[Backend]:
    backend = type("Backend", (MemoryBackend,), {"new_schedules": kind})
    yield backend(MemoryStore(clock), StoreOptions("q", lease_ms=10**13, history=2**31))


@contextmanager
def in_a_file(clock: FakeClock) -> Iterator[Backend]:
    with TemporaryDirectory() as folder:
        backend = SQLiteBackend(Path(folder) / "q.db", StoreOptions("q", lease_ms=10**13, history=2**31), clock=clock)
        with closing(backend):
            yield backend


def on_a_server(url: str) -> Callable[[FakeClock], AbstractContextManager[Backend]]:
    @contextmanager
    def opened(clock: FakeClock) -> Iterator[Backend]:
        client = redis.Redis.from_url(url)
        name = f"machine-{os.urandom(8).hex()}"
        options = StoreOptions(name, lease_ms=10**13, history=2**31)
        backend = RedisBackend(ConnectionConfig.from_client(client), options, reclaim_after=0)
        shifted = Shifted(backend.schedules(), client, clock, name)
        backend.schedules = lambda: shifted  # type: ignore[method-assign] # the server's clock cannot be moved
        with closing(backend), closing(client):
            yield backend
            for key in [name, *client.scan_iter(match=f"{{{name}}}:*")]:
                client.delete(key)

    return opened


def run(opened: Callable[[FakeClock], AbstractContextManager[Backend]], examples: int, steps: int, **more: Any) -> None:
    machine = type("Walk", (Machine,), {"opened": staticmethod(opened)})
    chosen = settings(
        max_examples=examples, stateful_step_count=steps, deadline=None, suppress_health_check=list(HealthCheck), **more
    )
    run_state_machine_as_test(machine, settings=chosen)


def test_in_memory() -> None:
    """Walks in the model."""
    run(in_memory, 80, 40)


def test_in_a_file() -> None:
    """Walks in a SQLite file."""
    run(in_a_file, 15, 30)


def test_on_a_server(redis_server: Server) -> None:
    """Walks on each kind of server."""
    run(on_a_server(redis_server.url), 12, 30)


@pytest.mark.soak
@pytest.mark.parametrize("where", ["memory", "file"])
def test_long_walks(where: str) -> None:
    """Many more of them."""
    run(in_memory if where == "memory" else in_a_file, 3_000 if where == "memory" else 400, 80)


class ComparesNothing(MemorySchedules):
    """Ticks without comparing marks."""

    def change(self, change: ScheduleChange) -> Changed:
        old = self._all.get(change.id)
        return super().change(evolve(change, mark=old.mark if old else ""))


class CursorFirst(MemorySchedules):
    """Moves the cursor, and loses the task of some ticks."""

    def change(self, change: ScheduleChange) -> Changed:
        lose = change.message is not None and int(change.message.id[-6]) % 2
        return super().change(evolve(change, message=None) if lose else change)


class Early(MemorySchedules):
    """Looks too early, and does not check the time of a tick."""

    def due(self, limit: int) -> DueSchedules:
        self._store.clock.advance(10 * MINUTE)  # type: ignore[attr-defined] # tests give it a fake clock
        found = super().due(limit)
        self._store.clock.advance(-10 * MINUTE)  # type: ignore[attr-defined] # as above
        return found

    def change(self, change: ScheduleChange) -> Changed:
        return super().change(evolve(change, not_before=0))


@pytest.mark.parametrize("wrong", [ComparesNothing, CursorFirst, Early])
def test_a_walk_finds_what_is_wrong(wrong: type[MemorySchedules]) -> None:
    """A store with one of these faults does not come through."""
    with pytest.raises(AssertionError):
        run(lambda clock: in_memory(clock, wrong), 200, 40, derandomize=True, database=None, phases=[Phase.generate])
