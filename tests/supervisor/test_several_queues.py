"""A supervisor that takes care of several queues."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import pytest

from pyxqueue.errors import BrokerError, BrokerUnavailableError
from pyxqueue.inflight import InFlightTable, Slots
from pyxqueue.model.message import Extension, LeaseStatus, Settlement
from pyxqueue.supervisor.care import QueueAccess, QueueCare, share_looks
from pyxqueue.supervisor.children import Child
from pyxqueue.supervisor.duties import QuietLook
from pyxqueue.supervisor.duties.maintenance import FULL_EVERY, Maintenance


class Store:
    """A broker that notes what it is asked, and may be away."""

    def __init__(self, until_due_ms: int = -1) -> None:
        self.until_due_ms = until_due_ms
        self.away = False
        self.tried = self.maintained = 0
        self.extended: list[str] = []
        self.settled: list[str] = []
        self.released: list[tuple[str, list[str]]] = []

    def _reach(self) -> None:
        if self.away:
            raise BrokerUnavailableError("down")

    def lease_ms(self) -> int:
        self._reach()
        return 3_000

    def extend(self, extensions: Sequence[Extension]) -> list[LeaseStatus]:
        self._reach()
        self.extended += [one.receipt for one in extensions]
        return [LeaseStatus.HELD] * len(extensions)

    def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        self._reach()
        self.settled += [one.receipt for one in settlements]
        return [True] * len(settlements)

    def release(self, consumer: str, started: list[str]) -> int:
        self._reach()
        self.released.append((consumer, started))
        return 0

    def maintain(self, _limit: int) -> int:
        self.tried += 1
        self._reach()
        self.maintained += 1
        return self.until_due_ms

    def close(self) -> None:
        pass


def cares_of(*stores: Any) -> list[QueueCare]:
    cares = [
        QueueCare(QueueAccess(lambda store=store: store, name=f"q{number}"), lambda *_: None, number, several=True)  # type: ignore[misc]
        for number, store in enumerate(stores)
    ]
    for care in cares:
        care.open()
    return cares


def held(table: InFlightTable) -> None:
    """One running and one waiting delivery of each of two queues, long ago."""
    slots = Slots(table)
    for queue in (0, 1):
        slots.start(slots.add(f"ran{queue}", f"ran{queue}", 1, 1.0, queue=queue), 1.0)
        slots.add(f"waits{queue}", f"waits{queue}", 1, 1.0, queue=queue)


def step(cares: Sequence[QueueCare], *tables: InFlightTable) -> None:
    for care in cares:
        care.step(list(tables), stopping=False)


def test_each_queue_gets_its_own() -> None:
    """Leases are renewed, and what waits behind a long task is given back, in the store of the queue."""
    first, second = Store(), Store()
    table = InFlightTable()
    held(table)

    step(cares_of(first, second), table)

    assert first.extended == ["ran0", "waits0"]
    assert second.extended == ["ran1", "waits1"]
    assert (first.settled, second.settled) == (["waits0"], ["waits1"])


def test_a_process_that_died() -> None:
    """Its consumer is released in each store, charged with what it ran of that queue."""
    first, second = Store(), Store()
    cares, child = cares_of(first, second), Child(1, consumer="w")
    held(child.table)
    for care in cares:
        care.lost(child, "died", charged=True)

    step(cares)

    assert first.released == [("w", ["ran0"])]
    assert second.released == [("w", ["ran1"])]


def test_a_task_beyond_its_hard_limit() -> None:
    """It is settled in the store of its queue only."""
    first, second = Store(), Store()
    cares, child = cares_of(first, second), Child(1, consumer="w")
    held(child.table)
    child.overdue = child.running()[1]
    for care in cares:
        care.lost(child, "killed", charged=False)

    step(cares)

    assert (first.settled, second.settled) == ([], ["ran1"])


def test_a_store_that_is_down(caplog: pytest.LogCaptureFixture) -> None:
    """The other queue's leases are renewed meanwhile; the log names the queue."""
    first, second = Store(), Store()
    first.away = True
    table = InFlightTable()
    held(table)

    with caplog.at_level(logging.WARNING):
        step(cares_of(first, second), table)

    assert "ran1" in second.extended
    assert caplog.messages == ["waiting for the store of the queue q0: down"]


def test_a_store_that_goes_down_later(caplog: pytest.LogCaptureFixture) -> None:
    """As above, and when it is back its leases are renewed again."""
    first, second = Store(), Store()
    cares, table = cares_of(first, second), InFlightTable()
    held(table)
    step(cares, table)
    first.away = True
    for care in cares:
        assert care.duties is not None
        care.duties._due.clear()

    with caplog.at_level(logging.WARNING):
        step(cares, table)

    assert second.extended.count("ran1") == 2
    assert caplog.messages == ["leases of the queue q0 cannot be renewed now: down"]


