"""Large batches in steps, each a transaction: others can write in between, and the log of the file stays small."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from ...batching import MAX_ITEMS, batches

Item = TypeVar("Item")


def give_way() -> None:
    """Let other connections use the file: they try every few ms, and would hardly ever find it free."""
    time.sleep(0.001)


def in_steps(items: Sequence[Item], size: Callable[[Item], int] = lambda _: 0) -> Iterator[Sequence[Item]]:
    """The batches of the items, with a turn for others between two of them."""
    for number, batch in enumerate(batches(items, size)):
        if number:
            give_way()
        yield batch


def until_done(step: Callable[[int], int], limit: int | None = None) -> int:
    """Repeat a step, which takes how many items to do and returns how many it did, until none is left or `limit` is
    reached."""
    total = 0
    while True:
        size = MAX_ITEMS if limit is None else min(MAX_ITEMS, limit - total)
        done = step(size)
        total += done
        if done < size or total == limit:
            return total
        give_way()
