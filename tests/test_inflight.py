"""The table of what a process holds: its states, its lock, and the race that the lock is for."""

from __future__ import annotations

import os
import signal
import struct
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

from pyxqueue import inflight
from pyxqueue.errors import ConfigurationError
from pyxqueue.inflight import SLOTS, InFlightTable, Slots
from pyxqueue.supervisor.processes import end_process

ROUNDS = 400


def test_a_delivery_on_its_way() -> None:
    """A delivery that is claimed waits, one that is started runs; it is in flight until it is settled."""
    table = InFlightTable()
    slots = Slots(table)
    slot = slots.add("id", "receipt", 3, 0.0)
    (waiting,) = table.entries()
    assert slots.start(slot, 12.5)
    (running,) = table.entries()
    started, _ = table._times(slot)
    slots.finish(slot)
    (done,) = table.entries()
    slots.free(slot)

    assert (waiting.task_id, waiting.receipt, waiting.attempt) == ("id", "receipt", 3)
    assert (waiting.waiting, waiting.running) == (True, False)
    assert (running.waiting, running.running, started) == (False, True, 12.5)
    assert (done.waiting, done.running) == (False, False)
    assert table.entries() == []
    assert not table.busy()


def test_a_delivery_of_the_last_of_many_queues() -> None:
    """A worker may serve more than 256."""
    table = InFlightTable()
    Slots(table).add("id", "receipt", 1, 0.0, queue=1_000)

    (entry,) = table.entries()

    assert (entry.queue, entry.task_id, entry.receipt) == (1_000, "id", "receipt")


def test_what_was_taken_back_cannot_start() -> None:
    """A delivery that was taken back cannot start, and is no longer in flight."""
    table = InFlightTable()
    slots = Slots(table)
    slot = slots.add("id", "receipt", 1, 0.0)

    assert table.take_back([slot])
    assert not slots.start(slot, 0.0)
    assert table.entries() == []


def test_what_was_started_cannot_be_taken_back() -> None:
    """A delivery cannot be taken back while it runs, nor after it has run."""
    table = InFlightTable()
    slots = Slots(table)
    slot = slots.add("id", "receipt", 1, 0.0)
    slots.start(slot, 0.0)
    assert not table.take_back([slot])
    slots.finish(slot)
    assert not table.take_back([slot])


def test_limits() -> None:
    """The other side can read the time limits of a slot; the next delivery in the slot starts without them."""
    table = InFlightTable()
    slots = Slots(table)
    slot = slots.add("id", "receipt", 1, 0.0)
    slots.start(slot, 1.0)
    slots.limit(slot, 99.0, 1500.0)
    (limited,) = table.entries()
    times = table._times(slot)
    slots.free(slot)
    slots.add("id", "receipt", 1, 0.0)
    (fresh,) = table.entries()

    assert (*times, limited.retry_delay_ms) == (1.0, 99.0, 1500.0)
    assert (*table._times(fresh.slot), fresh.retry_delay_ms) == (0.0, 0.0, -1.0)


@pytest.mark.parametrize(
    ("sleeper", "woken"),
    [(os.getppid(), True), (os.getpid(), False), (0, False)],
    ids=["its supervisor", "a supervisor that is dead", "none"],
)
def test_a_supervisor_that_sleeps_is_woken(monkeypatch: pytest.MonkeyPatch, *, sleeper: int, woken: bool) -> None:
    """A worker signals the supervisor if it sleeps, and no process that is not its supervisor."""
    signals: list[tuple[int, int]] = []
    noting = {**vars(os), "kill": lambda pid, number: signals.append((pid, number))}
    monkeypatch.setattr("pyxqueue.inflight.os", SimpleNamespace(**noting))
    table = InFlightTable()
    table.sleep(sleeper)

    Slots(table).wake_supervisor()

    assert signals == ([(sleeper, signal.SIGCHLD)] if woken else [])


