"""The kit tells a wrong harness from a wrong backend, and says what to change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from pyxqueue.backends.memory import MemoryBackend, MemoryStore
from pyxqueue.clock import FakeClock
from pyxqueue.protocols import StoreOptions
from pyxqueue.testing.contract import BackendContract
from pyxqueue.testing.contract.harness_tests import HarnessTests
from pyxqueue.testing.memory import MemoryHarness

TESTS = [name for name in vars(HarnessTests) if name.startswith("test_harness_")]
_SHARED = MemoryStore(FakeClock())


class NoLease(MemoryHarness):
    lease: Any = None

    def __init__(self) -> None:
        super().__init__()
        del self.lease


class NoInject(MemoryHarness):
    inject: Any = None


class OpensAnotherStore(MemoryHarness):
    def open(self, group: str = "cg", **options: Any) -> MemoryBackend:
        self.store = MemoryStore(self.clock)
        return super().open(group, **options)


class OpensAQueueForEachGroup(MemoryHarness):
    def open(self, group: str = "cg", **options: Any) -> MemoryBackend:
        self.stream_key = f"kit-{group}"
        return super().open(group, **options)


class OpensOneGroup(MemoryHarness):
    def open(self, group: str = "cg", **options: Any) -> MemoryBackend:
        return super().open("cg", **options)


class KeepsItsHistory(MemoryHarness):
    def open(self, group: str = "cg", *, history: int = 100, lease: int | None = None) -> MemoryBackend:
        return super().open(group, lease=lease)


class NamesNoLease(MemoryHarness):
    def open(self, group: str = "cg", *, history: int = 100, lease: int | None = None) -> MemoryBackend:
        return self.backend_type(self.store, StoreOptions(self.stream_key, group, lease, history))


class KeepsItsLease(MemoryHarness):
    def open(self, group: str = "cg", *, history: int = 100, lease: int | None = None) -> MemoryBackend:
        return super().open(group, history=history)


class AdvancesAnotherClock(MemoryHarness):
    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()


class AdvancesInSeconds(MemoryHarness):
    def advance(self, ms: int) -> None:
        self.clock.advance(ms // 1000)


class AdvancesTooFar(MemoryHarness):
    def advance(self, ms: int) -> None:
        self.clock.advance(10 * ms)


class TimeGoesOn(MemoryHarness):
    """A delay is over before the kit looks."""

    def open(self, group: str = "cg", **options: Any) -> MemoryBackend:
        backend = super().open(group, **options)
        claim = backend.claim

        def later(*args: Any) -> Any:
            self.clock.advance(61_000)
            return claim(*args)

        backend.claim = later  # type: ignore[assignment, method-assign] # the fault itself
        return backend


class ReturnsNoId(MemoryHarness):
    def inject(self, fields: Mapping[bytes, bytes], group: str = "cg") -> Any:
        super().inject(fields, group)


class InjectsNothing(MemoryHarness):
    def inject(self, fields: Mapping[bytes, bytes], group: str = "cg") -> str:
        return "raw-1"


class InjectsIntoOneGroup(MemoryHarness):
    def inject(self, fields: Mapping[bytes, bytes], group: str = "cg") -> str:
        self.open("other").claim("one", 1, 0)
        return super().inject(fields, "other")


class InjectsOtherFields(MemoryHarness):
    def inject(self, fields: Mapping[bytes, bytes], group: str = "cg") -> str:
        return super().inject({**fields, b"mine": b"1"}, group)


class CountsNothing(MemoryHarness):
    def footprint(self) -> int:
        return 0


class SharesItsStore(MemoryHarness):
    def __init__(self) -> None:
        super().__init__()
        self.store = _SHARED


WRONG = {
    NoLease: "has_what_the_kit_uses",
    NoInject: "has_what_the_kit_uses",
    OpensAnotherStore: "opens_one_queue_twice",
    OpensAQueueForEachGroup: "opens_the_group_that_it_is_given",
    OpensOneGroup: "opens_the_group_that_it_is_given",
    KeepsItsHistory: "passes_the_history_on",
    KeepsItsLease: "passes_the_lease_on",
    AdvancesAnotherClock: "moves_a_lease",
    AdvancesInSeconds: "moves_a_delay",
    AdvancesTooFar: "moves_a_lease",
    TimeGoesOn: "moves_a_delay",
    ReturnsNoId: "injects_an_entry",
    InjectsNothing: "injects_an_entry",
    InjectsIntoOneGroup: "injects_an_entry",
    InjectsOtherFields: "injects_an_entry",
    CountsNothing: "counts_what_is_stored",
}


def said_of(harness: MemoryHarness, name: str) -> str:
    with pytest.raises(AssertionError) as raised:
        getattr(BackendContract(), f"test_harness_{name}")(harness)
    return str(raised.value)


@pytest.mark.parametrize("wrong", WRONG, ids=[wrong.__name__ for wrong in WRONG])
def test_a_wrong_harness_fails(wrong: type[MemoryHarness]) -> None:
    """The failure says that the harness is wrong, and what to change."""
    said = said_of(wrong(), WRONG[wrong])
    assert said.startswith("the harness is wrong: ")
    assert "\nWhat to change: " in said


def test_a_lease_that_is_not_passed_on_is_seen() -> None:
    """A harness whose lease is not the default shows that `open` leaves it out."""
    harness = NamesNoLease()
    harness.lease = 20_000
    assert "the store's lease is 30000 ms after `open(lease=None)`, not 20000" in said_of(
        harness, "passes_the_lease_on"
    )


def test_a_store_that_is_shared_between_tests_is_seen() -> None:
    """What the first test left is there in the second."""
    SharesItsStore().open("left").lease_ms()
    assert "for every test" in said_of(SharesItsStore(), "begins_with_an_empty_queue")


def test_they_come_first() -> None:
    """pytest collects the tests of the last base first."""
    order = [name for base in reversed(BackendContract.__mro__) for name in vars(base) if name.startswith("test_")]
    assert order[: len(TESTS)] == TESTS
