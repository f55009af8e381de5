"""The thread of a worker that looks after running tasks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import define, field

from ..errors import BrokerError
from ..model.message import Extension
from ..protocols import Broker
from ..waking import Bell
from .interrupts import Watched
from .jobs import Jobs

_EVERY = 0.2
"""Seconds between two looks."""


@define(eq=False)
class Monitor:
    """Looks after running tasks from a thread of its own: time limits, cancellations, and the progress of one queue.

    Each further queue has one for its progress alone, so that a store that is down delays no time limit.
    """

    broker: Broker
    jobs: Jobs
    interrupters: Sequence[Watched]
    interrupt: Callable[[], None]
    """Ends a claim that waits for work."""
    queue: int = 0
    """The number of the queue."""
    _bell: Bell = field(factory=Bell, init=False)
    _stopping: bool = field(default=False, init=False)
    _closed: bool = field(default=False, init=False)

    def stop_claiming(self) -> None:
        """End a claim that waits for work. May be called from a signal handler."""
        self._stopping = True
        self._bell.ring()

    def close(self) -> None:
        """Make `run` return."""
        self._closed = True
        self._bell.ring()

    def run(self) -> None:
        """Look after the tasks until closed."""
        interrupted = False
        while not self._closed:
            self._bell.wait(_EVERY)
            if self._stopping and not interrupted:
                self.interrupt()
                interrupted = True
            self._look()

    def _look(self) -> None:
        for interrupter in self.interrupters:
            for job, seconds in interrupter.check():
                self.jobs.postpone(job, seconds)
        for job, times in self.jobs.cancelled():
            for interrupter in self.interrupters:
                interrupter.cancel(job, times)
        self._send_progress()

    def _send_progress(self) -> None:
        jobs = [job for job in self.jobs if job.unsent and job.queue == self.queue]
        if not jobs:
            return
        for job in jobs:
            job.unsent = False
        try:
            self.broker.extend([Extension(job.delivery.receipt, job.progress) for job in jobs])
        except BrokerError:
            for job in jobs:
                job.unsent = True
