"""One store settles in one step; two stores record first, and a stale holder's record does not win."""

from __future__ import annotations

from attrs import evolve

from pyxqueue.message import Done, Record, Settlement, TaskStatus
from pyxqueue.protocols import same_store
from pyxqueue.worker.settler import settler

from .harness import Bench


def test_identity_is_the_rule() -> None:
    """Two handles on one store are two objects, and so two steps."""
    bench = Bench()

    assert same_store(bench.broker, bench.broker)
    assert not same_store(bench.broker, bench.backend())


def test_with_two_stores_the_record_goes_first() -> None:
    """When the broker then cannot be reached, the record is there, and a repeat settles."""
    bench = Bench()
    results = bench.backend()
    bench.put("any")
    (delivery,) = bench.broker.claim("me", 1, 0)
    record = Record("t1", TaskStatus.SUCCESS, b"1", rank=delivery.rank)

    class Late:
        def settle(self, settlements: list[Settlement]) -> list[bool]:
            (stored,) = results.get(["t1"])
            assert stored is not None
            assert stored.value == b"1"
            assert [one.record for one in settlements] == [None]
            return list(bench.broker.settle(settlements))

    settle = settler(Late(), results)  # type: ignore[arg-type]

    assert settle([Settlement(delivery.receipt, Done(), record)]) == [True]
    assert settle([Settlement(delivery.receipt, Done(), record)]) == [False]


def test_with_two_stores_a_zombie_does_not_win() -> None:
    """Its record comes later, but belongs to an earlier claim."""
    bench = Bench()
    results = bench.backend()
    settle = settler(bench.broker, results)
    bench.put("any")
    (first,) = bench.broker.claim("zombie", 1, 0)
    bench.clock.advance(31_000)
    (second,) = bench.broker.claim("living", 1, 0)
    record = Record("t1", TaskStatus.SUCCESS, b"new", rank=second.rank)

    assert settle([Settlement(second.receipt, Done(), record)]) == [True]
    stale = evolve(record, value=b"old", rank=first.rank)
    assert settle([Settlement(first.receipt, Done(), stale)]) == [False]

    (stored,) = results.get(["t1"])
    assert stored is not None
    assert stored.value == b"new"


def test_a_worker_with_two_stores() -> None:
    """It gives its records the rank of their delivery."""
    bench = Bench()
    results = bench.backend()
    bench.task(len)
    bench.put("len", [1, 2, 3])

    bench.worker(results=results).drain()

    (stored,) = results.get(["t1"])
    assert stored is not None
    assert (stored.value, stored.rank > 0) == (b"3", True)
    assert bench.settled() == [("t1", "Done", True)]
