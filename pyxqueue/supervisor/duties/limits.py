"""Declares the limits of the code in the store."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import define, field

from ...inflight import InFlightTable

_AGAIN_AFTER = 10.0
"""Seconds after which it looks again: a store that was emptied has lost the numbers, and tasks run without limits."""


@define(eq=False)
class LimitsDuty:
    """Stores the numbers that the code declares: all of them when the workers start, so that a deployment can change
    them; later, only those that the store does not have."""

    keep: Callable[[bool], None]
    """Stores the numbers; its argument says whether to replace others that are declared."""
    refusal = "limits cannot be stored now"
    retry_after = 1.0
    _has_started: bool = field(default=False, init=False)

    def step(self, tables: Sequence[InFlightTable], now: float) -> float:  # noqa: ARG002
        self.keep(not self._has_started)
        self._has_started = True
        return _AGAIN_AFTER
