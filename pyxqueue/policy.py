"""Decides the verdict of a delivery from the outcome of its run: done, retry and when, defer, or fail.

The functions have no side effects and do not read a clock; `chance`, a random number in [0, 1), is an argument.
"""

from __future__ import annotations

from collections.abc import Callable

from .clock import milliseconds
from .model.message import (
    Aborted,
    Cancelled,
    Defer,
    Done,
    Fail,
    Failure,
    Message,
    Outcome,
    Raised,
    Rejected,
    Retry,
    Returned,
    Suspended,
    Unreadable,
    Unsupported,
    Verdict,
)
from .model.past import LOST, Attempt, attempts_in
from .options import TaskOptions

MAX_DEFERRALS = 12
"""How often a message that the workers cannot serve is deferred before it fails. That takes about seven minutes, enough
for a rolling deployment to start a worker that can. While a live worker announces that it can, there is no limit."""
UNKNOWN_TASK = "UnknownTask"
"""The type of the failure of a task that no worker has."""
NEWER_DELAY = 10_000
"""How many milliseconds a message of a newer wire version is deferred."""
_DONE = Done()
_FIRST_DEFERRAL = 1_000
_LAST_DEFERRAL = 60_000


def admit(message: Message, options: TaskOptions) -> Fail | None:
    """Return None if the message may run, or its failure if it has crashed too often."""
    if message.crashes > options.max_crashes:
        last = next((one for one in reversed(attempts_in(message.past)) if one.type == LOST), None)
        how = f", last: {last.text} ({_where(last)})" if last is not None else ""
        return Fail(f"its worker process died {message.crashes} times while it ran{how}")
    return None


def _where(attempt: Attempt) -> str:
    return f"worker {attempt.worker} on host {attempt.host}" if attempt.host else f"worker {attempt.worker}"


def decide(
    message: Message | Unreadable,
    outcome: Outcome,
    options: TaskOptions,
    chance: float,
    served: Callable[[Message], bool] = lambda _: False,
) -> Verdict:
    """Return the verdict for a delivery. `served`: whether another worker may serve the message; it is asked only if
    this one cannot, and the message was deferred so often that it would fail."""
    match outcome:
        case Returned():
            return _DONE
        case Aborted():
            return Cancelled()
        case Suspended(verdict):
            return verdict
        case Rejected(failure):
            return Fail(_line(failure))
        case Unsupported(failure):
            return _unserved(message, failure, chance, served)
        case Raised(failure, delay_ms, retryable):
            if retryable and message.attempt <= options.retries:
                backoff_ms = milliseconds(options.pause(message.attempt, chance))
                return Retry(backoff_ms if delay_ms is None else delay_ms)
            return Fail(_line(failure))


def _unserved(
    message: Message | Unreadable, failure: Failure, chance: float, served: Callable[[Message], bool]
) -> Verdict:
    if isinstance(message, Unreadable):
        return Defer(NEWER_DELAY)
    if message.deferrals >= MAX_DEFERRALS and not served(message):
        return Fail(f"{_line(failure)} (no worker could serve it in {message.deferrals} tries)")
    pause = min(_LAST_DEFERRAL, _FIRST_DEFERRAL * 2 ** min(message.deferrals, MAX_DEFERRALS))
    return Defer(round(pause * (1 - 0.5 * chance)))


def _line(failure: Failure) -> str:
    return f"{failure.type}: {failure.message}" if failure.message else failure.type
