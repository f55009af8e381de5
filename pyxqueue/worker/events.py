"""What an observer is told: frozen facts, one call each. An observer cannot change what happens."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeAlias

from attrs import frozen

from ..message import Aborted, Bury, Cancelled, Done, Outcome, Success, Verdict

log = logging.getLogger("pyxqueue.worker")


@frozen
class TaskStarted:
    """A task is about to run, in this process."""

    task_id: str
    task_name: str
    attempt: int
    worker: str


@frozen
class TaskSettled:
    """The store has answered what was decided about a task. Not `accepted`: somebody else holds it by now."""

    task_id: str
    task_name: str
    attempt: int
    worker: str
    outcome: Outcome
    verdict: Verdict
    accepted: bool
    seconds: float
    """How long it ran."""


Event: TypeAlias = TaskStarted | TaskSettled
Observer: TypeAlias = Callable[[Event], None]


def tell(observer: Observer | None, event: Event) -> None:
    """Call the observer; what it raises is logged and goes no further."""
    if observer is None:
        return
    try:
        observer(event)
    except BaseException:
        log.exception("the observer failed on %s", type(event).__name__)


def log_settled(event: TaskSettled) -> None:
    """One line about a settlement; an error for what was buried."""
    name, task_id, attempt = event.task_name, event.task_id, event.attempt
    if not event.accepted:
        log.info("%s %s is not ours any more: its settlement was refused", name, task_id)
    elif isinstance(event.verdict, Done):
        log.debug("done %s %s in %.3f s, attempt %d", name, task_id, event.seconds, attempt)
    else:
        level = logging.ERROR if isinstance(event.verdict, Bury) else logging.INFO
        log.log(level, "%s %s, attempt %d: %s", name, task_id, attempt, _story(event.outcome, event.verdict))


def _story(outcome: Outcome, verdict: Verdict) -> str:
    """An outcome and what follows from it, for the log."""
    if isinstance(outcome, Aborted):
        return "cancelled"
    what = f"{outcome.failure.type}: {outcome.failure.message}" if not isinstance(outcome, Success) else "done"
    match verdict:
        case Bury():
            return f"{what}; kept among the failed"
        case Cancelled():
            return "cancelled"
        case Done():
            return what
        case _:
            return f"{what}; again in {verdict.delay / 1000:.1f} s"
