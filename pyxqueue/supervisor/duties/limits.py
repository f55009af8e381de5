"""Declares the limits of the code in the store, once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf

from attrs import define

from ...inflight import InFlightTable


@define(eq=False)
class LimitsDuty:
    """Stores the numbers that the code declares when the workers start, so that a deploy can change them."""

    keep: Callable[[bool], None]
    """Stores them; its argument says whether to replace others that are declared."""
    refusal = "limits cannot be stored now"
    retry_after = 1.0

    def step(self, tables: Sequence[InFlightTable], now: float) -> float:  # noqa: ARG002
        self.keep(True)
        return inf
