"""The duty for schedules: it ticks on time, declares each minute, and costs nothing without schedules."""

from __future__ import annotations

from math import inf

import pytest
from attrs import define, evolve, field

from pyxqueue.backends.memory import MemoryBackend, MemoryStore
from pyxqueue.clock import FakeClock
from pyxqueue.codec import Codec
from pyxqueue.core import QueueCore
from pyxqueue.errors import BrokerUnavailableError, ConfigurationError
from pyxqueue.model.message import Message
from pyxqueue.model.schedules import Schedule, upserted
from pyxqueue.model.ticks import Timing
from pyxqueue.protocols import StoreOptions
from pyxqueue.registry import Registry
from pyxqueue.serializers import JSONSerializer
from pyxqueue.supervisor.duties import DutyLoop
from pyxqueue.supervisor.duties.schedules import SchedulesDuty
from pyxqueue.supervisor.launch import QueueSource
from pyxqueue.testing import Fault, FaultySchedules
from pyxqueue.ticking import Ticker

EVERY = Schedule("s", Timing(every_ms=10_000), Message("s", "kit.job", b"[[],{}]"), origin="code")


@define
class Place:
    """A supervisor's duty on a store in memory; one clock for both."""

    clock: FakeClock = field(factory=FakeClock)
    backend: MemoryBackend = field(init=False)
    store: FaultySchedules = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.backend = MemoryBackend(MemoryStore(self.clock), StoreOptions())
        self.backend.lease_ms()
        self.store = FaultySchedules(self.backend.schedules())

    def monotonic(self) -> float:
        return self.clock() / 1000

    def ticker(self) -> Ticker:
        codec = Codec.of("tasks", [JSONSerializer()], None)
        return Ticker(self.store, codec, self.clock, monotonic=self.monotonic)

    def duty(self, *declared: Schedule) -> SchedulesDuty:
        return SchedulesDuty(self.ticker(), declared)

    def calls(self) -> list[str]:
        return [call.operation for call in self.store.history]

    def ready(self) -> int:
        return self.backend.depth().ready


@pytest.fixture
def place() -> Place:
    return Place()


def test_without_schedules_it_asks_nothing(place: Place) -> None:
    """However often it is called, the store gets no request."""
    duty = place.duty()
    for _ in range(100):
        place.clock.advance(10_000)
        duty.step((), place.monotonic())

    assert place.calls() == []
    assert duty.soon() == inf


def test_it_looks_when_maintenance_has_seen_a_schedule(place: Place) -> None:
    """Maintenance says when the next schedule is due; it looks at that moment, and not before."""
    duty = place.duty()
    place.ticker().alter("s", lambda old: upserted(old, evolve(EVERY, overlap="allow"), place.clock()))
    before = len(place.calls())
    place.store.next_look = place.monotonic() + 5
    for _ in range(4):
        place.clock.advance(1_000)
        duty.step((), place.monotonic())
    assert len(place.calls()) == before
    assert duty.soon() == place.monotonic() + 1

    place.clock.advance(6_000)
    duty.step((), place.monotonic())
    assert place.ready() == 1
    assert duty.soon() == place.monotonic() + 10


def test_it_declares_at_the_start_and_each_minute(place: Place) -> None:
    """What the code declares is in the store after the first step, and is renewed."""
    duty = place.duty(EVERY)
    duty.step((), place.monotonic())
    (one,) = place.store.get(["s"])
    assert one is not None
    begun = one.seen_ms
    for _ in range(12):
        place.clock.advance(10_000)
        duty.step((), place.monotonic())

    (one,) = place.store.get(["s"])
    assert one is not None
    assert one.seen_ms == begun + 120_000
    assert one.runs + one.skipped == 12


def test_it_is_on_time_in_the_loop(place: Place) -> None:
    """The loop of the duties wakes for the next tick, also if nothing else is due."""
    duty = place.duty(EVERY)
    loop = DutyLoop([duty], place.monotonic)
    pauses = []
    for _ in range(5):
        pauses.append(loop.step(()))
        place.clock.advance(round(pauses[-1] * 1000))
    first = (-FakeClock()()) % 10_000 / 1000 or 10.0
    assert pauses[0] == pytest.approx(first)
    assert pauses[1:] == pytest.approx([10.0] * 4)


def test_it_goes_on_when_the_store_is_back(place: Place) -> None:
    """While the store cannot be reached, the duty waits as every other."""
    place.store = FaultySchedules(place.backend.schedules(), [Fault.LOSE_CALL] * 3)
    duty = place.duty(EVERY)
    loop = DutyLoop([duty], place.monotonic)
    for _ in range(3):
        assert loop.step(()) == pytest.approx(0.2)
        place.clock.advance(201)
    loop.step(())
    assert list(place.store.ids()) == ["s"]


class Plain:
    """A store that does not keep schedules."""


def test_a_store_that_does_not_keep_schedules() -> None:
    """It is refused if the code declares some; else there is no duty."""
    codec = Codec.of("tasks", [JSONSerializer()], None)
    core = QueueCore(StoreOptions(), codec, Registry())
    declared = QueueCore(StoreOptions(), codec, Registry(), schedules=lambda: [EVERY])
    assert QueueSource(Plain, core).duties(Plain(), lambda _: None) == []  # type: ignore[arg-type] # no backend
    with pytest.raises(ConfigurationError, match="this store does not keep schedules"):
        QueueSource(Plain, declared).duties(Plain(), lambda _: None)  # type: ignore[arg-type] # no backend


def test_a_lost_reply_of_a_declaration(place: Place) -> None:
    """A declaration whose reply was lost is known to be made, by its mark."""
    place.store = FaultySchedules(place.backend.schedules(), [Fault.LOSE_REPLY], operations={"change"})
    place.duty(EVERY).step((), place.monotonic())
    lost = FaultySchedules(place.backend.schedules(), [Fault.LOSE_CALL], operations={"change"})
    with pytest.raises(BrokerUnavailableError):
        SchedulesDuty(evolve(place.ticker(), store=lost), [evolve(EVERY, id="t")]).step((), place.monotonic())
