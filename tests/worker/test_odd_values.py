"""Values that look right and are not: they are refused, or stored as a plain value."""

from __future__ import annotations

import math
from typing import Any

import pytest

from pyxqueue import ConfigurationError, TaskQueue, current_task
from pyxqueue.testing import eager_mode


class Measured(float):
    """A subclass of a number, as numerical packages have it."""


@pytest.mark.parametrize("value", [True, Measured(0.5), 3])
def test_progress_of_any_number(value: Any) -> None:
    """A subclass of a number is stored as the plain one."""
    queue = TaskQueue("odd")

    @queue.task(name="job")
    def job() -> str:
        current_task().progress(value, Measured(7))
        return "done"

    with eager_mode():
        handle = job()
        assert handle.get() == "done"
        assert handle.progress is not None
        assert type(handle.progress.done) in (int, float)
        assert handle.progress.done == value


@pytest.mark.parametrize("option", ["result_ttl", "timeout", "hard_timeout", "backoff", "backoff_max"])
@pytest.mark.parametrize("value", [math.inf, math.nan, -1.0, 1e300])
def test_times_that_are_not_valid(option: str, value: float) -> None:
    """They are refused where the task is declared."""
    with pytest.raises(ConfigurationError):
        TaskQueue("odd").task(name="job", **{option: value})(print)  # type: ignore[call-overload]


@pytest.mark.parametrize("settings", [{"worker_prefix": "a|b"}, {"worker_prefix": "x" * 99}, {"queue_size": -1}])
def test_settings_that_are_not_valid(settings: dict[str, Any]) -> None:
    """They are refused where the queue is made."""
    with pytest.raises(ConfigurationError):
        TaskQueue("odd", **settings)
