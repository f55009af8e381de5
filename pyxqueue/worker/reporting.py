"""Reports what becomes of the tasks of a queue: in the log, to its observer, and in its statistics."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from ..model.message import Message, Verdict
from ..protocols import Broker, Expired, TellsExpired
from .events import Observer, TaskExpired, TaskSettled, TaskStarted, log_expired, log_settled, tell
from .jobs import Ran
from .tally import Tally


@frozen(eq=False)
class Reporter:
    """Reports what becomes of the tasks of one queue."""

    queue: str
    """The name of the queue in events."""
    observer: Observer | None
    tally: Tally | None = None
    """Counts the tasks that expire; None if the queue has no statistics."""
    of: str = ""
    """What the log adds to the id of a task: its queue, where there are several."""
    worker: str = ""
    """The name of the worker; empty in a supervisor, where tasks expire but do not run."""

    def started(self, message: Message, waited: float | None) -> None:
        """Report that a task is about to run. `waited`: as `Job.waited` returns it."""
        tell(self.observer, TaskStarted(message.id, message.name, message.attempt, self.worker, self.queue, waited))

    def settled(self, ran: Ran, verdict: Verdict, *, accepted: bool) -> None:
        """Report a settlement that the store has applied, or refused."""
        message = ran.job.delivery.message
        event = TaskSettled(
            task_id=message.id,
            task_name=message.name if isinstance(message, Message) else "?",
            attempt=message.attempt,
            worker=self.worker,
            outcome=ran.outcome,
            verdict=verdict,
            accepted=accepted,
            seconds=ran.seconds,
            queue=self.queue,
            waited=ran.job.waited(),
        )
        log_settled(event, self.of)
        tell(self.observer, event)

    def expired(self, task_id: str, task_name: str) -> None:
        """Report a task that ended because it had not started when it expired."""
        event = TaskExpired(task_id, task_name, self.queue)
        log_expired(event, self.of)
        if self.tally is not None:
            self.tally.expired(task_name)
        tell(self.observer, event)

    def watch(self, broker: Broker) -> None:
        """Report also the tasks that the broker's own calls end because they expired."""
        if isinstance(broker, TellsExpired):
            broker.watch_expired(self._all_expired)

    def _all_expired(self, expired: Sequence[Expired]) -> None:
        for one in expired:
            self.expired(one.id, one.name)
