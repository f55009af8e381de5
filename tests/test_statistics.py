"""What is counted of tasks, and how a store keeps it in a fixed number of slots."""

from __future__ import annotations

import pytest

from pyxqueue.model.statistics import (
    BOUNDS,
    BUCKETS,
    COLUMNS,
    MAX_NUMBER,
    MINUTE,
    MINUTES,
    NOW,
    OTHER,
    OUTCOMES,
    TEN_MINUTES,
    TENS,
    TOTAL,
    Histogram,
    TaskCounts,
    add,
    read_slot,
    show,
    slots_of,
    summed,
)

T = 1_700_000_000_000 // TEN_MINUTES * TEN_MINUTES


def histogram(**counts: int) -> Histogram:
    """A histogram with counts by the number of the bucket, as in ``b3=7``."""
    return Histogram(tuple(counts.get(f"b{number}", 0) for number in range(BUCKETS)))


def test_quantiles_are_read_within_a_bucket() -> None:
    """Half of ten runs that took between 100 and 250 ms took at most 175 ms."""
    found = histogram(b5=10)

    assert found.count == 10
    assert found.quantile(0.5) == pytest.approx(0.175)
    assert found.quantile(0) == pytest.approx(0.1)
    assert found.quantile(1) == pytest.approx(0.25)


def test_quantiles_of_several_buckets() -> None:
    """The bucket is the one in which the wanted time is; nothing is known beyond the last bound."""
    found = histogram(b0=90, b7=9, b15=1)

    assert found.quantile(0.45) == pytest.approx(0.0025)
    assert found.quantile(0.95) == pytest.approx(0.5 + 0.5 * 5 / 9)
    assert found.quantile(1) == BOUNDS[-1]
    assert Histogram().quantile(0.5) is None


def test_sums_are_by_name() -> None:
    """What was counted of tasks with the same name is one in the sum, with all outcomes."""
    one, two = TaskCounts("a", {"success": 1}, histogram(b1=1)), TaskCounts("a", {"failure": 2}, refused=3)

    (found,) = summed([one, two])

    assert found.ended == {**dict.fromkeys(OUTCOMES, 0), "success": 1, "failure": 2}
    assert (found.run, found.refused, found.wait.count) == (histogram(b1=1), 3, 0)


@pytest.mark.parametrize(
    "text",
    ["", "x", "-1\na\t0:1", "1e3\na\t0:1", "9" * 40, "\n", "\t", "17\n" * 2, "\udcff", "\uff11\uff17\na\t0:1"],
)
def test_what_is_not_a_slot_has_no_rows(text: str) -> None:
    """What another program has written into a slot is left out."""
    assert read_slot(text)[1] == {}


def test_what_cannot_be_read_in_a_slot_is_left_out() -> None:
    """Of damaged lines, the numbers count that can be read."""
    lines = ["17", "a\t0:1 1:x 2:-3 99:4 3:5 4:" + "9" * 30, "no tab", "b\t0:" + "9" * 16, "", "a\t0:2", "c\t0:\u0663"]

    start, rows = read_slot("\n".join(lines))

    assert start == 17
    assert sorted(rows) == ["a", "b", "c"]
    assert (rows["a"][:4], rows["b"][0], sum(rows["c"])) == ([3, 0, 0, 5], MAX_NUMBER, 0)


def test_a_slot_with_too_many_lines_is_read_in_part() -> None:
    """However many lines another program has written, there are not more names than a slot has."""
    _, rows = read_slot("\n".join(["17", *(f"t{number}\t0:1" for number in range(5_000))]))

    assert len(rows) <= 301


def test_any_name_is_kept() -> None:
    """A name may have what separates lines and numbers."""
    names = ["a\tb", "a\n0:1", "%09", "%25%", "ü\u2028", "", "0:1 1:1", "now"]
    slots: dict[str, str] = {}

    add(slots, [TaskCounts(name, {"success": 1}) for name in names], T)

    assert [one.name for one in show(slots, 1, T).totals] == sorted(names)


def test_the_clock_is_set_back() -> None:
    """What arrives after the clock was set back is counted once, in the minute that the clock shows."""
    slots: dict[str, str] = {}
    for minute in (5, 3, 5, 3, 6):
        add(slots, [TaskCounts("a", {"success": 1})], T + minute * MINUTE)

    seen = show(slots, 10, T + 9 * MINUTE)

    assert {(one.start_ms - T) // MINUTE: one.tasks[0].ended["success"] for one in seen.slices if one.tasks} == {
        3: 2,
        5: 2,
        6: 1,
    }
    assert (seen.totals[0].ended["success"], seen.since_ms) == (5, T + 5 * MINUTE)


def test_the_slots_are_a_fixed_number() -> None:
    """After four days of batches in every minute there are as many slots as ever, each of a bounded size."""
    slots: dict[str, str] = {}
    for minute in range(4 * 24 * 60):
        add(slots, [TaskCounts("a", {"success": 1})], T + minute * MINUTE)

    assert len(slots) == MINUTES + TENS + 2
    assert {NOW, TOTAL} < slots.keys()
    assert len(set(slots_of(MINUTES, T))) == MINUTES
    assert max(len(text) for text in slots.values()) < 40
    assert show(slots, 1, T).totals[0].ended["success"] == 4 * 24 * 60


def test_a_full_slot_has_a_bounded_size() -> None:
    """The largest numbers of as many tasks as a slot has."""
    slots: dict[str, str] = {}
    row = [MAX_NUMBER] * COLUMNS

    add(slots, [TaskCounts.of(f"{number}" * 50, row) for number in range(1_000)], T)

    assert len(slots[NOW]) < 400_000
    assert show(slots, 1, T).totals[-1].name == OTHER
