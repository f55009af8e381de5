"""A `SplitBackend` keeps the laws, but for those that its docstring names."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from pyxqueue import split
from pyxqueue.backends.memory import MemoryResults, MemoryStore
from pyxqueue.protocols import StoreOptions
from pyxqueue.split import SplitBackend
from pyxqueue.testing.contract import BackendContract, ScheduleContract
from pyxqueue.testing.memory import MemoryHarness


class SplitHarness:
    """Messages and results in two stores in memory, on one clock."""

    lease = 30_000

    def __init__(self) -> None:
        self._tasks = MemoryHarness()
        self._results = MemoryStore(self._tasks.clock)
        self._tasks.clock.subscribe(self._results.poke)

    def open(self, group: str = "cg", *, history: int = 100, lease: int | None = None) -> SplitBackend:
        broker = self._tasks.open(group, history=history, lease=lease)
        return SplitBackend(broker, MemoryResults(self._results, StoreOptions(self._tasks.stream_key, group)))

    def advance(self, ms: int) -> None:
        self._tasks.advance(ms)

    def inject(self, fields: Mapping[bytes, bytes], group: str = "cg") -> str:
        return self._tasks.inject(fields, group)

    def footprint(self) -> int:
        for records in self._results.results.values():
            records.sweep(self._results.clock())
        return self._tasks.footprint() + sum(map(len, self._results.results.values()))


NOT_KEPT = {
    "test_b4_refused_after_a_release",
    "test_b4_refused_after_a_requeue",
    "test_b4_refused_after_a_takeover",
    "test_b4_refused_after_it_was_settled",
    "test_b4_refused_after_the_same_consumer_claimed_again",
    "test_b4_refused_after_the_id_was_enqueued_again",
    "test_b4_refused_in_another_group",
    "test_b4_refused_without_a_receipt",
    "test_b13_a_removed_group_leaves_nothing",
}


class TestSplit(BackendContract, ScheduleContract):
    """All but `NOT_KEPT`.

    B4 asks that a refused settlement leaves no record: here the record is put before the broker refuses. B13 asks that
    a removed group leaves nothing: here its records stay until their time to live is over.
    """

    @pytest.fixture
    def harness(self, monkeypatch: pytest.MonkeyPatch) -> SplitHarness:
        monkeypatch.setattr(split, "_SLICE", 20)  # ms; else a test waits up to a second for an end without a record
        return SplitHarness()


for name in NOT_KEPT:
    setattr(TestSplit, name, None)


@pytest.mark.parametrize("name", sorted(NOT_KEPT))
def test_what_is_not_kept(name: str) -> None:
    """Each test that is left out would fail; the list has none that could pass."""
    with pytest.raises(AssertionError, match=r"^law (B4|B13) is broken: "):
        getattr(BackendContract(), name)(SplitHarness())
