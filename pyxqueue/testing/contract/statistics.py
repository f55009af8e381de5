"""Statistics: M1 counted once, M2 bounded. A backend without `HasStatistics` passes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any

from ...model.statistics import (
    BUCKETS,
    MAX_NAME,
    MAX_NAMES,
    MAX_NUMBER,
    MINUTES,
    OTHER,
    OUTCOMES,
    TENS,
    Histogram,
    Slice,
    StatisticsBatch,
    TaskCounts,
    summed,
)
from ...protocols import HasStatistics
from .base import needs
from .prelude import Contract, Harness, law, s

M1, M2 = law("M1"), law("M2")
RICH = TaskCounts(
    "pkg.Klasse.<locals>.größe %25 %\t\n ok:1",
    {outcome: number for number, outcome in enumerate(OUTCOMES, 1)},
    Histogram(tuple(range(1, BUCKETS + 1)), 12_345),
    Histogram(tuple(range(BUCKETS, 0, -1)), 2**40),
    refused=9,
    dropped=21,
    lost=22,
)
"""In it, each number is another one."""
TEN = 10 * s.MINUTE


def counted(name: str = "kit.job", number: int = 1) -> TaskCounts:
    return TaskCounts(name, {"success": number})


def batch(number: int, *tasks: TaskCounts, sender: str = "one") -> StatisticsBatch:
    return StatisticsBatch(sender, number, tasks or (counted(),))


def sums(tasks: Sequence[TaskCounts]) -> dict[str, int]:
    """By name, how many succeeded."""
    return {one.name: one.ended["success"] for one in tasks}


def ago(slices: Sequence[Slice], number: int) -> dict[str, int]:
    """What a slice has that ended so many slices ago; or the one after it, since the clock of a server goes on."""
    return sums(summed(one for each in slices[len(slices) - number - 2 : len(slices) - number] for one in each.tasks))


def accepts(backend: Any, number: int) -> bool:
    return bool(backend.add_statistics(batch(number)))


def opened(harness: Harness) -> Any:
    """A backend whose group is registered."""
    backend = harness.open()
    s.take(backend)
    return backend


class StatisticsLaws(Contract):
    """M1 and M2."""

    @needs(HasStatistics)
    def test_m1_what_is_added_comes_back(self, harness: Harness) -> None:
        """Every number of a batch is in the slice that is under way and in the totals, under the name of its task."""
        backend = opened(harness)
        M1.same(list(backend.statistics(60).totals), [], "the totals before anything was counted")
        M1.same(backend.add_statistics(batch(1, counted("a"), RICH)), True, "the first batch")
        seen = backend.statistics(60)
        M1.same(list(seen.totals), [counted_fully("a"), RICH], "the totals")
        M1.same(list(seen.recent), [counted_fully("a"), RICH], "the sums of the slices")
        M1.same(ago(seen.slices, 0), {"a": 1, RICH.name: 1}, "the slice that is under way")

    @needs(HasStatistics)
    def test_m1_sums_are_those_of_the_batches(self, harness: Harness) -> None:
        """Batches of several senders are added up, also after minutes in which nothing came."""
        backend = opened(harness)
        backend.add_statistics(batch(1, RICH))
        backend.add_statistics(batch(7, counted("a", 3), sender="two"))
        harness.advance(3 * s.MINUTE)
        backend.add_statistics(batch(2, RICH, counted("a", 4)))
        harness.advance(2 * TEN)
        backend.add_statistics(batch(8, RICH, sender="two"))
        wanted = summed([RICH, RICH, RICH, counted("a", 7)])
        M1.same(list(backend.statistics(60).totals), wanted, "the totals")
        M1.same(list(backend.statistics(60).recent), wanted, "the sums of the slices of an hour")
        M1.same(list(backend.statistics(MINUTES + 1).recent), wanted, "the sums of the spans of ten minutes")

    @needs(HasStatistics)
    def test_m1_a_batch_counts_once(self, harness: Harness) -> None:
        """A batch that is sent again is refused, as is one with a smaller number; later batches are counted."""
        backend, other = opened(harness), opened(harness)
        M1.same(backend.add_statistics(batch(5)), True, "the first batch")
        for handle in (backend, other):
            M1.same(handle.add_statistics(batch(5)), False, "the same batch again")
        M1.same(backend.add_statistics(batch(4)), False, "a batch with a smaller number")
        M1.same(backend.add_statistics(batch(5, sender="two")), True, "the same number of another sender")
        M1.same(backend.add_statistics(batch(9)), True, "a batch with a larger number")
        harness.advance(TEN)
        M1.same(backend.add_statistics(batch(9)), False, "the same batch after ten minutes")
        M1.same(sums(backend.statistics(60).totals), {"kit.job": 3}, "what was counted")

    @needs(HasStatistics)
    def test_m1_senders_at_the_same_time(self, harness: Harness) -> None:
        """Batches that several senders add at the same time are all counted, and repeats among them are not."""
        backend = opened(harness)
        handles: list[Any] = [harness.open() for _ in range(4)]
        M1.same(backend.add_statistics(batch(1)), True, "the first batch")
        s.once_each(M1, self.patience, handles, accepts, range(2, 12))
        calls = [s.Call(partial(self._send_ten, handle, str(who))) for who, handle in enumerate(handles)]
        for call in calls:
            call.result(self.patience, M1, "one of several senders at the same time waits")
        M1.same(sums(backend.statistics(60).totals), {"kit.job": 51}, "what was counted of 51 batches")

    def _send_ten(self, handle: HasStatistics, sender: str) -> None:
        for number in range(10):
            handle.add_statistics(batch(number, sender=sender))

    @needs(HasStatistics)
    def test_m1_slices_are_of_the_store_s_clock(self, harness: Harness) -> None:
        """What arrived so many minutes ago is in the slice of that time, and in no other."""
        backend = opened(harness)
        backend.add_statistics(batch(1, counted("a")))
        harness.advance(TEN)
        backend.add_statistics(batch(2, counted("b")))
        harness.advance(4 * TEN)
        seen = backend.statistics(120)
        M1.same(
            [len(seen.slices), {one.length_ms for one in seen.slices}], [120, {s.MINUTE}], "the slices of two hours"
        )
        M1.same({one.start_ms % s.MINUTE for one in seen.slices}, {0}, "how slices of a minute begin")
        starts = [one.start_ms for one in seen.slices]
        M1.same({b - a for a, b in pairwise(starts)}, {s.MINUTE}, "how far slices are apart")
        M1.holds(starts[-1] <= seen.now_ms < starts[-1] + s.MINUTE, "the last slice is not under way")
        M1.same(ago(seen.slices, 50), {"a": 1}, "what arrived 50 minutes ago")
        M1.same(ago(seen.slices, 40), {"b": 1}, "what arrived 40 minutes ago")
        M1.same(sums(seen.recent), {"a": 1, "b": 1}, "what the slices have together")
        M1.same(sums(backend.statistics(30).recent), {}, "what arrived in the last 30 minutes")

    @needs(HasStatistics)
    def test_m1_old_slices_go_and_totals_stay(self, harness: Harness) -> None:
        """After 8 hours what arrived is in spans of ten minutes only, after 72 hours in the totals only."""
        backend = opened(harness)
        backend.add_statistics(batch(1, counted("a")))
        harness.advance(54 * TEN)
        backend.add_statistics(batch(2, counted("b")))
        M1.same(sums(backend.statistics(MINUTES).recent), {"b": 1}, "the minutes of 8 hours, after 9 hours")
        seen = backend.statistics(TENS * 10)
        M1.same([len(seen.slices), seen.slices[0].length_ms], [TENS, TEN], "the spans of 72 hours")
        M1.same(ago(seen.slices, 54), {"a": 1}, "what arrived 9 hours ago")
        harness.advance(400 * TEN)
        M1.same(sums(backend.statistics(TENS * 10).recent), {"b": 1}, "the spans of ten minutes, after 75 hours")
        M1.same(sums(backend.statistics(10 * TENS * 10).recent), {"b": 1}, "more than there is")
        M1.same(sums(backend.statistics(1).totals), {"a": 1, "b": 1}, "the totals")

    @needs(HasStatistics)
    def test_m1_another_turn_of_the_rings_begins_at_nothing(self, harness: Harness) -> None:
        """What arrives exactly 8, or 72, hours later is not added to what is older."""
        backend = opened(harness)
        for number, pause in enumerate((0, TEN, 47 * TEN, TEN)):
            harness.advance(pause)
            backend.add_statistics(batch(number))
        M1.same(ago(backend.statistics(MINUTES).slices, 10), {"kit.job": 1}, "a minute, 8 hours after another one")
        for number, pause in enumerate((431 * TEN, TEN), 4):
            harness.advance(pause)
            backend.add_statistics(batch(number))
        M1.same(ago(backend.statistics(TENS * 10).slices, 1), {"kit.job": 1}, "ten minutes, 72 hours after others")
        M1.same(sums(backend.statistics(1).totals), {"kit.job": 6}, "the totals")

    @needs(HasStatistics)
    def test_m1_each_group_has_its_own(self, harness: Harness) -> None:
        """What is added in one group is not in another, and goes with its group."""
        one, two = s.groups(harness, "cg", "two")
        assert isinstance(one, HasStatistics)
        assert isinstance(two, HasStatistics)
        one.add_statistics(batch(1, counted("a")))
        two.add_statistics(batch(1, counted("b")))
        M1.same(sums(one.statistics(60).totals), {"a": 1}, "the totals of the first group")
        M1.same(sums(two.statistics(60).totals), {"b": 1}, "the totals of the second group")
        one.remove_group("two")
        M1.same(two.add_statistics(batch(2)), False, "a batch for a group that was removed")
        M1.same("two" in one.groups(), False, "a batch for a group that was removed made it again")
        s.take(harness.open("two"))
        M1.same(sums(two.statistics(60).totals), {}, "the totals of the group, registered again")

    @needs(HasStatistics)
    def test_m2_further_names_are_counted_together(self, harness: Harness) -> None:
        """A slice and the totals have so many names; what comes with others is counted under "other"."""
        backend = opened(harness)
        backend.add_statistics(batch(1, *(counted(f"t{number:03}") for number in range(MAX_NAMES + 20))))
        backend.add_statistics(batch(2, counted("t000", 5), counted("more", 2), counted(OTHER)))
        wanted = {**{f"t{number:03}": 1 for number in range(MAX_NAMES)}, "t000": 6, OTHER: 23}
        for minutes, what in ((60, "slices"), (MINUTES + 1, "spans of ten minutes")):
            M2.same(sums(backend.statistics(minutes).recent), wanted, f"the names in the {what}")
        harness.advance(s.MINUTE)
        backend.add_statistics(batch(3, counted("later")))
        wanted[OTHER] += 1
        M2.same(sums(backend.statistics(60).totals), wanted, "the names in the totals")

    @needs(HasStatistics)
    def test_m2_long_names_are_counted_together(self, harness: Harness) -> None:
        """The longest name is kept; what has a longer one is counted under "other"."""
        backend = opened(harness)
        longest = "ü" * MAX_NAME
        backend.add_statistics(batch(1, counted(longest), counted(longest + "x"), counted("y" * 9_999)))
        M2.same(sums(backend.statistics(60).totals), {longest: 1, OTHER: 2}, "the totals")

    @needs(HasStatistics)
    def test_m2_numbers_have_an_end(self, harness: Harness) -> None:
        """A number does not become larger than the largest one, and does not begin again."""
        backend = opened(harness)
        backend.add_statistics(batch(1, counted(number=MAX_NUMBER - 1)))
        for number in range(3):
            backend.add_statistics(batch(2 + number))
        M2.same(sums(backend.statistics(60).totals), {"kit.job": MAX_NUMBER}, "the totals")

    @needs(HasStatistics)
    def test_m2_batches_leave_nothing_of_their_own(self, harness: Harness) -> None:
        """Many batches of many names leave no more things in the store than few."""
        backend = opened(harness)
        before = harness.footprint()
        for number in range(3):
            backend.add_statistics(batch(number))
            harness.advance(TEN)
        few = harness.footprint()
        M2.holds(few > before, f"the harness does not count statistics: {before} before, {few} after the first ones")
        for number in range(3, 60):
            backend.add_statistics(batch(number, counted("kit.job"), counted(f"kit.job-{number}")))
        M2.holds(
            harness.footprint() <= few + self.footprint_slack + 2,
            f"{harness.footprint()} things are left after many batches, {few} after few",
        )


def counted_fully(name: str) -> TaskCounts:
    """`counted`, as a store returns it."""
    return summed([counted(name)])[0]
