"""The table of what a process holds: its states, its lock, and the race that the lock is for."""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from pyxqueue import inflight
from pyxqueue.errors import ConfigurationError
from pyxqueue.inflight import SLOTS, InFlightTable
from pyxqueue.supervisor.processes import end_process

ROUNDS = 400


def test_a_delivery_on_its_way() -> None:
    """Claimed it waits, started it runs, finished it is still in flight, settled it is gone."""
    table = InFlightTable()
    slot = table.add("id", "receipt", 3, 0.0)
    (waiting,) = table.entries()
    assert table.start(slot, 12.5)
    (running,) = table.entries()
    started, _ = table._times(slot)
    table.finish(slot)
    (done,) = table.entries()
    table.free(slot)

    assert (waiting.task_id, waiting.receipt, waiting.attempt) == ("id", "receipt", 3)
    assert (waiting.waiting, waiting.running) == (True, False)
    assert (running.waiting, running.running, started) == (False, True, 12.5)
    assert (done.waiting, done.running) == (False, False)
    assert table.entries() == []
    assert not table.busy()


def test_what_was_taken_back_cannot_start() -> None:
    """Nor is it in flight any more."""
    table = InFlightTable()
    slot = table.add("id", "receipt", 1, 0.0)

    assert table.take_back([slot])
    assert not table.start(slot, 0.0)
    assert table.entries() == []


def test_what_was_started_cannot_be_taken_back() -> None:
    """Neither while it runs nor when it is done."""
    table = InFlightTable()
    slot = table.add("id", "receipt", 1, 0.0)
    table.start(slot, 0.0)
    assert not table.take_back([slot])
    table.finish(slot)
    assert not table.take_back([slot])


def test_limits() -> None:
    """A deadline and what follows it can be read by the other side; the next use of the slot starts without."""
    table = InFlightTable()
    slot = table.add("id", "receipt", 1, 0.0)
    table.start(slot, 1.0)
    table.limit(slot, 99.0, 1500.0)
    (limited,) = table.entries()
    times = table._times(slot)
    table.free(slot)
    table.add("id", "receipt", 1, 0.0)
    (fresh,) = table.entries()

    assert (*times, limited.retry_delay) == (1.0, 99.0, 1500.0)
    assert (*table._times(fresh.slot), fresh.retry_delay) == (0.0, 0.0, -1.0)


def test_a_cancellation_is_for_one_delivery() -> None:
    """One that arrives when its slot has the next delivery does not touch that."""
    table = InFlightTable()
    slot = table.add("old", "receipt", 1, 0.0)
    (old,) = table.entries()
    table.ask_cancel(old)
    assert table.cancels() == [(slot, 1)]
    table.free(slot)
    assert table.add("new", "receipt", 1, 0.0) == slot

    assert table.cancels() == []
    table.ask_cancel(old)
    assert table.cancels() == []


def test_room() -> None:
    """There is room for as many as there are slots, and for another one when one is freed."""
    table = InFlightTable()
    slots = [table.add(str(number), "r", 1, 0.0) for number in range(SLOTS)]
    assert table.room() == 0
    table.free(slots[7])
    assert table.room() == 1
    assert len(table.entries()) == SLOTS - 1


def test_a_receipt_that_does_not_fit() -> None:
    """It is refused, and takes no slot."""
    table = InFlightTable()
    with pytest.raises(ConfigurationError, match="too long"):
        table.add("id", "r" * 1000, 1, 0.0)
    assert table.room() == SLOTS


@pytest.mark.parametrize(("attempt", "fence"), [(2**32, 0), (1, -1)])
def test_a_delivery_whose_numbers_do_not_fit(attempt: int, fence: int) -> None:
    """It is refused, and takes no slot."""
    table = InFlightTable()
    with pytest.raises((struct.error, OverflowError)):
        table.add("id", "receipt", attempt, 0.0, fence)
    assert table.room() == SLOTS


