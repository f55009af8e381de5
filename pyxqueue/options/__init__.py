"""The options of tasks, calls and fair queues. Each is checked here, and its error says what to write instead.

`TaskOptions` and `CallOptions` have them all. The modules `limits`, `schedules`, `uniqueness` and `fairness` have the
values of some, and are imported by the first task that uses them.
"""

from .checks import MAX_SECONDS, seconds, whole_number
from .tasks import (
    DEFAULT_GRACE,
    DEFAULT_WAIT_MS,
    CallOptions,
    TaskOptions,
    check_guard,
    takes_options,
    takes_options_too,
)

__all__ = [
    "DEFAULT_GRACE",
    "DEFAULT_WAIT_MS",
    "MAX_SECONDS",
    "CallOptions",
    "TaskOptions",
    "check_guard",
    "seconds",
    "takes_options",
    "takes_options_too",
    "whole_number",
]
