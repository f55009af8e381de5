"""Pure: retry? when? bury? From what running did (an outcome) to what the queue decides (a verdict).

No clock, no randomness, no I/O: `chance`, a number in [0, 1), is an argument.
"""

from __future__ import annotations

from .clock import milliseconds
from .message import (
    Aborted,
    Bury,
    Cancelled,
    Done,
    Failed,
    Failure,
    Message,
    Outcome,
    Refused,
    Retry,
    Return,
    Success,
    Unreadable,
    Unserved,
    Verdict,
)
from .options import TaskOptions

MAX_RETURNS = 12
"""How often a message that nobody here can serve is handed back before it is buried: some seven minutes, enough for a
rolling deployment to bring a worker that knows it."""
NEWER_DELAY = 10_000
"""Milliseconds a message of a newer wire version is left alone before somebody looks at it again."""
_FIRST_RETURN = 1_000
_LAST_RETURN = 60_000


def admit(message: Message, options: TaskOptions) -> Bury | None:
    """Whether the message may run at all: one that keeps killing its worker may not."""
    if message.crashes > options.max_crashes:
        return Bury(f"its worker process died {message.crashes} times while it ran")
    return None


def decide(message: Message | Unreadable, outcome: Outcome, options: TaskOptions, chance: float) -> Verdict:
    """What becomes of a delivery."""
    match outcome:
        case Success():
            return Done()
        case Aborted():
            return Cancelled()
        case Refused(failure):
            return Bury(_line(failure))
        case Unserved(failure):
            return _unserved(message, failure, chance)
        case Failed(failure, delay, retryable):
            if retryable and message.attempt <= options.retries:
                pause = options.pause(message.attempt, chance) if delay is None else delay
                return Retry(milliseconds(pause))
            return Bury(_line(failure))


def _unserved(message: Message | Unreadable, failure: Failure, chance: float) -> Verdict:
    if isinstance(message, Unreadable):
        return Return(NEWER_DELAY)
    if message.returns >= MAX_RETURNS:
        return Bury(f"{_line(failure)} (nobody could serve it in {message.returns} tries)")
    pause = min(_LAST_RETURN, _FIRST_RETURN * 2**message.returns)
    return Return(round(pause * (1 - 0.5 * chance)))


def _line(failure: Failure) -> str:
    return f"{failure.type}: {failure.message}" if failure.message else failure.type
