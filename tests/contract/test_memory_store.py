"""What the in-memory backend promises beyond the laws: its clock, its registration, its store."""

from __future__ import annotations

import pytest

from pyxqueue.backends.memory import MemoryBackend, MemoryResults, MemoryStore
from pyxqueue.clock import FakeClock, wall_clock
from pyxqueue.errors import ConfigurationError
from pyxqueue.model.message import Done, Extension, Message, Progress, Record, Settlement, TaskStatus
from pyxqueue.protocols import DEFAULT_LEASE_MS, StoreOptions
from pyxqueue.testing.contract.laws import law
from pyxqueue.testing.contract.steps import Call, ids_of

B2, R2 = law("B2"), law("R2")
PATIENCE = 10.0
HOUR = 3_600_000


def opened(store: MemoryStore, group: str = "cg", lease: int | None = None) -> MemoryBackend:
    return MemoryBackend(store, StoreOptions(group=group, lease_ms=lease))


def test_the_wall_clock_counts_milliseconds() -> None:
    """The default clock is the time of day in ms, far beyond any number of seconds."""
    assert wall_clock() > 1_600_000_000_000


def test_a_waiting_claim_sees_a_delay_end() -> None:
    """By the wall clock a claim that waits is woken for what becomes due, without anybody's help."""
    backend = opened(MemoryStore())
    backend.enqueue([Message("a", "f", delay_ms=20)])

    call = Call(lambda: backend.claim("one", 1, HOUR))

    assert ids_of(call.result(PATIENCE, B2, "the delay ended and nobody woke")) == ["a"]


def test_a_waiting_claim_sees_a_lease_end() -> None:
    """By the wall clock a claim that waits is woken for what its holder has lost."""
    backend = opened(MemoryStore(), lease=20)
    backend.enqueue([Message("a", "f")])
    backend.claim("one", 1, 0)

    call = Call(lambda: backend.claim("two", 1, HOUR))

    assert ids_of(call.result(PATIENCE, B2, "the lease ended and nobody woke")) == ["a"]


def test_a_clock_that_is_moved_wakes_a_claim() -> None:
    """With a clock of one's own, moving it and a poke are enough."""
    clock = FakeClock()
    store = MemoryStore(clock)
    clock.subscribe(store.poke)
    backend = opened(store)
    backend.enqueue([Message("a", "f", delay_ms=HOUR)])

    call = Call(lambda: backend.claim("one", 1, HOUR))
    assert call.waits()
    clock.advance(HOUR)

    assert ids_of(call.result(PATIENCE, B2, "the clock moved and nobody woke")) == ["a"]


def test_an_interrupt_is_kept_for_the_next_claim() -> None:
    """An interrupt that comes just before a claim waits is not lost."""
    backend = opened(MemoryStore())

    backend.interrupt()
    call = Call(lambda: backend.claim("one", 1, HOUR))

    assert list(call.result(PATIENCE, B2, "the interrupt was lost")) == []


def test_an_interrupt_ends_one_wait_only() -> None:
    """After an interrupted claim the next one waits again."""
    backend = opened(MemoryStore())
    backend.interrupt()
    backend.claim("one", 1, HOUR)

    call = Call(lambda: backend.claim("one", 1, HOUR))

    assert call.waits()
    backend.close()
    call.result(PATIENCE, B2, "close leaves its own claim waiting")


def test_the_lease_is_stored_with_the_group() -> None:
    """A handle without a lease adopts what is stored, else the default; one with a lease replaces it."""
    clock = FakeClock()
    store = MemoryStore(clock)

    leases = []
    for given in (None, 5_000, None, 7_000):
        opened(store, lease=given).maintain(1)
        leases.append(store.group("tasks", "cg").lease)

    assert leases == [DEFAULT_LEASE_MS, 5_000, 5_000, 7_000]


def test_looking_registers_no_group() -> None:
    """Reading and administration leave no group behind that messages would be copied into."""
    store = MemoryStore()
    looker, worker = opened(store, "looker"), opened(store, "worker")

    looker.wait(["a"], 0)
    looker.show(["a"])
    looker.depth()
    looker.tasks()
    worker.maintain(1)

    assert worker.groups() == ["worker"]


