"""Large batches in steps, each a transaction: others can write in between, and the log of the file stays small."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from ...batching import MAX_ITEMS, batches

Item = TypeVar("Item")
Batch = TypeVar("Batch")

PAUSE = 0.001
"""Seconds that the file is left free between two steps."""


def give_way(seconds: float = PAUSE) -> None:
    """Let other connections use the file: they try every few ms, and would hardly ever find it free."""
    time.sleep(seconds)


def in_steps(items: Sequence[Item], size: Callable[[Item], int] = lambda _: 0) -> Iterator[Sequence[Item]]:
    """The batches of the items, with a turn for others between two of them."""
    return in_prepared_steps(items, size, lambda batch: batch)


def in_prepared_steps(
    items: Sequence[Item], size: Callable[[Item], int], prepare: Callable[[Sequence[Item]], Batch]
) -> Iterator[Batch]:
    """What `prepare` makes of the batches. It is called while the file is free, and so is a part of the turn of others,
    which lasts half as long as the last step, and no longer than `PAUSE`."""
    took = 0.0
    for number, batch in enumerate(batches(items, size)):
        begun = time.monotonic()
        prepared = prepare(batch)
        if number:
            give_way(max(0.0, min(PAUSE, took / 2) - (time.monotonic() - begun)))
        begun = time.monotonic()
        yield prepared
        took = time.monotonic() - begun


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
