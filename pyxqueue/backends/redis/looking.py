"""When and how to ask the Sentinels which server is the master."""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import redis.asyncio.sentinel
import redis.sentinel
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.sentinel import MasterNotFoundError

from ...printable import class_of, quoted

Place: TypeAlias = tuple[str, int]
"""A host and a port."""
_ADDRESS = "SENTINEL GET-MASTER-ADDR-BY-NAME"
_SILENT = (RedisConnectionError, RedisTimeoutError)
"""What a question to a Sentinel raises that does not answer."""

_EVERY, _AFTER_FAILURE = 1.0, 10.0
"""Seconds between two questions, and after one that no Sentinel answered."""
_STALE = 60.0
"""For how many seconds another Sentinel may still name the server that was the master before."""


class NoSentinelError(MasterNotFoundError):
    """No Sentinel has answered. Where some have, and know no master, the failover is still to come."""


class MasterLook:
    """The master of one service as this process knows it, and when to ask the Sentinels again.

    After a failover that was ordered, the old master takes writes for some seconds more, which are lost when it becomes
    a replica; nothing else tells a client that is connected to it. All clients of a process leave it together: one that
    still asked it would not find what another has stored.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._next = monotonic() + _EVERY
        self._pid = os.getpid()
        self.place: Place | None = None
        """Where the master is; None if no Sentinel has named it yet."""
        self._epoch = 0
        self._left: tuple[Place, int, float] | None = None
        """The master before, with its epoch, and when it was left."""

    def is_due(self) -> bool:
        """Return whether to ask now. Until the answer is noted, nobody else is to ask, as it may take seconds."""
        now = self._monotonic()
        if now < self._next and self._pid == os.getpid():  # in a fork, the thread that has asked is not there
            return False
        self._pid, self._next = os.getpid(), now + _AFTER_FAILURE
        return True

    def asked(self, *, in_vain: bool) -> None:
        """Note the end of the question. `in_vain`: no Sentinel has answered."""
        self._next = self._monotonic() + (_AFTER_FAILURE if in_vain else _EVERY)

    @contextmanager
    def asking(self) -> Iterator[None]:
        """While inside, the Sentinels are asked. It notes the end, and swallows what that raises."""
        in_vain = False
        try:
            yield
        except MasterNotFoundError as error:
            in_vain = isinstance(error, NoSentinelError)
        except (OSError, RedisError):
            in_vain = True
        finally:
            self.asked(in_vain=in_vain)

    def named(self, place: Place, epoch: int) -> Place:
        """Note which server a Sentinel has named, with the epoch of its configuration. Returns the master: not the one
        before, if that Sentinel only has not heard of the failover yet."""
        now = self._monotonic()
        if self.place is not None and place != self.place:
            if self._left is not None:
                before, its_epoch, since = self._left
                if place == before and epoch <= its_epoch and now - since < _STALE:
                    return self.place
            self._left = self.place, max(epoch, self._epoch), now
        self.place, self._epoch = place, max(epoch, self._epoch)
        return place


_looks: weakref.WeakValueDictionary[Hashable, MasterLook] = weakref.WeakValueDictionary()


def look_of(service: Hashable) -> MasterLook:
    """Return what this process knows of a service: the same for each client of it."""
    return _looks.setdefault(service, MasterLook())


class Sentinels(redis.sentinel.Sentinel):
    """Sentinels that say which server is the master now.

    redis-py looks the address up in their list of masters. In a failover, that list names the old master until every
    replica follows the new one, which may take minutes; the address of a master by its name is the new one as soon as
    that takes writes.
    """

    def __init__(self, clients: Sequence[Any], least: int, forced: str | None, look: MasterLook) -> None:
        super().__init__([], min_other_sentinels=least)  # type: ignore[no-untyped-call]  # redis-py has no type there
        self.sentinels = list(clients)
        self.look = look
        self._answers = _Answers(least, forced, look)

    def discover_master(self, service_name: str) -> Place:
        """Return the address of the master. Raises `MasterNotFoundError` if no Sentinel knows one."""
        silent = list[str]()
        for number, sentinel in enumerate(list(self.sentinels)):
            try:
                masters: Any = sentinel.sentinel_masters()
                address = sentinel.execute_command(_ADDRESS, service_name)
            except _SILENT as error:
                silent.append(f"{class_of(error)}: {error}")
                continue
            if (place := self._answers.read(masters.get(service_name), address)) is not None:
                self.sentinels[0], self.sentinels[number] = self.sentinels[number], self.sentinels[0]
                return place
        raise _not_found(service_name, silent, len(self.sentinels))


class AsyncSentinels(redis.asyncio.sentinel.Sentinel):
    """`Sentinels` for asyncio."""

    def __init__(self, clients: Sequence[Any], least: int, forced: str | None, look: MasterLook) -> None:
        super().__init__([], min_other_sentinels=least)  # type: ignore[no-untyped-call]  # redis-py has no type there
        self.sentinels = list(clients)
        self.look = look
        self._answers = _Answers(least, forced, look)

    async def discover_master(self, service_name: str) -> Place:
        """Return the address of the master. Raises `MasterNotFoundError` if no Sentinel knows one."""
        silent = list[str]()
        for number, sentinel in enumerate(list(self.sentinels)):
            try:
                masters: Any = await sentinel.sentinel_masters()
                address = await sentinel.execute_command(_ADDRESS, service_name)
            except _SILENT as error:
                silent.append(f"{class_of(error)}: {error}")
                continue
            if (place := self._answers.read(masters.get(service_name), address)) is not None:
                self.sentinels[0], self.sentinels[number] = self.sentinels[number], self.sentinels[0]
                return place
        raise _not_found(service_name, silent, len(self.sentinels))


class _Answers:
    """Reads what a Sentinel answers. `least`: how many others it must see; `forced`: the host to take in place of the
    one that it names."""

    def __init__(self, least: int, forced: str | None, look: MasterLook) -> None:
        self._least = least
        self._forced = forced
        self._look = look

    def read(self, state: Mapping[str, Any] | None, address: Sequence[str | bytes] | None) -> Place | None:
        """Return the master; None if this Sentinel knows none that it thinks to be up."""
        if not state or state["num-other-sentinels"] < self._least:
            return None
        known: Place = state["ip"], int(state["port"])
        host, port = (one.decode() if isinstance(one, bytes) else one for one in address) if address else known
        is_down = not state["is_master"] or state["is_sdown"] or state["is_odown"]
        if is_down and (host, int(port)) == known:  # else its replica was promoted already
            return None
        return self._look.named((self._forced or host, int(port)), int(state.get("config-epoch", 0)))


def _not_found(service_name: str, silent: Sequence[str], count: int) -> MasterNotFoundError:
    kind = NoSentinelError if len(silent) == count else MasterNotFoundError
    return kind(f"No master found for {quoted(service_name)}" + (f" : {', '.join(silent)}" if silent else ""))


def forced_host(manager: redis.sentinel.Sentinel) -> str | None:
    """Return the host that a program wants in place of what the Sentinels say. Older releases of redis-py cannot."""
    forced: str | None = getattr(manager, "_force_master_ip", None)
    return forced
