"""Programs that tick, on one store in memory whose clock stands still."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import pytest
from attrs import define, evolve, field

from pyxqueue.backends.memory import MemoryBackend, MemoryStore
from pyxqueue.clock import FakeClock
from pyxqueue.codec import Codec
from pyxqueue.model.events import TickSkipped
from pyxqueue.model.message import Done, Message, Settlement
from pyxqueue.model.schedules import MissedTicks, Schedule, upserted
from pyxqueue.model.ticks import Timing
from pyxqueue.protocols import ScheduleStore, StoreOptions
from pyxqueue.serializers import JSONSerializer, Seal
from pyxqueue.ticking import Ticker

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR


def at(text: str) -> int:
    """The ms of a moment in UTC."""
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def schedule(name: str = "s", timing: Timing | None = None, **more: object) -> Schedule:
    call = Message(name, "kit.job", b"[[],{}]")
    missed = MissedTicks(more.pop("missed", "once"), **more.pop("rule", {}))  # type: ignore[arg-type]
    return Schedule(name, timing or Timing(every_ms=5 * MINUTE), call, missed, **more)  # type: ignore[arg-type]


@define
class World:
    """A store, its clock, and what was skipped."""

    clock: FakeClock = field(factory=lambda: FakeClock(at("2026-06-01T10:00:30")))
    skipped: list[TickSkipped] = field(factory=list)
    store: MemoryStore = field(init=False)
    backend: MemoryBackend = field(init=False)
    ticked: list[tuple[str, dict[str, str]]] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.store = MemoryStore(self.clock)
        self.backend = MemoryBackend(self.store, StoreOptions("q"))
        self.backend.lease_ms()

    @property
    def schedules(self) -> ScheduleStore:
        return self.backend.schedules()

    def ticker(self, store: ScheduleStore | None = None, seal: Seal | None = None, **more: object) -> Ticker:
        """A program that ticks; its own time is that of the store."""
        codec = Codec.of("q", [JSONSerializer()], seal)
        more = {"clock": self.clock, "monotonic": lambda: self.clock() / 1000, **more}
        return Ticker(store or self.schedules, codec, observe=self.skipped.append, **more)  # type: ignore[arg-type]

    def upsert(self, one: Schedule) -> Schedule:
        """Store a schedule that was made at run time."""
        ticker = self.ticker()
        found = ticker.alter(one.id, lambda old: upserted(old, evolve(one, origin="runtime"), self.clock()))
        assert found is not None
        return found

    def run(self, *, hold: bool = False) -> list[str]:
        """Run what is ready, or only claim it; return the ids."""
        deliveries = self.backend.claim("w", 1_000, 0)
        if not hold:
            self.backend.settle([Settlement(one.receipt, Done()) for one in deliveries])
        for one in deliveries:
            assert isinstance(one.message, Message)
            self.ticked.append((one.message.id, dict(one.message.headers)))
        return [one.message.id for one in deliveries]

    def get(self, name: str = "s") -> Schedule:
        (found,) = self.schedules.get([name])
        assert found is not None
        return found

    def pass_time(
        self, ms: int, tickers: Sequence[Ticker], step: int = MINUTE, act: Callable[[], object] = lambda: None
    ) -> None:
        """Let time pass in steps, after each of which every program ticks."""
        for _ in range(0, ms, step):
            self.clock.advance(step)
            for one in tickers:
                one.tick()
            act()


@pytest.fixture
def world() -> World:
    return World()
