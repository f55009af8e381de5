"""A process that asks the store in vain is replaced, if its supervisor reaches the store; any other is left alone."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from pyxqueue.inflight import InFlightTable, Slots
from pyxqueue.supervisor import silence
from pyxqueue.supervisor.children import Child
from pyxqueue.supervisor.silence import SILENCE, SilenceWatch
from tests.support.trees import alive

from .test_supervisor import FakeBroker, Starter, live, supervise


@pytest.fixture
def child() -> Iterator[Child]:
    """A process that began long ago."""
    child = Child(1)
    yield child
    child.table.close()


def pass_by(watch: SilenceWatch, child: Child, seconds: float, *, away: bool = False, stopped: bool = False) -> bool:
    """Look every second for so many seconds, while the process gives signs of life unless it is stopped. Return
    whether it is given up."""
    begun = time.monotonic()
    found = False
    for second in range(int(seconds) + 1):
        now = begun + second
        if not stopped:
            child.table.contact.alive(now)
        found = found or bool(list(watch.silent([child], now, away=away)))
    return found


def test_a_process_that_asks_in_vain(child: Child) -> None:
    """It is given up after a minute, not before."""
    child.table.contact.asked[0] = time.monotonic()

    assert not pass_by(SilenceWatch(), child, SILENCE - 1)
    assert pass_by(SilenceWatch(), child, SILENCE + 1)


def test_one_thread_of_several(child: Child) -> None:
    """Replies to another thread do not help the one that gets none."""
    now = time.monotonic()
    child.table.contact.asked[1] = now
    child.table.contact.asked[0] = now
    child.table.contact.asked[0] = 0.0

    assert pass_by(SilenceWatch(), child, SILENCE + 1)


def test_a_process_that_is_answered(child: Child) -> None:
    """It is left alone, whatever came before."""
    child.table.contact.asked[0] = time.monotonic() - 1_000
    child.table.contact.asked[0] = 0.0

    assert not pass_by(SilenceWatch(), child, 3 * SILENCE)


def test_a_store_that_is_away(child: Child) -> None:
    """While the supervisor does not reach it either, nothing is wrong with the process."""
    watch = SilenceWatch()
    child.table.contact.asked[0] = time.monotonic()

    assert not pass_by(watch, child, 3 * SILENCE, away=True)


def test_a_process_that_is_stopped_or_busy(child: Child) -> None:
    """One that gives no sign of life is left alone, and has its time when it goes on."""
    watch = SilenceWatch()
    child.table.contact.asked[0] = time.monotonic()

    assert not pass_by(watch, child, 3 * SILENCE, stopped=True)
    child.heard = time.monotonic()
    assert not pass_by(watch, child, SILENCE - 1)


def test_a_supervisor_that_was_stopped(child: Child) -> None:
    """It gives a process its time again: it does not know how the process fared meanwhile."""
    watch = SilenceWatch()
    child.table.contact.asked[0] = time.monotonic() - 1_000
    watch._looked = watch._since = time.monotonic() - 1_000

    assert not pass_by(watch, child, SILENCE - 1)
    assert pass_by(watch, child, SILENCE + 1)


def test_it_is_replaced_and_its_work_released(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The process is killed, and what it was running is not charged."""

    def hang(table: InFlightTable) -> int:
        slots = Slots(table)
        slots.start(slots.add("ran", "ran", 1, 0.0), 1.0)
        table.contact.asked[0] = time.monotonic()
        while True:
            table.contact.alive(time.monotonic())
            time.sleep(0.01)

    monkeypatch.setattr(silence, "SILENCE", 0.3)
    broker, starter = FakeBroker(), Starter(hang, live)

    supervise(starter, broker, lambda: len(starter.born) == 2)

    assert broker.released[0] == ("w1-0", [])
    assert "the store has not answered w1-0" in caplog.text
    assert "while it was running ran" in caplog.text
    assert not any(map(alive, starter.pids))
