"""What an observer is told: frozen facts, one call each. An observer cannot change what happens."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from logging.handlers import QueueHandler
from typing import TypeAlias

from attrs import frozen

from ..log import get_logger
from ..model.message import Aborted, Cancelled, Defer, Done, Fail, Outcome, Rejected, Retry, Returned, Verdict
from ..printable import Lines, indented, printable

log = get_logger("pyxqueue.worker")
done = get_logger("pyxqueue.worker.done")


def hear_logs() -> None:
    """Let our lines be heard where workers run. A program that sets up its logging with `logging.config` silences the
    loggers that exist already, unless it says otherwise; and without any set-up, lines have no time and no level."""
    ours = [logging.getLogger("pyxqueue"), *logging.Logger.manager.loggerDict.values()]
    for logger in ours:
        if isinstance(logger, logging.Logger) and (logger.name == "pyxqueue" or logger.name.startswith("pyxqueue.")):
            logger.disabled = False
    if not log.hasHandlers():
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter(LINE))
        handler.setLevel(logging.WARNING)
        logging.getLogger("pyxqueue").addHandler(handler)


class Unheard(logging.Filter):
    """For a handler of the root logger: lets those lines pass that no handler of a logger below it has shown."""

    def filter(self, record: logging.LogRecord) -> bool:
        logger: logging.Logger | None = logging.getLogger(record.name)
        while logger is not None and logger.parent is not None:
            if any(not isinstance(one, logging.NullHandler | QueueHandler) for one in logger.handlers):
                return False
            logger = logger.parent
        return True


def log_to_stderr(formatter: logging.Formatter, level: str | int) -> None:
    """Show what this program logs, where no logging was set up. Lines that have a handler are not shown twice."""
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    handler.addFilter(Unheard())
    logging.getLogger().addHandler(handler)
    logging.getLogger().setLevel(level)


LINE = "%(asctime)s %(levelname)s %(name)s: %(message)s"
"""The form of a line where no logging was set up."""


@frozen
class TaskStarted:
    """A task is about to run, in this process."""

    task_id: str
    task_name: str
    attempt: int
    worker: str


@frozen
class TaskSettled:
    """The store has taken what was decided about a task, or refused it (not `accepted`): the lease was lost by then."""

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


class Throttle:
    """Lets some lines of a kind pass in each span of time, and counts the others."""

    def __init__(self, lines: int = 20, span: float = 10.0, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._lines, self._span, self._monotonic = lines, span, monotonic
        self._end = 0.0
        self._passed = self._left_out = 0

    def passes(self) -> tuple[bool, int]:
        """Whether the next one passes, and how many were left out before it that the log has not counted yet."""
        now = self._monotonic()
        left_out = 0
        if now >= self._end:
            self._end = now + self._span
            left_out, self._left_out, self._passed = self._left_out, 0, 0
        self._passed += 1
        passes = self._passed <= self._lines
        self._left_out += not passes
        return passes, left_out


_refusals = Throttle()
"""Messages that cannot be run may come by the thousand when another program writes them."""


def log_settled(event: TaskSettled) -> None:
    """One line about a settlement, and the traceback of a failure; an error for what failed.

    The records have `task_id`, `task_name` and `attempt`. Those of successes are of a logger of their own,
    ``pyxqueue.worker.done``, at level DEBUG.
    """
    name, task_id, attempt = event.task_name, event.task_id, event.attempt
    about = {"task_id": task_id, "task_name": name, "attempt": attempt}
    if not event.accepted:
        text = "%s %s was settled before, or is not ours any more: this settlement was refused"
        log.info(text, name, task_id, extra=about)
    elif isinstance(event.verdict, Done):
        done.debug("done %s %s in %.3f s, attempt %d", name, task_id, event.seconds, attempt, extra=about)
    else:
        if isinstance(event.outcome, Rejected):
            passes, left_out = _refusals.passes()
            if left_out:
                log.error("%d more messages were refused and are kept with the failed tasks", left_out)
            if not passes:
                return
        level = logging.ERROR if isinstance(event.verdict, Fail) else logging.INFO
        story = _story(event.outcome, event.verdict)
        log.log(level, "%s %s, attempt %d: %s", name, task_id, attempt, story, extra=about)


def _story(outcome: Outcome, verdict: Verdict) -> Lines:
    """An outcome and what follows from it, for the log."""
    if isinstance(outcome, Aborted) or isinstance(verdict, Cancelled):
        return Lines("cancelled")
    if isinstance(outcome, Returned):
        return Lines("done")
    failure = outcome.failure
    what = f"{printable(failure.type)}: {printable(failure.message)}"
    again = f"again in {verdict.delay_ms / 1000:.1f} s" if isinstance(verdict, Retry | Defer) else ""
    after = again or "kept with the failed tasks"
    return Lines(f"{what}; {after}\n{indented(failure.traceback)}" if failure.traceback else f"{what}; {after}")
