"""What a supervisor has found for the observers, on its way to a worker that calls them."""

from __future__ import annotations

import threading

import pytest

from pyxqueue.inflight import InFlightTable
from pyxqueue.model.events import TickSkipped
from pyxqueue.supervisor.children import Child
from pyxqueue.supervisor.forwarding import EventForwarder
from pyxqueue.worker.events import Event, TaskExpired
from pyxqueue.worker.receiving import EventReceiver
from tests.support.until import until

from .harness import Bench

SKIPPED = TickSkipped("nightly", "shop.nightly", 1_760_000_000_000, 2, "missed", "shop")


def started() -> Child:
    child = Child(1)
    child.table.start.say("", done=True)
    return child


def told(child: Child, queues: int = 2) -> list[tuple[int, Event]]:
    """What the observers of that process are told of, with the number of the queue."""
    found: list[tuple[int, Event]] = []
    observers = [lambda event, number=number: found.append((number, event)) for number in range(queues)]
    EventReceiver(child.table.mail, observers).look()
    return found


def test_each_event_reaches_the_observer_of_its_queue_once() -> None:
    """Whatever it has in it, and in one process only."""
    forwarder, first, second = EventForwarder(), started(), started()
    strange = TaskExpired("t1", "größe\n\udc80", "ß")
    forwarder.add(1, strange)
    forwarder.add(0, SKIPPED)

    forwarder.hand_out([first, second])

    assert told(first) == [(1, strange), (0, SKIPPED)]
    assert (told(first), told(second)) == ([], [])


def test_an_event_that_is_too_large_holds_up_no_other() -> None:
    """A name that another program has stored."""
    forwarder, child = EventForwarder(), started()
    forwarder.add(0, TaskExpired("t1", "n" * 40_000, "cg"))
    forwarder.add(0, SKIPPED)

    forwarder.hand_out([child])

    assert told(child) == [(0, SKIPPED)]


def test_a_process_that_has_not_started_gets_none() -> None:
    """It may never do so. The events wait."""
    forwarder, child = EventForwarder(), Child(1)
    forwarder.add(0, SKIPPED)
    forwarder.hand_out([])
    forwarder.hand_out([child])
    assert told(child) == []

    child.table.start.say("", done=True)
    forwarder.hand_out([child])

    assert told(child) == [(0, SKIPPED)]


def test_a_mailbox_that_is_full() -> None:
    """The rest is for another process, or for later."""
    forwarder, first, second = EventForwarder(), started(), started()
    events: list[Event] = [TaskExpired(f"t{number}", "x" * 500) for number in range(200)]
    for event in events:
        forwarder.add(0, event)

    found: list[tuple[int, Event]] = []
    for _ in range(10):
        forwarder.hand_out([first, second])
        found += told(first) + told(second)

    assert [event for _, event in found] == events


def test_a_process_that_died_before_it_looked() -> None:
    """Another one is given what it had."""
    forwarder, first, second = EventForwarder(), started(), started()
    events: list[Event] = [TaskExpired("t1", "a"), TaskExpired("t2", "b")]
    for event in events:
        forwarder.add(0, event)
    forwarder.hand_out([first])
    forwarder.add(0, SKIPPED)

    forwarder.take_back(first)
    forwarder.hand_out([second])

    assert [event for _, event in told(second)] == [*events, SKIPPED]


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_worker_looks_while_it_waits_for_work(bench: Bench) -> None:
    """Its observer is called in a thread of its own; without an observer there is none."""
    bench.table = InFlightTable()
    worker = bench.worker()
    thread = threading.Thread(target=worker.run, daemon=True)
    thread.start()
    forwarder, child = EventForwarder(), Child(1, table=bench.table)
    child.table.start.say("", done=True)
    forwarder.add(0, SKIPPED)

    forwarder.hand_out([child])

    until(lambda: bench.events == [SKIPPED], "the observer is told")
    worker.stop()
    bench.broker.interrupt()
    thread.join()


def test_a_worker_without_an_observer_does_not_look(bench: Bench) -> None:
    """It costs nothing."""
    assert bench.worker()._receivers
    assert not bench.worker(observed=False)._receivers
