"""The priority of a message, and the five classes in which it is acted upon (B2)."""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

LOWEST, HIGHEST = -100, 100
"""The range of a priority. A task with a higher number is started sooner."""

CLASSES: Final = (2, 1, 0, -1, -2)
"""The classes, in the order in which they are claimed."""
_STARTS = (-49, 0, 1, 50)
"""The least priority of each class but the last, from the second lowest on."""


def class_of(priority: int) -> int:
    """Return the class of a priority: 2 from 50 on, 1 from 1 on, 0 for 0, -1 from -49 on, and -2 below."""
    return bisect_right(_STARTS, priority) - 2
