"""What structlog says inside a task."""

from __future__ import annotations

import pytest
import structlog
from structlog.testing import capture_logs

from pyxqueue import TaskQueue, eager_mode
from pyxqueue.plugins.structlog import BindTask


def test_what_is_logged_in_a_task_names_it() -> None:
    """And what is logged elsewhere does not."""
    logger = structlog.get_logger()
    with eager_mode(), capture_logs([structlog.contextvars.merge_contextvars]) as lines:
        queue = TaskQueue("shop", plugins=[BindTask()])
        handle = queue.task(name="sell")(lambda: logger.info("sold"))()
        logger.info("outside")

    inside, outside = lines
    assert inside.pop("worker")
    assert inside == {
        "event": "sold",
        "log_level": "info",
        "task_id": handle.task_id,
        "task_name": "sell",
        "attempt": 1,
        "queue": "shop",
    }
    assert outside == {"event": "outside", "log_level": "info"}


def test_what_was_bound_before_is_bound_again_after() -> None:
    """Also if the task raises."""
    with eager_mode(), structlog.contextvars.bound_contextvars(worker="outer"):
        queue = TaskQueue("shop", plugins=[BindTask()])

        @queue.task(name="fail")
        def fail() -> None:
            raise ValueError("no")

        fail()

        assert structlog.contextvars.get_contextvars() == {"worker": "outer"}
    with pytest.raises(KeyError):
        structlog.contextvars.get_contextvars()["worker"]
