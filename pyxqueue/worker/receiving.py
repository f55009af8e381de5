"""The thread of a worker that receives events from the supervisor, and calls the observers."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from attrs import define, field

from ..inflight import Mailbox
from .events import Observer, tell, unpacked

_EVERY = 0.2
"""Seconds between two looks."""


@define(eq=False)
class EventReceiver:
    """Takes what the supervisor has put into the mailbox, and tells the observers. It has a thread of its own, so that
    an observer that takes long delays no time limit; and only if there is an observer."""

    mail: Mailbox
    observers: Sequence[Observer | None]
    """By the number of the queue."""
    _closed: threading.Event = field(factory=threading.Event, init=False)

    def run(self) -> None:
        """Look until closed, and once more."""
        while not self._closed.wait(_EVERY):
            self.look()
        self.look()

    def look(self) -> None:
        for queue, event in unpacked(self.mail.take()):
            tell(self.observers[queue], event)

    def close(self) -> None:
        """Make `run` return."""
        self._closed.set()
