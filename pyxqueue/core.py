"""The values that all parts of one queue share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import frozen

from .codec import Codec
from .model.schedules import Schedule
from .protocols import StoreOptions
from .registry import Registry
from .worker.events import Observer


@frozen(eq=False)
class QueueCore:
    """The options, codec, tasks and observer of one `TaskQueue`."""

    options: StoreOptions
    codec: Codec
    registry: Registry
    observer: Observer | None = None
    schedules: Callable[[], Sequence[Schedule]] = tuple
    """Returns the schedules that the code declares."""