def test_a_supervisor_that_must_not_be_signalled_is_not_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that has dropped its privileges goes on all the same."""
    kill = Mock(side_effect=PermissionError)
    monkeypatch.setattr("pyxqueue.inflight.os", SimpleNamespace(**{**vars(os), "kill": kill}))
    table = InFlightTable()
    table.sleep(os.getppid())

    Slots(table).wake_supervisor()

    kill.assert_called_once()


def test_a_cancellation_is_for_one_delivery() -> None:
    """A cancellation that comes late does not touch the next delivery in the same slot."""
    table = InFlightTable()
    slots = Slots(table)
    slot = slots.add("old", "receipt", 1, 0.0)
    (old,) = table.entries()
    table.ask_cancel(old)
    assert slots.cancels() == [(slot, 1)]
    slots.free(slot)
    assert slots.add("new", "receipt", 1, 0.0) == slot

    assert slots.cancels() == []
    table.ask_cancel(old)
    assert slots.cancels() == []


def test_room() -> None:
    """The table has room for as many deliveries as it has slots; a slot that is freed can be used again."""
    table = InFlightTable()
    slots = Slots(table)
    taken = [slots.add(str(number), "r", 1, 0.0) for number in range(SLOTS)]
    assert slots.room() == 0
    slots.free(taken[7])
    assert slots.room() == 1
    assert len(table.entries()) == SLOTS - 1


def test_a_receipt_that_does_not_fit() -> None:
    """A receipt that is too long is refused, and takes no slot."""
    table = InFlightTable()
    slots = Slots(table)
    with pytest.raises(ConfigurationError, match="too long"):
        slots.add("id", "r" * 1000, 1, 0.0)
    assert slots.room() == SLOTS


@pytest.mark.parametrize(("attempt", "fence"), [(2**32, 0), (1, -1)])
def test_a_delivery_whose_numbers_do_not_fit(attempt: int, fence: int) -> None:
    """A delivery whose numbers are too large is refused, and takes no slot."""
    table = InFlightTable()
    slots = Slots(table)
    with pytest.raises((struct.error, OverflowError)):
        slots.add("id", "receipt", attempt, 0.0, fence)
    assert slots.room() == SLOTS


def test_a_slot_that_is_freed_while_another_delivery_is_noted() -> None:
    """The thread that settles frees slots while the one that claims takes some: no slot has two deliveries."""
    table = InFlightTable()
    slots = Slots(table)
    done = slots.add("done", "receipt", 1, 0.0)

    class Rank(int):
        def to_bytes(self, *args: Any, **options: Any) -> bytes:
            slots.free(done)
            return super().to_bytes(*args, **options)

    taken = [slots.add("first", "receipt", 1, 0.0, Rank(1)), slots.add("second", "receipt", 1, 0.0)]

    assert len(set(taken)) == 2
    assert [entry.task_id for entry in table.entries()] == ["second", "first"]
    assert slots.room() == SLOTS - 2


def test_two_maps_of_one_table() -> None:
    """What one side writes, the other reads."""
    table = InFlightTable.shared()
    other = InFlightTable(table.fd)
    Slots(other).add("id", "receipt", 1, 0.0)

    assert [entry.task_id for entry in table.entries()] == ["id"]


def race(table: InFlightTable, theirs: InFlightTable) -> list[tuple[bool, bool]]:
    """Start deliveries in another process while this one takes them back; return who won each round."""
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
    slots = Slots(table)
    for number in range(ROUNDS):
        os.read(go, 1)
        if number % 2:  # on a busy processor one of the two would always go first
            time.sleep(number % 40 * 2e-6)
        os.write(won, b"1" if slots.start(number % SLOTS, 1.0) else b"0")
    return 0


def _spin(number: int) -> None:
    """Wait for a varying moment, so that not all rounds end alike."""
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
    slots = Slots(table)
    for number in range(ROUNDS):
        slots.add(str(number), "receipt", 1, 0.0)
    assert sorted(entry.slot for entry in table.entries()) == list(range(ROUNDS))

    results = race(table, theirs)

    assert [pair for pair in results if pair[0] == pair[1]] == []
    assert len({pair[0] for pair in results}) == 2  # else this was no race


def start_slowly(table: InFlightTable, slot: int, told: int) -> int:
    """Start a delivery with a pause between looking and writing; exit with 0 if it was started."""

    def slow(*args: Any) -> None:
        os.write(told, b"x")
        time.sleep(0.2)
        struct.pack_into(*args)

    inflight.struct = SimpleNamespace(pack_into=slow)  # type: ignore[attr-defined,assignment]
    return 0 if Slots(table).start(slot, 1.0) else 1


@pytest.mark.parametrize("make", [in_a_file, in_forked_memory])
def test_nothing_is_taken_back_in_the_middle_of_its_start(
    make: Callable[[], tuple[InFlightTable, InFlightTable]],
) -> None:
    """To the other process, looking and writing are one step."""
    table, theirs = make()
    slot = Slots(table).add("id", "receipt", 1, 0.0)
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
    slot = Slots(table).add("id", "receipt", 1, 0.0)

    with table.lock:
        assert not table.take_back([slot])

    assert table.take_back([slot])