def test_an_idle_queue_is_looked_at_and_not_maintained() -> None:
    """Until a look finds something, or a long time has passed."""
    store, looks = Store(), [5.0, 5.0, 0.0, 5.0]
    duty = Maintenance(store, lambda _now, _longest: looks.pop(0))  # type: ignore[arg-type] # it has what is called

    duty.step([], 100.0)
    assert store.maintained == 1  # the first time, it is not known yet
    assert duty.step([], 105.0) == duty.step([], 110.0) == 5.0
    assert store.maintained == 1
    duty.step([], 115.0)
    assert store.maintained == 2
    duty.step([], 115.0 + FULL_EVERY)
    assert store.maintained == 3
    assert looks == [5.0]


def test_a_queue_whose_next_task_is_due_late_is_maintained_all_the_same() -> None:
    """As often as one without a delayed task: a look does not see what has to be noted again."""
    store = Store(until_due_ms=86_400_000)
    duty = Maintenance(store, lambda _now, _longest: 5.0)  # type: ignore[arg-type] # it has what is called
    duty.step([], 100.0)

    duty.step([], 100.0 + FULL_EVERY)

    assert store.maintained == 2


def test_a_look_that_is_refused() -> None:
    """It may be about another queue, so this one is maintained."""
    store = Store()

    def look(_now: float, _longest: float) -> float:
        raise BrokerError("no")

    duty = Maintenance(store, look)  # type: ignore[arg-type] # it has what is called
    duty.step([], 100.0)
    duty.step([], 105.0)

    assert store.maintained == 2


def test_what_is_due_is_not_left_to_a_look() -> None:
    """A look may be older than the wake-up, or than what the last call has found."""
    store = Store(until_due_ms=300)
    duty = Maintenance(store, lambda _now, _longest: 5.0)  # type: ignore[arg-type] # it has what is called

    duty.step([], 100.0)
    duty.step([], 100.3)

    assert store.maintained == 2


class Woken(Store):
    """A store that has sent a wake-up."""

    def wakeups(self) -> Any:
        return self

    def listen(self) -> int:
        return 5_000

    def fileno(self) -> int:
        return 7

    def read(self) -> int:
        return 20


def test_a_wake_up_counts_more_than_a_look() -> None:
    """The look may be older."""
    store = Woken()
    duty = Maintenance(store, lambda _now, _longest: 5.0)  # type: ignore[arg-type] # it has what is called
    duty.step([], 100.0)
    assert duty.read() == 0.02

    duty.step([], 101.0)

    assert store.maintained == 2


def test_queues_share_a_look() -> None:
    """One request for all, however many ask, until the longest time has passed."""
    looks = [[-1, 0, 2_000], [0, -1, -1]]
    look = QuietLook(lambda: looks.pop(0))

    assert [look.left(queue, 10.0, 5.0) for queue in range(3)] == [5.0, 0.0, 2.0]
    assert [look.left(queue, 11.0, 5.0) for queue in range(3)] == [4.0, 0.0, 1.0]
    assert [look.left(queue, 15.0, 5.0) for queue in range(3)] == [0.0, 5.0, 5.0]


class Shared(Store):
    """A store whose queues can be looked at together."""

    def claim_key(self) -> str:
        return "here"

    def shared_claims(self, brokers: Sequence[Any]) -> Any:
        class Look:
            def quiet_ms(self) -> list[int]:
                return [0] * len(brokers)

        return Look()


def test_who_shares_looks() -> None:
    """Queues of one store; a queue that is alone on its store is looked at as before."""
    cares = cares_of(Shared(), Store(), Shared())

    share_looks(cares)

    assert [care.quiet is not None for care in cares] == [True, False, True]


def test_the_queues_of_a_store_that_is_down_are_tried_together() -> None:
    """Each would wait until its request times out; when the store is back for one, it is for all."""
    first, second, other = Shared(), Shared(), Store()
    cares = cares_of(first, second, other)
    share_looks(cares)
    step(cares)
    first.away = second.away = True
    for care in cares:
        assert care.duties is not None
        care.put_off(0.0)

    step(cares)
    assert (first.tried, second.tried) == (2, 1)
    assert cares[1].duties is not None
    assert not cares[1].duties.failing
    cares[1].put_off(0.0)
    cares[1].step([], stopping=True)
    cares[1].end()
    assert second.tried == 1  # while stopping, too

    first.away = second.away = False
    cares[0].put_off(0.0)
    step(cares)
    assert (first.tried, second.tried) == (3, 2)


def test_one_queue_alone_is_not_looked_at() -> None:
    """It costs what it cost before."""
    cares = cares_of(Shared(), Store())

    share_looks(cares)

    assert [care.quiet for care in cares] == [None, None]
