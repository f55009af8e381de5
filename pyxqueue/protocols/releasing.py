"""`release` of any backend, also of one that was written before it had `past`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from inspect import signature

from .core import Broker


def release(broker: Broker, consumer: str, started: Sequence[str], past: Mapping[str, str]) -> int:
    """Release what a consumer had. `past` is left out if the broker's method has no such parameter."""
    if past and "past" in signature(broker.release).parameters:
        return broker.release(consumer, started, past)
    return broker.release(consumer, started)
