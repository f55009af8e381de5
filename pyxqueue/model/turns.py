"""In which order ready messages are claimed (B2): by their priority class, and within a class those that came back
and new ones in turns.

The functions here have no side effects. A store reads the first messages of each line, and hands out what `take_first`
returns; what is left over stays in its line.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

from .priorities import CLASSES

T = TypeVar("T")

BY_AGE = 16
"""Of the deliveries of a handle, each one whose number this divides goes to the class that has waited longest."""


class Turn(NamedTuple):
    """What a handle remembers between claims. A claim that takes nothing does not change it."""

    owed: frozenset[int] = frozenset()
    """The classes whose next delivery is a new message: their last one was one that came back."""
    since: int = 0
    """How many deliveries there were since the last one that was chosen by age, or since the first."""

    def after(self, last: Mapping[int, bool], count: int = 1) -> Turn:
        """Return the turn after so many more deliveries. `last`: by class, whether the last one had come back."""
        came_back = frozenset(number for number in last if last[number])
        return Turn((self.owed - last.keys()) | came_back, (self.since + count) % BY_AGE)


class Lines(NamedTuple, Generic[T]):
    """The ready messages of one class, the first ones of each line."""

    came_back: Sequence[T]
    new: Sequence[T]


class Taken(NamedTuple, Generic[T]):
    """What one claim takes."""

    messages: list[T]
    """The messages to hand out, in order."""
    numbers: dict[int, tuple[int, int]]
    """By class, how many of them came back and how many are new; they are the first ones of their lines."""
    turn: Turn


def take_first(classes: Mapping[int, Lines[T]], limit: int, turn: Turn, age: Callable[[T], float]) -> Taken[T]:
    """Take at most `limit` messages: always from the highest class in which one is ready, within it in turns
    (`take_turns`); but every sixteenth delivery (`BY_AGE`) from the class with the message that became ready first.

    Parameters: `classes`, by class up to `limit` of the first messages of its two lines, or more (a class may be left
    out if it has none); `turn`, that of the handle's last claim, `Turn()` at first; `age`, a number of a message that
    is the smaller the earlier it became ready.
    """
    rest = {number: lines for number in CLASSES if (lines := classes.get(number)) and (lines.came_back or lines.new)}
    messages: list[T] = []
    numbers: dict[int, tuple[int, int]] = {}
    owed, since = set(turn.owed), turn.since
    while len(messages) < limit and rest:
        number, size = next(iter(rest)), limit - len(messages)
        if len(rest) > 1:
            size = min(size, max(1, BY_AGE - 1 - since))
            if since == BY_AGE - 1:
                number = min(rest, key=lambda one: min(age(line[0]) for line in rest[one] if line))
        came_back, new = rest[number]
        turns = take_turns(came_back, new, size, number in owed)
        (owed.add if turns.owed else owed.discard)(number)
        messages += turns.taken
        since = (since + len(turns.taken)) % BY_AGE
        before = numbers.get(number, (0, 0))
        numbers[number] = before[0] + turns.came_back, before[1] + turns.new
        rest[number] = Lines(came_back[turns.came_back :], new[turns.new :])
        if not any(rest[number]):
            del rest[number]
    return Taken(messages, numbers, Turn(frozenset(owed), since))


class Turns(NamedTuple, Generic[T]):
    """What is taken from the two lines of a class."""

    taken: list[T]
    """The messages to hand out, in order."""
    came_back: int
    """How many of them are from the line of those that came back; they are its first ones."""
    new: int
    """How many of them are from the line of new ones; they are its first ones."""
    owed: bool
    """True if the handle's next delivery of this class is a new message: its last one was one that came back."""


def take_turns(came_back: Sequence[T], new: Sequence[T], limit: int, owed: bool) -> Turns[T]:
    """Take at most `limit` of the first messages of two lines, in turns. When one is empty, the other goes on.

    `came_back` and `new` have up to `limit` messages each, or more. If nothing is taken, `owed` stays.
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
