"""The clock for tests, under the name of the kit."""

from ..clock import FakeClock

__all__ = ["FakeClock"]
