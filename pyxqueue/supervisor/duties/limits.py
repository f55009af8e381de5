"""Declares the limits of the code in the store, once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf

from attrs import define

from ...inflight import InFlightTable
from ...protocols import LimitStore


@define(eq=False)
class LimitsDuty:
    """Stores the numbers that the code declares when the workers start, so that a deploy can change them."""

    limits: LimitStore
    numbers: Mapping[str, int]
    refusal = "limits cannot be stored now"
    retry_after = 1.0

    def step(self, tables: Sequence[InFlightTable], now: float) -> float:  # noqa: ARG002
        self.limits.declare(self.numbers, replace=True)
        return inf
