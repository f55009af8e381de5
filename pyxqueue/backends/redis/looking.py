"""When and how to ask the Sentinels which server is the master."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import redis.asyncio.sentinel
import redis.sentinel

Place: TypeAlias = tuple[str, int]
"""A host and a port."""
_ADDRESS = "SENTINEL GET-MASTER-ADDR-BY-NAME"

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
        """Return whether to ask now. Until the answer is noted, nobody else is to ask, as it may take seconds."""
        now = self._monotonic()
        if now < self._next:
            return False
        self._next = now + _AFTER_FAILURE
        return True

    def asked(self, *, in_vain: bool) -> None:
        """Note the end of the question. `in_vain`: no Sentinel has answered."""
        self._next = self._monotonic() + (_AFTER_FAILURE if in_vain else _EVERY)


class Sentinels(redis.sentinel.Sentinel):
    """Sentinels that say which server is the master now.

    redis-py looks the address up in their list of masters. In an ordered failover, that list names the old master until
    every replica follows the new one, which may take minutes; the address of a master by its name is the new one as
    soon as that takes writes.
    """

    def __init__(self, clients: Sequence[Any], least: int, forced: str | None) -> None:
        super().__init__([], min_other_sentinels=least)  # type: ignore[no-untyped-call]  # redis-py has no type there
        self.sentinels = list(clients)
        self._forced = forced

    def discover_master(self, service_name: str) -> Place:
        """Return the address of the master. Raises `MasterNotFoundError` if no Sentinel knows one."""
        # The Sentinel that knows it is the first one then.
        known = super().discover_master(service_name)  # type: ignore[no-untyped-call]  # redis-py has no type there
        return _current(known, self.sentinels[0].execute_command(_ADDRESS, service_name), self._forced)


class AsyncSentinels(redis.asyncio.sentinel.Sentinel):
    """`Sentinels` for asyncio."""

    def __init__(self, clients: Sequence[Any], least: int, forced: str | None) -> None:
        super().__init__([], min_other_sentinels=least)  # type: ignore[no-untyped-call]  # redis-py has no type there
        self.sentinels = list(clients)
        self._forced = forced

    async def discover_master(self, service_name: str) -> Place:
        """Return the address of the master. Raises `MasterNotFoundError` if no Sentinel knows one."""
        known = await super().discover_master(service_name)
        return _current(known, await self.sentinels[0].execute_command(_ADDRESS, service_name), self._forced)


def forced_host(manager: redis.sentinel.Sentinel) -> str | None:
    """Return the host that a program wants in place of what the Sentinels say. Older releases of redis-py cannot."""
    forced: str | None = getattr(manager, "_force_master_ip", None)
    return forced


def _current(known: Place, reply: Sequence[str | bytes] | None, forced: str | None) -> Place:
    """Return what a Sentinel has replied; `known` if it has forgotten the master meanwhile."""
    if not reply:
        return known
    host, port = (one.decode() if isinstance(one, bytes) else one for one in reply)
    return forced or host, int(port)
