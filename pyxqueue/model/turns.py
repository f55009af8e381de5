"""In which order ready messages are claimed: those that came back and new ones in turns (B2).

The functions here have no side effects. A store reads the first messages of both lines, and hands out what `take_turns`
returns; what is left over stays in its line.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")


class Turns(NamedTuple, Generic[T]):
    """What one claim takes from the two lines."""

    taken: list[T]
    """The messages to hand out, in order."""
    came_back: int
    """How many of them are from the line of those that came back; they are its first ones."""
    new: int
    """How many of them are from the line of new ones; they are its first ones."""
    owed: bool
    """True if the handle's next claim begins with a new message: its last delivery was one that came back."""


def take_turns(came_back: Sequence[T], new: Sequence[T], limit: int, owed: bool) -> Turns[T]:
    """Take at most `limit` of the first messages of two lines, in turns. When one is empty, the other goes on.

    `came_back` and `new` have up to `limit` messages each, or more. `owed` is that of the handle's last claim, False at
    first; a claim that takes nothing leaves it.
    """
    first, second = (new, came_back) if owed else (came_back, new)
    of_first, of_second = shares(len(first), len(second), limit)
    turns = min(of_first, of_second)
    taken = [message for turn in zip(first[:turns], second[:turns], strict=True) for message in turn]
    taken += first[turns:of_first]
    taken += second[turns:of_second]
    of_came_back, of_new = (of_second, of_first) if owed else (of_first, of_second)
    first_was_last = of_first > of_second
    return Turns(taken, of_came_back, of_new, owed != first_was_last)


def shares(first: int, second: int, limit: int) -> tuple[int, int]:
    """Return how many of `limit` messages come from each of two lines that have `first` and `second` messages, if they
    take turns and the first one begins."""
    limit = max(0, limit)
    of_first = min(first, max((limit + 1) // 2, limit - second))
    return of_first, min(second, limit - of_first)