def test_a_slot_that_is_freed_while_another_delivery_is_noted() -> None:
    """The thread that settles frees slots while the one that claims takes some: no slot has two deliveries."""
    table = InFlightTable()
    done = table.add("done", "receipt", 1, 0.0)

    class Rank(int):
        def to_bytes(self, *args: Any, **options: Any) -> bytes:
            table.free(done)
            return super().to_bytes(*args, **options)

    slots = [table.add("first", "receipt", 1, 0.0, Rank(1)), table.add("second", "receipt", 1, 0.0)]

    assert len(set(slots)) == 2
    assert [entry.task_id for entry in table.entries()] == ["second", "first"]
    assert table.room() == SLOTS - 2


def test_two_maps_of_one_table() -> None:
    """What one side writes, the other reads."""
    table = InFlightTable.shared()
    other = InFlightTable(table.fd)
    other.add("id", "receipt", 1, 0.0)

    assert [entry.task_id for entry in table.entries()] == ["id"]


def race(table: InFlightTable, theirs: InFlightTable) -> list[tuple[bool, bool]]:
    """Start in another process what this one takes back at the same moment; answers who won each round."""
    go, won = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        end_process(lambda: _start_all(theirs, go[0], won[1]))
    results = []
    for number in range(ROUNDS):
        slot = number % SLOTS
        os.write(go[1], b"x")
        _spin(number)
        taken = bool(table.take_back([slot]))
        results.append((os.read(won[0], 1) == b"1", taken))
    os.waitpid(pid, 0)
    for fd in (*go, *won):
        os.close(fd)
    return results


def _start_all(table: InFlightTable, go: int, won: int) -> int:
    for number in range(ROUNDS):
        os.read(go, 1)
        os.write(won, b"1" if table.start(number % SLOTS, 1.0) else b"0")
    return 0


def _spin(number: int) -> None:
    """Vary the moment, so that the rounds do not all go one way."""
    end = time.perf_counter() + (number % 40) * 2e-6
    while time.perf_counter() < end:
        pass


def in_a_file() -> tuple[InFlightTable, InFlightTable]:
    table = InFlightTable.shared()
    return table, InFlightTable(table.fd)


def in_forked_memory() -> tuple[InFlightTable, InFlightTable]:
    table = InFlightTable.forked()
    return table, table


@pytest.mark.parametrize("make", [in_a_file, in_forked_memory])
def test_start_against_take_back_in_two_processes(make: Callable[[], tuple[InFlightTable, InFlightTable]]) -> None:
    """Exactly one of the two gets each delivery."""
    table, theirs = make()
    for number in range(ROUNDS):
        table.add(str(number), "receipt", 1, 0.0)
    slots = sorted(entry.slot for entry in table.entries())
    assert slots == list(range(ROUNDS))

    results = race(table, theirs)

    assert [pair for pair in results if pair[0] == pair[1]] == []
    assert len({pair[0] for pair in results}) == 2  # else this was no race


def start_slowly(table: InFlightTable, slot: int, told: int) -> int:
    """Start it with a pause between looking and writing; exits with 0 if it was started."""

    def slow(*args: Any) -> None:
        os.write(told, b"x")
        time.sleep(0.2)
        struct.pack_into(*args)

    inflight.struct = SimpleNamespace(pack_into=slow)  # type: ignore[attr-defined,assignment]
    return 0 if table.start(slot, 1.0) else 1


@pytest.mark.parametrize("make", [in_a_file, in_forked_memory])
def test_nothing_is_taken_back_in_the_middle_of_its_start(
    make: Callable[[], tuple[InFlightTable, InFlightTable]],
) -> None:
    """Looking and writing are one step to the other process."""
    table, theirs = make()
    slot = table.add("id", "receipt", 1, 0.0)
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        end_process(lambda: start_slowly(theirs, slot, writer))
    os.read(reader, 1)

    assert not table.take_back([slot])

    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert not table.take_back([slot])
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("make", [InFlightTable.forked, InFlightTable.shared])
def test_nobody_waits_for_a_lock_that_is_never_released(make: Callable[[], InFlightTable]) -> None:
    """A process that was stopped while it started something keeps the lock: then nothing is taken back from it."""
    table = make()
    slot = table.add("id", "receipt", 1, 0.0)

    with table._lock:
        assert not table.take_back([slot])

    assert table.take_back([slot])
