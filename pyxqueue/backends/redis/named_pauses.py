"""Whether a task name is paused (L9), as a handle that claims knows it."""

from __future__ import annotations

import time

from ...errors import BrokerError
from ...protocols import StoreOptions
from .faults import StaleGroups
from .keys import meta
from .session import Session

_KNOWN_FOR = 4.5
"""Seconds for which it counts as it was read: no start comes later than 5 s after a pause."""


class NamedPauses:
    """Read with the lease of the group, and noted here."""

    def __init__(self, session: Session, options: StoreOptions) -> None:
        self._session = session
        self._meta = meta(options.stream_key)
        self.field = f"paused_tasks:{options.group}"
        """The field of the meta hash that has the names; it is there while a name is paused."""
        self.asks_all = False
        """Whether each delivery has `must_begin`, because a task name is paused."""
        self.known_until = 0.0
        """Until when that counts, as `time.monotonic` does."""

    def note(self, asks_all: bool) -> None:
        """Note whether a task name is paused, as it was read just now."""
        self.asks_all, self.known_until = asks_all, time.monotonic() + _KNOWN_FOR

    def look(self) -> None:
        """Read whether a task name is paused. If that cannot be read, each start is asked about."""
        try:
            self.note(bool(self._session.execute("HEXISTS", self._meta, self.field)))
        except (BrokerError, StaleGroups):
            self.asks_all = True
