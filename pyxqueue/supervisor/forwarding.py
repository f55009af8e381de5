"""Forwards events that a supervisor finds to its workers, which call the observers: a supervisor runs no user code."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from attrs import define, field

from ..inflight import Mailbox
from ..worker.events import Event, packed
from .children import Child

_MOST = 10_000
"""Events that are kept while no worker takes them; of more, the oldest are dropped."""


@define(eq=False)
class EventForwarder:
    """Forwards events to the worker processes. The log has all of them, whether a worker takes them or not."""

    _waiting: deque[bytes] = field(factory=lambda: deque(maxlen=_MOST), init=False)

    def add(self, queue: int, event: Event) -> None:
        """Keep an event for the observer of a queue, which is given by its number.

        One that is larger than a letter, with a name that another program has stored, would hold up all behind it: the
        log alone has it.
        """
        line = packed(queue, event)
        if len(line) <= Mailbox.SIZE:
            self._waiting.append(line)

    def hand_out(self, children: Sequence[Child]) -> None:
        """Forward waiting events to processes that have started."""
        for child in children:
            if not self._waiting:
                return
            if child.table.start.done:
                for _ in range(child.table.mail.put(self._waiting)):
                    self._waiting.popleft()

    def take_back(self, child: Child) -> None:
        """Take back the events that a process has not read before it ended."""
        self._waiting.extendleft(reversed(child.table.mail.take().splitlines(keepends=True)))
