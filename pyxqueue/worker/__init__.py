"""Workers: they claim deliveries, run the tasks and settle the outcomes."""

from ..ticking import TickSkipped
from .events import CallConflicted, Event, Observer, TaskExpired, TaskSettled, TaskStarted
from .options import WorkerOptions

__all__ = [
    "CallConflicted",
    "Event",
    "Observer",
    "TaskExpired",
    "TaskSettled",
    "TaskStarted",
    "TickSkipped",
    "WorkerOptions",
]
