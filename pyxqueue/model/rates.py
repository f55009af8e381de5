"""Rates: how many tasks start in a period. The rule is GCRA, with one number for each key.

A rate has a name and a pace. Its gates are spelt ``rate:NAME/KEY``, and are gates as those of other limits are: a task
is admitted at them, or waits in their lines. The number of a key is the time at which its starts so far would have
ended, had they come evenly. The next start may be earlier than that by the tolerance, which makes the burst.
"""

from __future__ import annotations

from msgspec import Struct

from .message import Message, Unreadable

PREFIX = "rate:"
"""The names of limits do not have a colon, so a rate and another limit may have the same name."""
MAX_SPAN_US = 1 << 50
"""The longest time that a burst may cover, about 35 years, so that all sums of times are exact in a double."""


def is_rate(gate: str) -> bool:
    """Return whether a gate is that of a rate."""
    return gate.startswith(PREFIX)


def has_rate(message: Message | Unreadable | None) -> bool:
    """Return whether a message has the gate of a rate."""
    return isinstance(message, Message) and any(map(is_rate, message.gates))


class Pace(Struct, frozen=True):
    """At most `count` starts in `period_us`, and `burst` of them at once."""

    count: int
    """0 lets nothing start."""
    period_us: int
    burst: int = 1

    @property
    def interval_us(self) -> int:
        """The time between two starts that come evenly. It is rounded up, so that a pace is never exceeded."""
        return -(-self.period_us // max(1, self.count))

    @property
    def tolerance_us(self) -> int:
        return self.interval_us * (self.burst - 1)

    def opens_us(self, spent_us: int) -> int:
        """Return when the next may start, if the starts so far end at `spent_us`."""
        return spent_us - self.tolerance_us

    def spent_us(self, spent_us: int, now_us: int) -> int:
        """Return the number of the key after one more start."""
        return max(spent_us, now_us) + self.interval_us

    def bounded_us(self, spent_us: int, now_us: int) -> int:
        """Return the number of a key, limited to what this pace can have reached: the pace may have been slower before,
        or the clock may have been set back."""
        return min(spent_us, now_us + self.interval_us * self.burst)

    def __str__(self) -> str:
        return f"{self.count:,} per {self.period_us / 1_000_000:g} s, {self.burst:,} at once"


def pace_to_text(pace: Pace) -> str:
    """Return a pace as stores keep it, in the place of the number of another limit."""
    return f"{pace.count}/{pace.period_us}/{pace.burst}"


def pace_from_text(text: str) -> Pace | None:
    """Return a pace that was stored; None for any other text, which another program may have written."""
    parts = text.split("/")
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() and len(part) < 17 for part in parts):
        return None
    pace = Pace(*map(int, parts))
    return pace if pace.period_us and pace.burst and pace.interval_us * pace.burst <= MAX_SPAN_US else None


class RateInfo(Struct, frozen=True):
    """A rate as the store knows it."""

    name: str
    """Its name, or ``NAME/KEY`` if the pace holds for this key alone."""
    pace: Pace | None
    """The pace that counts; None for none."""
    declared: Pace | None = None
    """The pace that the code has declared."""
