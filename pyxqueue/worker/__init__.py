"""Workers: they claim deliveries, run the tasks and settle the outcomes."""

from .events import Event, Observer, TaskSettled, TaskStarted
from .options import WorkerOptions
from .worker import Worker

__all__ = ["Event", "Observer", "TaskSettled", "TaskStarted", "Worker", "WorkerOptions"]
