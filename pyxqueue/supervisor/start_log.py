"""Logs worker processes that fail to start or start slowly, in few lines, however many there are."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from attrs import define, field

from ..printable import LONGEST_LINE, Lines, indented, printable
from ..worker.events import Throttle
from .children import Child

_SLOW = 60.0
"""Seconds after which a process that has not started is logged as slow."""


@define(eq=False)
class StartLog:
    """Logs failed and slow starts. Once a process has started, the next failure is logged at once."""

    _failures: Throttle = field(factory=lambda: Throttle("%d more worker processes did not start", 3, 60.0))
    _slow: Throttle = field(factory=lambda: Throttle("%d more worker processes take long to start", 3, 60.0))
    _failing: bool = False

    def failed(self, child: Child, code: int) -> None:
        """Log that the process of a child ended before it had started."""
        self._failing = True
        what, _, trace = child.table.start.text().partition("\n")
        said = f"while {printable(what, LONGEST_LINE)}; fix that, or stop the workers" if what else "while it started"
        below = f"\n{indented(trace)}" if trace else ""
        pause = max(0.0, child.restart_at - time.monotonic())
        text = "worker process %s ended with %s %s; it is started again in %.1f s%s"
        self._failures.log(logging.ERROR, text, child.consumer, code, Lines(said), pause, Lines(below))

    def look(self, alive: Sequence[Child]) -> None:
        """Log the children that are slow, and note whether one has started after failures."""
        waiting = [child for child in alive if not child.table.start.done]
        if self._failing and len(waiting) < len(alive):
            self._failing = False
            self._failures.reset()
        now = time.monotonic()
        for child in waiting:
            if not child.slow and now - child.born > _SLOW:
                child.slow = True
                what = child.table.start.text().partition("\n")[0] or "it started"
                text = "worker process %s has not started after %.0f s, while %s"
                self._slow.log(logging.WARNING, text, child.consumer, now - child.born, what)
