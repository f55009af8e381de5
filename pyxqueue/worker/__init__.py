"""Workers: the loops that run tasks, the processes they run in, and who looks after them."""

from .events import Event, Observer, TaskSettled, TaskStarted
from .options import WorkerOptions
from .worker import Worker

__all__ = ["Event", "Observer", "TaskSettled", "TaskStarted", "Worker", "WorkerOptions"]
