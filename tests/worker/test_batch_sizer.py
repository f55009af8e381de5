"""How many messages are claimed at once."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyxqueue.inflight import STUCK
from pyxqueue.worker.batch_sizer import BUDGET, MAX_BATCH, BatchSizer
from tests.support.seeds import seeds_of


def settled(seconds: float) -> BatchSizer:
    """Return a sizer whose batch size has settled after many tasks of this length."""
    sizer = BatchSizer()
    for _ in range(20):
        sizer.ran([seconds] * sizer.limit)
    return sizer


def test_the_first_batch_is_one_message() -> None:
    """Until a task has run, nothing is known about their length."""
    sizer = BatchSizer()
    sizer.ran([])

    assert sizer.limit == 1


def test_fast_tasks_come_in_ever_larger_batches() -> None:
    """Each batch has at most twice the size of the last one, up to the largest."""
    sizer, limits = BatchSizer(), []
    for _ in range(10):
        sizer.ran([1e-6] * sizer.limit)
        limits.append(sizer.limit)

    assert limits == [2, 4, 8, 16, 32, 64, 128, 256, MAX_BATCH, MAX_BATCH]


def test_a_batch_takes_a_moment() -> None:
    """It has as many tasks as fit into the budget."""
    assert settled(BUDGET / 10.5).limit == 10
    assert settled(BUDGET / 2.5).limit == 2
    assert settled(BUDGET * 3).limit == 1


def test_one_slow_task_is_enough() -> None:
    """The next batch is one message, and batches grow again from there."""
    sizer = settled(1e-6)
    assert sizer.limit == MAX_BATCH

    sizer.ran([1e-6] * 200 + [2 * STUCK] + [1e-6] * 55)

    assert sizer.limit == 1
    sizer.ran([1e-6])
    assert sizer.limit == 2


def test_a_hiccup_is_not_a_slow_task() -> None:
    """A task that waited for the interpreter or a lock once says little about the others of its batch."""
    sizer = settled(1e-5)
    sizer.ran([1e-5] * (MAX_BATCH - 1) + [2 * BUDGET])

    assert sizer.limit > MAX_BATCH // 4


def test_what_was_given_back_does_not_count() -> None:
    """Two tasks of a large batch ran, and the others were given back: they only seem to have been fast."""
    sizer = settled(1e-5)
    sizer.ran([0.8 * STUCK] * 2 + [1e-6] * (MAX_BATCH - 2))

    assert sizer.limit == 1


def test_single_tasks_do_not_make_large_batches() -> None:
    """A batch has at most twice the size of the last one, however fast its task was."""
    sizer = BatchSizer()
    for _ in range(20):
        sizer.ran([1e-6])

    assert sizer.limit == 2


@pytest.mark.parametrize("seed", seeds_of(range(10)))
def test_little_is_claimed_behind_a_task_that_takes_long(seed: int) -> None:
    """One task in a hundred takes a second, the others a millisecond: batches stay so small that little is given
    back."""
    chance, sizer = random.Random(seed), BatchSizer()
    long = behind = 0
    for _ in range(5_000):
        batch = [1.0 if chance.random() < 0.01 else 0.001 for _ in range(sizer.limit)]
        ran = next((place for place, seconds in enumerate(batch, 1) if seconds > STUCK), len(batch))
        long += batch[ran - 1] > STUCK
        behind += len(batch) - ran
        sizer.ran(batch[:ran] + [1e-6] * (len(batch) - ran))

    assert long > 40
    assert behind < long


def test_short_tasks_come_in_large_batches_again() -> None:
    """Tasks that took long are forgotten in time."""
    sizer = settled(1.0)
    for _ in range(1_000):
        sizer.ran([1e-5] * sizer.limit)

    assert sizer.limit == MAX_BATCH


@given(st.lists(st.lists(st.floats(0, 100), max_size=20), max_size=20))
def test_a_limit_is_always_usable(batches: list[list[float]]) -> None:
    """At least one, at most the largest batch."""
    sizer = BatchSizer()
    for batch in batches:
        sizer.ran(batch)
        assert 1 <= sizer.limit <= MAX_BATCH
