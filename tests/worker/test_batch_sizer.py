"""How many messages are claimed at once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pyxqueue.inflight import STUCK
from pyxqueue.worker.batch_sizer import BUDGET, MAX_BATCH, BatchSizer


def settled(seconds: float) -> BatchSizer:
    """A sizer that has seen many tasks of one length, and grown to its batch size."""
    sizer = BatchSizer()
    for _ in range(20):
        sizer.ran([seconds] * sizer.limit)
    return sizer


def test_unknown_tasks_come_one_at_a_time() -> None:
    """Until the first has run."""
    sizer = BatchSizer()
    sizer.ran([])

    assert sizer.limit == 1


def test_fast_tasks_come_in_ever_larger_batches() -> None:
    """Each batch at most doubles the one before, up to the largest."""
    sizer, limits = BatchSizer(), []
    for _ in range(10):
        sizer.ran([1e-6] * sizer.limit)
        limits.append(sizer.limit)

    assert limits == [2, 4, 8, 16, 32, 64, 128, 256, MAX_BATCH, MAX_BATCH]


def test_a_batch_takes_a_moment() -> None:
    """As many as fit into the budget."""
    assert settled(BUDGET / 10.5).limit == 10
    assert settled(BUDGET / 2.5).limit == 2
    assert settled(BUDGET * 3).limit == 1


def test_one_slow_task_is_enough() -> None:
    """After it they come one at a time, and grow from there again."""
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


def test_what_was_handed_back_says_nothing() -> None:
    """Of a large batch of tasks that take their time two ran: the others only seem to have been fast."""
    sizer = settled(1e-5)
    sizer.ran([0.8 * STUCK] * 2 + [1e-6] * (MAX_BATCH - 2))

    assert sizer.limit == 1


def test_single_tasks_do_not_make_large_batches() -> None:
    """However many fast ones there were: the next could be slow."""
    sizer = BatchSizer()
    for _ in range(20):
        sizer.ran([1e-6])

    assert sizer.limit == 2


@given(st.lists(st.lists(st.floats(0, 100), max_size=20), max_size=20))
def test_a_limit_is_always_usable(batches: list[list[float]]) -> None:
    """At least one, at most the largest batch."""
    sizer = BatchSizer()
    for batch in batches:
        sizer.ran(batch)
        assert 1 <= sizer.limit <= MAX_BATCH
