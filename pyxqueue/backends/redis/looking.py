"""When to ask the Sentinels again which server is the master."""

from __future__ import annotations

import time
from collections.abc import Callable

_EVERY, _AFTER_FAILURE = 1.0, 10.0
"""Seconds between two questions, and after one that no Sentinel answered."""


class MasterLook:
    """Says when a client in use asks the Sentinels which server is the master.

    After a failover that was ordered, the old master takes writes for some seconds more, which are lost when it becomes
    a replica; nothing else tells a client that is connected to it.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._next = monotonic() + _EVERY

    def is_due(self) -> bool:
        """Return whether to ask now. The next question is due some time later."""
        now = self._monotonic()
        if now < self._next:
            return False
        self._next = now + _EVERY
        return True

    def failed(self) -> None:
        """Note that no Sentinel has answered."""
        self._next = self._monotonic() + _AFTER_FAILURE
