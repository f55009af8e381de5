"""From which of several queues a worker claims next. No I/O, and no clock: only what was claimed so far counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

PASSED_OVER = 16
"""In strict order, how many claims in a row may pass over a queue that is later in the order."""


class Order(Protocol):
    """Decides the order of the queues, by their numbers."""

    def next(self) -> Sequence[int]:
        """Return all queues, the one whose turn it is first."""
        ...

    def claimed(self, queue: int, messages: int) -> None:
        """Note that a queue was asked, and how many messages came of it."""
        ...


class ByWeight:
    """Gives each queue that has work a part of the messages in proportion to its weight.

    Each queue has a mark that moves by the number of its messages, divided by its weight; the smallest mark is next. A
    queue that had no work for some time continues at the mark of the others, so that it has nothing to catch up.
    """

    def __init__(self, weights: Sequence[float]) -> None:
        self._weights = weights
        self._marks = [0.0] * len(weights)
        self._now = 0.0

    def next(self) -> Sequence[int]:
        return sorted(range(len(self._marks)), key=self._marks.__getitem__)

    def claimed(self, queue: int, messages: int) -> None:
        if messages:
            self._now = max(self._now, self._marks[queue])
            self._marks[queue] = self._now + messages / self._weights[queue]


class Strict:
    """Lets the first queue with work win. After `PASSED_OVER` claims in a row that passed over a later queue, that one
    is first once, so that it is late but not forgotten."""

    def __init__(self, queues: int) -> None:
        self._passed = [0] * queues
        """By queue: the claims that passed over it since it was asked."""

    def next(self) -> Sequence[int]:
        return sorted(range(len(self._passed)), key=lambda queue: (self._passed[queue] < PASSED_OVER, queue))

    def claimed(self, queue: int, messages: int) -> None:
        self._passed[queue] = 0
        if messages:
            for later in range(queue + 1, len(self._passed)):
                self._passed[later] += 1


class Turns(Struct, frozen=True):
    """In which turns workers claim from several queues: in equal ones, by weight, or in strict order."""

    strict: bool = False
    weights: Sequence[float] = ()
    """One for each queue; empty for equal ones."""

    def order(self, queues: int) -> Order:
        return Strict(queues) if self.strict else ByWeight(self.weights or [1.0] * queues)


EQUAL = Turns()
