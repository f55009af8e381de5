"""A bulk of work in steps, each a transaction: others write in between, and the log of the file stays small."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from ...batching import MAX_ITEMS, batches

T = TypeVar("T")
Item = TypeVar("Item")

_TURN = 0.001


def give_way() -> None:
    """Let others have the file: they try every few ms, and would hardly ever find it free."""
    time.sleep(_TURN)


def in_steps(
    items: Sequence[Item], work: Callable[[Sequence[Item]], Sequence[T]], size: Callable[[Item], int] = lambda _: 0
) -> list[T]:
    """Do the work for a batch of items after the other, and put the answers together."""
    answers: list[T] = []
    for number, batch in enumerate(batches(items, size)):
        if number:
            give_way()
        answers += work(batch)
    return answers


def until_done(step: Callable[[int], int], limit: int | None = None) -> int:
    """Repeat a step, which answers how much it did of what it was told, until nothing is left or `limit` is reached."""
    total = 0
    while True:
        size = MAX_ITEMS if limit is None else min(MAX_ITEMS, limit - total)
        done = step(size)
        total += done
        if done < size or total == limit:
            return total
        give_way()
