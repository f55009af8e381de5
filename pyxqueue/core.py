"""The values that all parts of one queue share."""

from __future__ import annotations

from attrs import frozen

from .codec import Codec
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
