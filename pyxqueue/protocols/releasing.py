"""`release` of any backend, also of one that was written before it had `how`."""

from __future__ import annotations

from collections.abc import Sequence
from inspect import signature

from .core import Broker


def release(broker: Broker, consumer: str, started: Sequence[str], how: str) -> int:
    """Release what a consumer had. `how` is left out if the broker's method has no such parameter."""
    if how and "how" in signature(broker.release).parameters:
        return broker.release(consumer, started, how)
    return broker.release(consumer, started)
