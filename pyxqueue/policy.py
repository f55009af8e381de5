"""Pure: retry? when? fail? From what running did (an outcome) to what the queue decides (a verdict).

No clock, no randomness, no I/O: `chance`, a number in [0, 1), is an argument.
"""

from __future__ import annotations

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
    Unreadable,
    Unsupported,
    Verdict,
)
from .options import TaskOptions

MAX_DEFERRALS = 12
"""How often a message that nobody here can serve is handed back before it fails: some seven minutes, enough for a
rolling deployment to bring a worker that knows it."""
NEWER_DELAY = 10_000
"""Milliseconds a message of a newer wire version is left alone before somebody looks at it again."""
_FIRST_DEFERRAL = 1_000
_LAST_DEFERRAL = 60_000


def admit(message: Message, options: TaskOptions) -> Fail | None:
    """Whether the message may run at all: one that keeps killing its worker may not."""
    if message.crashes > options.max_crashes:
        return Fail(f"its worker process died {message.crashes} times while it ran")
    return None


def decide(message: Message | Unreadable, outcome: Outcome, options: TaskOptions, chance: float) -> Verdict:
    """What becomes of a delivery."""
    match outcome:
        case Returned():
            return Done()
        case Aborted():
            return Cancelled()
        case Rejected(failure):
            return Fail(_line(failure))
        case Unsupported(failure):
            return _unserved(message, failure, chance)
        case Raised(failure, delay_ms, retryable):
            if retryable and message.attempt <= options.retries:
                backoff_ms = milliseconds(options.pause(message.attempt, chance))
                return Retry(backoff_ms if delay_ms is None else delay_ms)
            return Fail(_line(failure))


def _unserved(message: Message | Unreadable, failure: Failure, chance: float) -> Verdict:
    if isinstance(message, Unreadable):
        return Defer(NEWER_DELAY)
    if message.deferrals >= MAX_DEFERRALS:
        return Fail(f"{_line(failure)} (nobody could serve it in {message.deferrals} tries)")
    pause = min(_LAST_DEFERRAL, _FIRST_DEFERRAL * 2**message.deferrals)
    return Defer(round(pause * (1 - 0.5 * chance)))


def _line(failure: Failure) -> str:
    return f"{failure.type}: {failure.message}" if failure.message else failure.type