def test_the_records_of_another_broker_leave_nothing() -> None:
    """Where only records are kept, they go once they have ended."""
    clock = FakeClock()
    store = MemoryStore(clock)
    results = MemoryResults(store, StoreOptions())
    results.put([Record(f"a{number}", TaskStatus.SUCCESS, ttl_ms=1_000) for number in range(10)])

    clock.advance(1_001)
    results.put([Record("b", TaskStatus.SUCCESS)])

    assert len(store.results["tasks", "cg"]) == 1


def test_a_record_that_is_put_again_lives_by_its_new_ttl() -> None:
    """Where only records are kept, the end of an earlier one does not take a later one with it."""
    clock = FakeClock()
    results = MemoryResults(MemoryStore(clock), StoreOptions())
    for ttl in (1_000, 10_000):
        results.put([Record("a", TaskStatus.SUCCESS, ttl_ms=ttl)])

    clock.advance(1_001)
    results.put([Record("b", TaskStatus.SUCCESS)])

    assert results.wait(["a"], 0) != [None]


def test_a_record_ends_when_its_ttl_is_over() -> None:
    """At the last ms of its ttl it can be read, at the next it cannot."""
    clock = FakeClock()
    results = MemoryResults(MemoryStore(clock), StoreOptions())
    results.put([Record("a", TaskStatus.SUCCESS, ttl_ms=10)])

    clock.advance(9)
    assert results.wait(["a"], 0) != [None]
    clock.advance(1)
    assert results.wait(["a"], 0) == [None]


def test_being_claimed_moves_no_task_in_the_list() -> None:
    """A task keeps its place among the others while it is held."""
    backend = opened(MemoryStore())
    backend.enqueue([Message("a", "f"), Message("b", "f")])
    backend.claim("one", 1, 0)

    assert [task.id for task in backend.tasks()[0]] == ["b", "a"]


def test_an_extension_is_a_sign_of_life() -> None:
    """A consumer that only extends has not been idle."""
    clock = FakeClock()
    backend = opened(MemoryStore(clock))
    backend.enqueue([Message("a", "f")])
    (delivery,) = backend.claim("one", 1, 0)
    clock.advance(5_000)

    backend.extend([Extension(delivery.receipt)])

    assert [consumer.idle_ms for consumer in backend.consumers()] == [0]


def test_a_deleted_task_may_come_again() -> None:
    """After a deletion the id is new, and its receipts are too."""
    backend = opened(MemoryStore())
    backend.enqueue([Message("a", "f")])
    (old,) = backend.claim("one", 1, 0)
    backend.release("one", [])
    backend.delete(["a"])

    assert backend.enqueue([Message("a", "f")]) == [True]
    (new,) = backend.claim("one", 1, 0)
    assert new.receipt != old.receipt


def test_queues_are_apart() -> None:
    """Two queues of one store share neither tasks nor known ids."""
    store = MemoryStore()
    one, other = (MemoryBackend(store, StoreOptions(stream_key=name)) for name in ("one", "other"))
    one.enqueue([Message("a", "f")])

    assert other.claim("one", 1, 0) == []
    assert other.enqueue([Message("a", "f")]) == [True]


def test_a_group_that_is_not_there_cannot_be_removed() -> None:
    """An unknown name raises `ConfigurationError` with the names that there are."""
    backend = opened(MemoryStore())
    backend.maintain(1)

    with pytest.raises(ConfigurationError, match="no group 'gc', only \\['cg'\\]"):
        backend.remove_group("gc")


def test_the_last_progress_goes_into_a_record_without_one() -> None:
    """A record that says nothing about progress gets what was stored last."""
    backend = opened(MemoryStore())
    backend.enqueue([Message("a", "f")])
    (delivery,) = backend.claim("one", 1, 0)
    backend.extend([Extension(delivery.receipt, Progress(3, 4))])

    backend.settle([Settlement(delivery.receipt, Done())])

    (record,) = backend.wait(["a"], 0)
    assert record is not None
    assert record.progress == Progress(3, 4)
