"""`QueueCore`, the values that all parts of one queue share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from .codec import Codec
from .protocols import StoreOptions
from .registry import Registry

if TYPE_CHECKING:
    from .model.failed import FailedLimits
    from .model.schedules import Schedule
    from .plugin import Plugins
    from .resources import Resources
    from .worker.events import Observer


class QueueCore(Struct, frozen=True, eq=False):
    """The options, codec, tasks and observer of one `TaskQueue`."""

    options: StoreOptions
    codec: Codec
    registry: Registry
    observer: Observer | None = None
    schedules: Callable[[], Sequence[Schedule]] = tuple
    """Returns the schedules that the code declares."""
    plugins: Plugins | None = None
    """None if there are none, so that they cost nothing."""
    resources: list[Resources] = []
    """Empty, or the one `Resources` of the queue."""
    statistics: bool = False
    """Whether workers count how tasks end."""
    failed: FailedLimits | None = None
    """Which failed tasks are deleted; None if all are kept."""
