"""What an observer is told: frozen facts, one call each. An observer cannot change what happens."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeAlias

from attrs import frozen

from ..message import Outcome, Verdict

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
    except Exception:
        log.exception("the observer failed on %s", type(event).__name__)
