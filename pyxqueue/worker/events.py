"""Events for observers, which cannot change what happens, and what is logged of them."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from typing import Any, TypeAlias

from msgspec import Struct
from msgspec.structs import asdict

from ..log import get_logger
from ..model.events import TickSkipped
from ..model.message import (
    Aborted,
    Cancelled,
    Defer,
    Done,
    Fail,
    Outcome,
    Rejected,
    Retry,
    Returned,
    Suspended,
    Unsupported,
    Verdict,
)
from ..printable import Lines, counted, indented, printable, quoted

log = get_logger("pyxqueue.worker")
done = get_logger("pyxqueue.worker.done")


class TaskStarted(Struct, frozen=True):
    """A task is about to run, in this process."""

    task_id: str
    task_name: str
    attempt: int
    worker: str
    queue: str = ""
    """The name of its queue."""
    waited: float | None = None
    """For how many seconds it had been due when this run started; None if that is not known."""


class TaskSettled(Struct, frozen=True):
    """The store has applied a settlement, or refused it (not `accepted`) because the lease was lost."""

    task_id: str
    task_name: str
    attempt: int
    worker: str
    outcome: Outcome
    verdict: Verdict
    accepted: bool
    seconds: float
    """How long the task ran, in seconds."""
    queue: str = ""
    """The name of its queue."""
    waited: float | None = None
    """For how many seconds it had been due when this run started; None if that is not known."""


class TaskExpired(Struct, frozen=True):
    """A task ended because it had not started when it expired. No `TaskStarted` and no `TaskSettled` belongs to it."""

    task_id: str
    task_name: str
    """The name of the task; empty if its message could not be read."""
    queue: str = ""
    """The name of its queue."""


class CallConflicted(Struct, frozen=True):
    """A call enqueued no task, in this process: it was unique, debounced or throttled, and met an earlier one."""

    task_id: str
    """The id of the task whose handle the call returned."""
    task_name: str
    reason: str
    """``"unique"``, ``"debounce"`` or ``"throttle"``."""
    queue: str = ""
    """The name of its queue."""


Event: TypeAlias = TaskStarted | TaskSettled | TaskExpired | TickSkipped | CallConflicted
"""The events that an observer is called with. Later versions may add classes."""
Observer: TypeAlias = Callable[[Event], None]
_FORWARDED = {kind.__name__: kind for kind in (TaskExpired, TickSkipped)}
"""The events that a supervisor finds, for an observer in one of its workers."""


def packed(queue: int, event: Event) -> bytes:
    """Return an event of `_FORWARDED` as a line of text, with the number of its queue."""
    return json.dumps([queue, type(event).__name__, asdict(event)]).encode() + b"\n"


def unpacked(lines: bytes) -> list[tuple[int, Event]]:
    return [(queue, _FORWARDED[kind](**fields)) for queue, kind, fields in map(json.loads, lines.splitlines())]


def tell(observer: Observer | None, event: Event) -> None:
    """Call the observer; log what it raises, and do not raise it."""
    if observer is None:
        return
    try:
        observer(event)
    except BaseException:  # noqa: BLE001 - it is logged
        _observer_failures.log(logging.ERROR, "the observer raised an error on %s", type(event).__name__, exc_info=True)


class Throttle:
    """Logs a limited number of lines of one kind in each span of time, and counts the others. The next span begins with
    a line that says how many were left out: `more` is its text, with ``%d`` for the number."""

    def __init__(
        self, more: str, lines: int = 20, span: float = 10.0, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._more, self._lines, self._span, self._monotonic = more, lines, span, monotonic
        self._end = 0.0
        self._passed = self._left_out = 0

    def log(self, level: int, text: str, *args: object, **details: Any) -> None:
        """Log a line, with the arguments of `logging.Logger.log`, unless this span has had enough lines."""
        if not log.isEnabledFor(level):
            return
        if (now := self._monotonic()) >= self._end:
            self._end = now + self._span
            left_out, self._left_out, self._passed = self._left_out, 0, 0
            if left_out:
                log.log(level, self._more, left_out)
        if self._passed < self._lines:
            self._passed += 1
            log.log(level, text, *args, **details)
        else:
            self._left_out += 1

    def reset(self) -> None:
        """Begin a new span, so that the next line is logged: it is about something new."""
        self._end = 0.0


# If another program writes messages that cannot run, they may come by the thousand, all with the same fault.
_refusals = Throttle("messages refused and kept with the failed tasks: %d more")
_unsupported = Throttle("messages that could not be run here: %d more")
_not_ours = Throttle("settlements that were refused: %d more")
_observer_failures = Throttle("events on which the observer raised an error: %d more")
_plugin_failures = dict[tuple[str, str], Throttle]()
"""By plugin and hook, so that one that fails all the time hides no other."""
_expiries = Throttle("tasks that expired before they started: %d more")


def log_plugin_failure(plugin: str, hook: str, what: str) -> None:
    """Log that a plugin failed in a hook: `what`, or else the error that is being handled."""
    more = f"errors of the plugin {plugin} in {hook}(): %d more"
    throttle = _plugin_failures.setdefault((plugin, hook), Throttle(more))
    if what:
        throttle.log(logging.WARNING, "the plugin %s %s, in %s()", plugin, what, hook)
    else:
        throttle.log(logging.ERROR, "the plugin %s raised an error in %s()", plugin, hook, exc_info=True)


def log_expired(event: TaskExpired, of: str = "") -> None:
    """Log that a task has expired. `of`: as for `log_settled`."""
    about = {"task_id": event.task_id, "task_name": event.task_name, "queue": event.queue}
    _expiries.log(logging.INFO, "%s %s%s expired before it started", event.task_name, event.task_id, of, extra=about)


def log_settled(event: TaskSettled, of: str = "") -> None:
    """Log one line about a settlement, with the traceback of a failure; at level ERROR if the task failed. `of` stands
    behind the id: the queue, where there are several.

    The records have `task_id`, `task_name`, `attempt`, `queue` and `worker`. Successes have a logger of their own,
    ``pyxqueue.worker.done``, and level DEBUG.
    """
    name, task_id, attempt = event.task_name, event.task_id, event.attempt
    about = {"task_id": task_id, "task_name": name, "attempt": attempt, "queue": event.queue, "worker": event.worker}
    shown = f"{task_id}{of}"
    if not event.accepted:
        text = "%s %s was not settled: its lease was lost, or it was settled before"
        _not_ours.log(logging.INFO, text, name, shown, extra=about)
    elif isinstance(event.verdict, Done):
        done.debug("done %s %s in %.3f s, attempt %d", name, shown, event.seconds, attempt, extra=about)
    else:
        level = logging.ERROR if isinstance(event.verdict, Fail) else logging.INFO
        throttles: dict[type[Outcome], Throttle] = {Rejected: _refusals, Unsupported: _unsupported}
        throttle = throttles.get(type(event.outcome))
        say = log.log if throttle is None else throttle.log
        say(level, "%s %s, attempt %d: %s", name, shown, attempt, _story(event.outcome, event.verdict), extra=about)


def waits_for_text(outcome: Suspended) -> str:
    """Describe what a suspended task waits for."""
    wait = outcome.verdict
    if outcome.then:
        return f"until its tasks have ended: {counted(len(outcome.then), 'task')}"
    if wait.event:
        return f"until the event {quoted(wait.event)} comes"
    return "until a time" if wait.due_ms else "to go on elsewhere"


def _story(outcome: Outcome, verdict: Verdict) -> Lines:
    """Describe an outcome and its verdict, for the log."""
    if isinstance(outcome, Aborted) or isinstance(verdict, Cancelled):
        return Lines("cancelled")
    if isinstance(outcome, Returned):
        return Lines("done")
    if isinstance(outcome, Suspended):
        return Lines(f"suspended {waits_for_text(outcome)}")
    failure = outcome.failure
    what = f"{printable(failure.type)}: {printable(failure.message)}"
    again = f"due again in {verdict.delay_ms / 1000:.1f} s" if isinstance(verdict, Retry | Defer) else ""
    after = again or "kept with the failed tasks"
    return Lines(f"{what}; {after}\n{indented(failure.traceback)}" if failure.traceback else f"{what}; {after}")
