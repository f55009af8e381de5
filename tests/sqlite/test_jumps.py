"""The clock of the machine jumps: the work of the living is left alone, and that of the dead is not forgotten."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from types import SimpleNamespace

import pytest

from pyxqueue.backends.sqlite import SQLiteBackend
from pyxqueue.backends.sqlite.jumps import ClockJumps
from pyxqueue.model.message import Delivery, Extension, LeaseStatus, Message
from pyxqueue.protocols import StoreOptions

LEASE = 1_000
HOUR = 3_600_000


class Machine:
    """Its clock, which may be set, and the time that has passed, both in ms."""

    def __init__(self) -> None:
        self.clock = 1_700_000_000_000
        self.passed = 5_000_000

    def wait(self, ms: int) -> None:
        self.clock += ms
        self.passed += ms


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine()
    clock = SimpleNamespace(time_ns=lambda: made.clock * 1_000_000, monotonic=time.monotonic)
    monkeypatch.setattr("pyxqueue.clock.time", clock)
    monkeypatch.setattr("pyxqueue.backends.sqlite.broker.ClockJumps", lambda: ClockJumps(lambda: made.passed / 1000))
    return made


@pytest.fixture
def handles(machine: Machine, file: Path) -> Iterator[list[SQLiteBackend]]:
    """Those of a worker that has a task, of its supervisor, and of an idle worker."""
    with ExitStack() as stack:
        yield [stack.enter_context(closing(SQLiteBackend(file, StoreOptions(lease_ms=LEASE)))) for _ in range(3)]


def lend(holder: SQLiteBackend, idle: SQLiteBackend) -> Delivery:
    """Have one claim a task; another one has looked, and there is nothing left."""
    holder.enqueue([Message("a", "kit.job")])
    (delivery,) = holder.claim("holder", 1, 0)
    assert idle.claim("idle", 1, 0) == []
    return delivery


@pytest.mark.parametrize("jump", [HOUR, -HOUR], ids=["ahead", "behind"])
def test_the_work_of_the_living(handles: list[SQLiteBackend], machine: Machine, jump: int) -> None:
    """Nobody takes it over before its supervisor has had the time to extend the lease, nor later."""
    holder, supervisor, idle = handles
    delivery = lend(holder, idle)

    for offset in (jump, -jump):
        machine.clock += offset
        assert idle.claim("idle", 1, 0) == []
        machine.wait(LEASE // 3)
        assert idle.claim("idle", 1, 0) == []
        for _ in range(4):
            assert supervisor.extend([Extension(delivery.receipt)]) == [LeaseStatus.HELD]
            machine.wait(LEASE // 3)
            assert idle.claim("idle", 1, 0) == []


@pytest.mark.parametrize("jump", [HOUR, -HOUR], ids=["ahead", "behind"])
def test_the_work_of_the_dead(handles: list[SQLiteBackend], machine: Machine, jump: int) -> None:
    """It is taken over a lease later."""
    holder, _, idle = handles
    lend(holder, idle)

    machine.clock += jump
    assert idle.claim("idle", 1, 0) == []
    machine.wait(LEASE)

    assert [delivery.message.id for delivery in idle.claim("idle", 1, 0)] == ["a"]


def test_a_waiting_claim_rests_after_a_jump(handles: list[SQLiteBackend], machine: Machine) -> None:
    """It does not look at the same lease again and again while it takes nothing over."""
    holder, _, idle = handles
    lend(holder, idle)
    machine.clock += HOUR
    assert idle.claim("idle", 1, 0) == []
    before = idle._store.mark()

    assert idle.claim("idle", 1, 20) == []

    assert idle._store.mark() == before


def test_new_work_after_a_jump(handles: list[SQLiteBackend], machine: Machine) -> None:
    """It is handed out at once."""
    holder, _, idle = handles
    lend(holder, idle)
    machine.clock += HOUR
    holder.enqueue([Message("b", "kit.job")])

    assert [delivery.message.id for delivery in idle.claim("idle", 1, 0)] == ["b"]
