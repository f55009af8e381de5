"""What observers hear of that no worker does."""

from __future__ import annotations

from msgspec import Struct


class TickSkipped(Struct, frozen=True):
    """A tick was not enqueued: the task of an earlier tick had not ended (``"overlap"``), or it was missed."""

    schedule: str
    task_name: str
    tick: int
    """The time of the tick, in ms since the epoch."""
    number: int
    """How many ticks, up to this one."""
    reason: str
    """``"overlap"`` or ``"missed"``."""
    queue: str = ""
    """The name of its queue."""
