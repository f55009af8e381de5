"""What the queue decides about the outcome of a run."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define

from ..codec import Codec
from ..message import Aborted, Delivery, Fail, Outcome, Record, Settlement, Verdict
from ..options import TaskOptions
from ..policy import decide
from ..printable import printable, quoted
from .events import log
from .jobs import Job
from .records import record_of

_DEFAULTS = TaskOptions()


@define(eq=False)
class Decider:
    """Turns outcomes into settlements, with the record of an end."""

    codec: Codec
    consumer: str
    chance: Callable[[], float]

    def settlement(self, job: Job, outcome: Outcome) -> Settlement:
        """It never raises: an outcome that cannot be dealt with fails its own task, and does not stop others."""
        try:
            options = _DEFAULTS if job.task is None else job.task.options
            verdict = decide(job.delivery.message, outcome, options, self.chance())
            return Settlement(job.delivery.receipt, verdict, self._record(job, outcome, verdict, options))
        except BaseException as error:  # noqa: BLE001 - logged, and the reason why the task fails
            log.exception("the outcome of %s cannot be settled", job.delivery.message.id)
            return self.failure(job.delivery, f"its outcome cannot be settled: {quoted(error)}")

    def failure(self, delivery: Delivery, reason: str) -> Settlement:
        """Fail a delivery for a reason of ours."""
        verdict = Fail(printable(reason))
        record = self._record(Job(delivery, -1), Aborted(), verdict, _DEFAULTS)
        return Settlement(delivery.receipt, verdict, record)

    def _record(self, job: Job, outcome: Outcome, verdict: Verdict, options: TaskOptions) -> Record | None:
        record = record_of(job, outcome, verdict, options, self.consumer)
        return None if record is None else self.codec.sealed(record)
