"""What is logged of messages that were reclaimed."""

from __future__ import annotations

import pytest

from pyxqueue.takeovers import log_takeovers
from pyxqueue.testing.contract import steps
from pyxqueue.testing.memory import MemoryHarness


def test_one_line_for_each_consumer(caplog: pytest.LogCaptureFixture) -> None:
    """With its host, if that is known, the number of tasks, and the first ids; it cannot begin another line."""
    log_takeovers([*(("one", "web1", f"t{number}") for number in range(7)), ("two\n", "", "x")])

    assert [one.getMessage() for one in caplog.records] == [
        "took over 7 tasks from one on host web1, of which there was no sign of life: t0, t1, t2, t3, t4 and 2 more",
        r"took over 1 task from two\n, of which there was no sign of life: x",
    ]


def test_a_reclaim_logs_it(caplog: pytest.LogCaptureFixture) -> None:
    """Once, by the claim that reclaims them; later claims of them say nothing."""
    harness = MemoryHarness()
    backend = harness.open()
    backend.enqueue(steps.jobs(3))
    backend.claim("one", 3, 0)
    harness.advance(harness.lease + 1)

    for _ in range(3):
        backend.claim("two", 1, 0)

    assert [one.getMessage() for one in caplog.records] == [
        "took over 3 tasks from one, of which there was no sign of life: t000, t001, t002"
    ]
