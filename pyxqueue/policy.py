"""Pure: retry? when? bury? From what running did (an outcome) to what the queue decides (a verdict).

No clock, no randomness, no I/O: `chance`, a number in [0, 1), is an argument.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import Attribute, field, frozen

from .clock import in_seconds, milliseconds
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
from .printable import quoted

MAX_RETURNS = 12
"""How often a message that nobody here can serve is handed back before it is buried: some seven minutes, enough for a
rolling deployment to bring a worker that knows it."""
NEWER_DELAY = 10_000
"""Milliseconds a message of a newer wire version is left alone before somebody looks at it again."""
MAX_SECONDS = 1e10
"""No pause, limit or time to live can be this long (three centuries)."""
_FIRST_RETURN = 1_000
_LAST_RETURN = 60_000


def whole_number(least: int) -> Callable[[object, Attribute[Any], object], None]:
    """A validator for attrs."""

    def check(_instance: object, attribute: Attribute[Any], value: object) -> None:
        if not isinstance(value, int) or value < least:
            raise ValueError(f"{attribute.name}={quoted(value)} must be a whole number, {least} or more")

    return check


def seconds(_instance: object, attribute: Attribute[Any], value: object) -> None:
    if not isinstance(value, int | float) or not 0 <= value < MAX_SECONDS:
        raise ValueError(f"{attribute.name}={quoted(value)} must be a number of seconds, 0 or more")


def _part(_instance: object, attribute: Attribute[Any], value: object) -> None:
    if not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"{attribute.name}={quoted(value)} must be a number from 0 to 1")


@frozen
class RetryPolicy:
    """How a task is retried. Times in seconds."""

    retries: int = field(default=0, validator=whole_number(0))
    """Runs after the first one; 0 is one run only."""
    backoff: float = field(default=1.0, converter=in_seconds, validator=seconds)
    """The pause before the first retry; each further one doubles it."""
    backoff_max: float = field(default=600.0, converter=in_seconds, validator=seconds)
    jitter: float = field(default=0.5, validator=_part)
    """The part of each pause that is random, so that a thousand failures do not come back in one moment."""
    max_crashes: int = field(default=3, validator=whole_number(0))
    """How often the task may kill the process it runs in before it is buried."""

    def pause(self, attempt: int, chance: float) -> float:
        """Seconds between the failure of run number `attempt` and the next run.

        At most ``min(backoff_max, backoff * 2 ** (attempt - 1))``, at least ``1 - jitter`` of that.
        """
        full = min(self.backoff_max, self.backoff * 2.0 ** min(attempt - 1, 60))
        return full * (1 - self.jitter * chance)


def admit(message: Message, policy: RetryPolicy) -> Bury | None:
    """Whether the message may run at all: one that keeps killing its worker may not."""
    if message.crashes > policy.max_crashes:
        return Bury(f"its worker process died {message.crashes} times while it ran")
    return None


def decide(message: Message | Unreadable, outcome: Outcome, policy: RetryPolicy, chance: float) -> Verdict:
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
            if retryable and message.attempt <= policy.retries:
                pause = policy.pause(message.attempt, chance) if delay is None else delay
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
