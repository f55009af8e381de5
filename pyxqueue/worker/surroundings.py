"""Restores, after each task that runs in the main thread, what belongs to the process and not to the task."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from _signal import getsignal  # type: ignore[import-not-found]  # `signal.getsignal` makes an enum: slow

from .events import log

_SIGNALS = (signal.SIGALRM, signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)


class Surroundings:
    """The signal handlers, standard streams, hooks for uncaught errors and recursion limit that a process began with.

    Comparing them costs next to nothing. The working directory, the umask, warning filters and the like stay as a task
    leaves them.
    """

    def __init__(self) -> None:
        self._handlers = [(int(number), getsignal(number)) for number in _SIGNALS]
        self._streams = (sys.stdout, sys.stderr, sys.stdin)
        self._hooks = (sys.excepthook, threading.excepthook)
        self._depth = sys.getrecursionlimit()
        self._told: set[str] = set()

    def put_back(self, task_name: str) -> None:
        """Undo what the task `task_name` has changed. It is logged once for each task."""
        changed = []
        for number, handler in self._handlers:
            if getsignal(number) is not handler:
                signal.signal(number, handler)
                changed.append(f"the handler of {signal.Signals(number).name}")
        if (sys.stdout, sys.stderr, sys.stdin) != self._streams:
            sys.stdout, sys.stderr, sys.stdin = self._streams
            changed.append("a standard stream")
        if (sys.excepthook, threading.excepthook) != self._hooks:
            sys.excepthook, threading.excepthook = self._hooks
            changed.append("an excepthook")
        if sys.getrecursionlimit() != self._depth:
            sys.setrecursionlimit(self._depth)
            changed.append("the recursion limit")
        if changed and task_name not in self._told:
            self._told.add(task_name)
            log.log(logging.WARNING, "task %s has changed %s: put back", task_name, ", ".join(changed))
