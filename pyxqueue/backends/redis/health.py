"""Whether the server has answered for long enough to say of a silent worker that it is dead."""

from __future__ import annotations

import time
from collections.abc import Callable


class HealthClock:
    """How long we have been in touch with the server without a break: the condition for taking work from the dead.

    After an outage every live worker looks dead, because no lease could be renewed. So no message is reclaimed before
    this side has been in contact for one full lease: by then every live worker has renewed its leases.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._since = self._last = float("-inf")
        self._offset: float | None = None
        self.lost()

    def lost(self) -> None:
        """The server did not answer, or the last contact was too long ago."""
        self._since = self._last = self._monotonic()
        self._offset = None

    def seen(self, lease: int, server_ms: int | None = None) -> None:
        """The server answered. `server_ms` is its clock: a jump of half a lease counts as a break."""
        now = self._monotonic()
        if (now - self._last) * 1000 > lease / 2:
            self.lost()
        self._last = now
        if server_ms is not None:
            offset = server_ms - now * 1000
            if self._offset is not None and abs(offset - self._offset) > lease / 2:
                self.lost()
            self._offset = offset

    def unbroken_ms(self) -> float:
        """Milliseconds of unbroken contact."""
        return (self._last - self._since) * 1000
