"""Interrupts a call at a chosen one of the places where Python raises what another thread or a signal handler has asked
for: when a function begins, and when one in C has returned."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any


class Interrupt(BaseException):
    """What is raised."""


def interrupted(call: Callable[[], object], at: int) -> bool:
    """Make a call, and raise `Interrupt` at the place of this number. Returns False if the call has fewer places."""
    left = at

    def on_event(_frame: FrameType, event: str, _arg: Any) -> None:
        nonlocal left
        if event in ("call", "c_return"):
            left -= 1
            if left < 0:
                sys.setprofile(None)
                raise Interrupt

    sys.setprofile(on_event)
    try:
        call()
    except Interrupt:
        pass
    finally:
        sys.setprofile(None)
    return left < 0


def places(call: Callable[[], object]) -> Iterator[int]:
    """Interrupt a call at each of its places, one after the other, and yield the number of each."""
    at = 0
    while interrupted(call, at):
        yield at
        at += 1
