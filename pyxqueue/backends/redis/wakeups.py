"""The subscription of a supervisor: it says when a delayed message has become the first one to be due.

A supervisor has one thread, which forks, so that it cannot use the listening thread: it waits on the socket itself.
A message published while the subscription is down is lost, so the end of one and the begin of one are wake-ups too.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

from .connect import Client
from .keys import GroupKeys
from .reclaiming import Reclaimer
from .registration import Registration
from .session import REPLY_TIMEOUT
from .subscribing import Subscription

_ORDER = b"order"
"""What `give_order` publishes."""
_OPEN_EVERY = 5.0
"""The least seconds between two attempts to subscribe: an ACL may forbid it."""


class RedisWakeups:
    """The `Wakeups` protocol. `put` in `_common.lua` publishes how many ms are left, on the channel that has the name
    of the delayed set."""

    def __init__(self, registration: Registration, reclaimer: Reclaimer) -> None:
        options = registration.options
        self._channel = GroupKeys.of(options.stream_key, options.group, "").delayed
        self._config = registration.session.config
        self._reclaimer = reclaimer
        self._client: Client | None = None
        self._subscription: Subscription | None = None
        self._next_open = 0.0
        self.orders = 0

    def listen(self) -> int:
        now = time.monotonic()
        if self.fileno() < 0 and now >= self._next_open:
            self._next_open = now + _OPEN_EVERY
            self._open()
        return 0 if self.fileno() < 0 else round(self._reclaimer.period_ms)

    def _open(self) -> None:
        self.close()
        with suppress(Exception):  # whatever the driver raises: the caller looks more often then
            self._client = self._config.open(timeout=REPLY_TIMEOUT, retries=0)
            self._subscription = Subscription(self._client, self._channel)
            self._subscription.subscribe(self._channel)

    def fileno(self) -> int:
        found = None if self._subscription is None else self._subscription.socket
        return -1 if found is None else found.fileno()

    def read(self) -> int:
        left = list[int]()
        try:
            while self._subscription is not None and (message := self._subscription.get_message()) is not None:
                left.append(_ms_left(message))
                self.orders += message["data"] == _ORDER
        except Exception:  # noqa: BLE001 - as above
            self.close()
            return 0
        return min(left, default=-1)

    def close(self) -> None:
        for one in (self._subscription, self._client):
            if one is not None:
                with suppress(Exception):  # it is broken
                    one.close()
        self._subscription = self._client = None


def _ms_left(message: Any) -> int:
    """The ms in a wake-up. What another program has published, and the begin of a subscription, mean: now."""
    data = message["data"]
    is_number = message["type"] == "message" and isinstance(data, bytes) and data.isdigit() and len(data) <= 16
    return int(data) if is_number else 0
