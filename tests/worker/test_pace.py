"""How many messages are claimed at once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pyxqueue.worker.pace import BUDGET, MAX_BATCH, Pace


def settled(seconds: float, tasks: int = 100) -> Pace:
    """A pace that has seen many tasks of one length, and grown to its batch size."""
    pace = Pace()
    for _ in range(tasks):
        pace.ran(seconds)
    for _ in range(20):
        pace.limit()
    return pace


def test_unknown_tasks_come_one_at_a_time() -> None:
    """Until the first has run."""
    assert [Pace().limit() for _ in range(3)] == [1, 1, 1]


def test_fast_tasks_come_in_ever_larger_batches() -> None:
    """Each batch at most doubles the one before, up to the largest."""
    pace = Pace()
    pace.ran(1e-6)

    assert [pace.limit() for _ in range(10)] == [2, 4, 8, 16, 32, 64, 128, 256, MAX_BATCH, MAX_BATCH]


def test_a_batch_takes_a_moment() -> None:
    """As many as fit into the budget."""
    assert settled(BUDGET / 10).limit() == 10
    assert settled(BUDGET / 2).limit() == 2
    assert settled(BUDGET * 3).limit() == 1


def test_one_slow_task_is_enough() -> None:
    """After it they come one at a time, and grow from there again."""
    pace = settled(1e-6)
    assert pace.limit() == MAX_BATCH

    pace.ran(1.0)

    assert pace.limit() == 1
    for _ in range(100):
        pace.ran(1e-6)
    assert pace.limit() == 2


@given(st.lists(st.floats(0, 100), max_size=50))
def test_a_limit_is_always_usable(lengths: list[float]) -> None:
    """At least one, at most the largest batch."""
    pace = Pace()
    for seconds in lengths:
        pace.ran(seconds)
        assert 1 <= pace.limit() <= MAX_BATCH
