"""What a look at a queue and its store has found, for an operator."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct


class Finding(Struct, frozen=True):
    """The result of one check."""

    level: Literal["ok", "warning", "error"]
    """``"error"``: tasks are in danger, or none runs. ``"warning"``: they may be one day."""
    topic: str
    """What was checked, in a word or two."""
    text: str
    """What was found."""
    remedy: str = ""
    """What to do about it; empty if there is nothing to do."""
