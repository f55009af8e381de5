"""The times in the life of a task, which the command line and the dashboard show."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from pyxqueue.client.timeline import Span, spans_of
from pyxqueue.model.message import Message, Record, TaskInfo, TaskStatus
from pyxqueue.model.past import STOPPED, Attempt

MESSAGE = Message("t1", "jobs.add", enqueued_ms=1_000, due_ms=11_000)
TIMES = st.integers(0, 2**53 - 1) | st.integers(900, 60_000)


def told(info: TaskInfo, now: int, *attempts: Attempt) -> list[tuple[str, int, int]]:
    return [(span.what, span.start_ms, span.end_ms) for span in spans_of(info, attempts, "", now)]


def test_the_life_of_a_task_has_no_gaps() -> None:
    """It was delayed, then waited for a worker, then ran."""
    record = Record("t1", TaskStatus.SUCCESS, worker="w", ended_ms=20_000, ran_ms=5_000)
    ended = TaskInfo("t1", TaskStatus.SUCCESS, MESSAGE, record=record)
    running = TaskInfo("t1", TaskStatus.STARTED, MESSAGE, worker="w", started_ms=15_000)
    waiting = TaskInfo("t1", TaskStatus.PENDING, MESSAGE)

    before = [("delayed", 1_000, 11_000), ("waited", 11_000, 15_000)]
    assert told(ended, 99_000) == [*before, ("ran", 15_000, 20_000)]
    assert told(running, 18_000) == [*before, ("runs", 15_000, 18_000)]
    assert told(waiting, 13_000) == [("delayed", 1_000, 11_000), ("waits", 11_000, 13_000)]
    assert told(waiting, 3_000) == [("delayed", 1_000, 3_000)]


def test_each_attempt_is_a_span() -> None:
    """With where it ran and how it ended; the pause before the next one is known for the last one only."""
    message = Message("t1", "jobs.add", enqueued_ms=1_000, due_ms=30_000, attempt=2)
    record = Record("t1", TaskStatus.FAILURE, worker="w3", attempt=2, ended_ms=40_000, ran_ms=8_000)
    attempts = [
        Attempt(1, STOPPED, "the worker stopped", 6_000, "w1", "web1", 4_000),
        Attempt(1, "ValueError", "", 20_000, "w2", "web2", 2_000),
    ]

    spans = spans_of(TaskInfo("t1", TaskStatus.FAILURE, message, record=record), attempts, "KeyError: x", 99_000)

    assert spans == [
        Span("waited", 1_000, 2_000),
        Span("ran", 2_000, 6_000, 1, "w1", "web1", "WorkerStopped: the worker stopped"),
        Span("waited", 6_000, 18_000),
        Span("ran", 18_000, 20_000, 1, "w2", "web2", "ValueError"),
        Span("delayed", 20_000, 30_000),
        Span("waited", 30_000, 32_000),
        Span("ran", 32_000, 40_000, 2, "w3", "", "KeyError: x"),
    ]


def test_attempts_that_are_not_kept_are_not_called_a_delay() -> None:
    """What came before the first attempt that is known is one span, and so it is if none is."""
    message = Message("t1", "jobs.add", enqueued_ms=1_000, due_ms=11_000, attempt=3)
    info = TaskInfo("t1", TaskStatus.RETRY, message)
    second = Attempt(2, "E", "x", 9_000, "w", "", 1_000)

    assert told(info, 12_000) == [("before", 1_000, 11_000), ("waits", 11_000, 12_000)]
    assert told(info, 12_000, second) == [
        ("before", 1_000, 8_000), ("ran", 8_000, 9_000), ("delayed", 9_000, 11_000), ("waits", 11_000, 12_000),
    ]  # fmt: skip


def test_nothing_is_known() -> None:
    """A task of which only the record is left has its last run, or no times."""
    record = Record("t1", TaskStatus.SUCCESS, worker="w", ended_ms=20_000, ran_ms=5_000)

    assert told(TaskInfo("t1", TaskStatus.SUCCESS, None, record=record), 99_000) == [("ran", 15_000, 20_000)]
    assert told(TaskInfo("t1", TaskStatus.SUCCESS, None), 99_000) == []


@given(
    st.lists(st.builds(Attempt, TIMES, st.just("E"), st.text(max_size=3), TIMES, st.just("w"), st.just(""), TIMES)),
    st.builds(Message, st.just("t1"), st.just("job"), enqueued_ms=TIMES, due_ms=TIMES, attempt=st.integers(1, 9)),
    TIMES,
    TIMES,
    st.booleans(),
)
def test_whatever_was_written(attempts: list[Attempt], message: Message, at: int, ran: int, ended: bool) -> None:
    """Every attempt is shown once, no span ends before it begins, and the earlier ones follow each other."""
    record = Record("t1", TaskStatus.SUCCESS, ended_ms=at, ran_ms=ran) if ended else None
    status = TaskStatus.SUCCESS if ended else TaskStatus.RETRY

    spans = spans_of(TaskInfo("t1", status, message, record=record), attempts, "", 50_000)

    assert all(span.start_ms <= span.end_ms for span in spans)
    if message.enqueued_ms:
        assert [span.attempt for span in spans if span.error] == [one.attempt for one in attempts]
        earlier = spans[: max((at + 1 for at, span in enumerate(spans) if span.error), default=0)]
        assert all(one.end_ms == two.start_ms for one, two in pairwise(earlier))
