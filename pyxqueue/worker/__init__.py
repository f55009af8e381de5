"""Workers: they claim deliveries, run the tasks and settle the outcomes."""

from .events import Event, Observer, TaskSettled, TaskStarted
from .options import WorkerOptions

__all__ = ["Event", "Observer", "TaskSettled", "TaskStarted", "WorkerOptions"]
