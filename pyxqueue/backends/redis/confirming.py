"""Waiting until replicas, or a disk, have what a script has stored.

WAIT and WAITAOF count from the last command of their own connection that wrote something. A script that finds its task
stored already writes nothing, and a wait after it would confirm what nobody else has. So something is written between
the two, and all three are sent together on one connection, each time that they are sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from redis.exceptions import NoPermissionError

from ...errors import ConfigurationError, NotDurableError
from ...printable import counted
from . import durability as settings
from .commands import Command
from .durability import Durability
from .keys import meta
from .replicas import Replicas, master_of
from .steps import Steps, Together, call_together

T = TypeVar("T")
_TOUCH = """
local layout = redis.call('HGET', KEYS[1], 'layout')
if layout then redis.call('HSET', KEYS[1], 'layout', layout) end
"""
"""Writes what is stored already, and nothing where nothing is. It counts as a write, and leaves no key behind."""
_TOUCH_AND_ASK = f"""{_TOUCH}
local facts = redis.pcall('INFO', 'replication')
return type(facts) == 'string' and facts or ''
"""
"""Also tells which replicas there are. As the reply to a script, the driver leaves it as it is."""
_FIRST_MS = 250
"""How long the replicas that a master had may take before it matters how many it has now."""


class Confirmer:
    """Has what one queue stores confirmed."""

    def __init__(self, durability: Durability, stream_key: str, url: str) -> None:
        self._durability = durability
        self._replicas = Replicas() if durability.takes_all_replicas else None
        self._key = meta(stream_key)
        self._url = url
        self._touch = "EVAL", _TOUCH if self._replicas is None else _TOUCH_AND_ASK, 1, self._key
        self._is_checked = durability.word != "aof"

    def call(self, command: Command[T], ids: Iterable[str]) -> Steps[T]:
        """`steps.call`, which returns when the result is confirmed. `ids`: what is stored, for the error.

        Raises `NotDurableError` if it was stored, and is not confirmed in time. Raises `ConfigurationError` if the
        server cannot confirm it; the first call does so before anything is stored.
        """
        if not self._is_checked:
            _, reply = yield Together(self._key, [self._touch, ("WAITAOF", 1, 0, 1)])
            self._check(reply)
            self._is_checked = True
        result, replies = yield from call_together(command, self._key, self._question())
        yield from self._confirmed(replies, ids)
        return result

    def confirm(self, ids: Iterable[str]) -> Steps[None]:
        """Return when all is confirmed that the store has by now."""
        replies = yield Together(self._key, self._question())
        yield from self._confirmed(replies, ids)

    def _question(self) -> Sequence[Sequence[Any]]:
        """The write, and a wait. Where all replicas must confirm, their number may be another since it was read."""
        if self._replicas is None:
            return self._touch, self._durability.wait(settings.PATIENCE_MS)
        return self._touch, Durability("replica", self._replicas.last).wait(min(_FIRST_MS, settings.PATIENCE_MS))

    def _confirmed(self, replies: Sequence[Any], ids: Iterable[str]) -> Steps[None]:
        """Return when all that must confirm have done so. `replies`: to `_question`."""
        wanted, (written, confirmed) = self._durability, replies
        if written == b"":
            raise self._not_allowed("INFO", " without replicas=")
        if self._replicas is not None and isinstance(written, bytes):
            wanted = Durability("replica", self._replicas.number_of(written))
            if isinstance(confirmed, int) and confirmed < wanted.wanted:
                asked = master_of(written)
                written, confirmed = yield Together(self._key, (self._touch, wanted.wait(settings.PATIENCE_MS)))
                if isinstance(written, bytes) and master_of(written) != asked:
                    confirmed = 0  # another server confirms what that one has
        self._judge(wanted, written, confirmed, ids)

    def _judge(self, durability: Durability, written: Any, confirmed: Any, ids: Iterable[str]) -> None:
        self._check(confirmed)
        failed = next((one for one in (written, confirmed) if isinstance(one, Exception)), None)
        acknowledged = 0 if failed else durability.acknowledged(confirmed)
        wanted = durability.wanted
        if acknowledged < wanted:
            stored = tuple(ids)
            why = f": {type(failed).__name__}" if failed else f" within {settings.PATIENCE_MS / 1000:g} s"
            raise NotDurableError(
                f"the store at {self._url} has {counted(len(stored), 'item')}, not confirmed to be on "
                f"{durability.where}: {acknowledged} of {wanted} answered{why}; a crash or a failover may "
                f"lose what was stored, call again with the same id to have it confirmed",
                acknowledged=acknowledged,
                wanted=wanted,
                ids=stored,
            )

    def _not_allowed(self, command: str, where: str = "") -> ConfigurationError:
        return ConfigurationError(
            f"this user may not run {command} on the store at {self._url}, which durability= needs{where}: allow it "
            f"with ACL SETUSER ... +{command.lower()}"
        )

    def _check(self, reply: Any) -> None:
        """Raise `ConfigurationError` if the server says that it cannot wait, or not for its disk."""
        if isinstance(reply, NoPermissionError):
            raise self._not_allowed(self._durability.wait(0)[0])
        text = str(reply).lower() if isinstance(reply, Exception) else ""
        if "unknown command" in text:
            raise ConfigurationError(
                f"durability=aof needs a server with WAITAOF, which is Redis 7.2 or newer, or Valkey; the one at "
                f"{self._url} is older: upgrade it, or use durability=replica"
            )
        if "appendonly" in text:
            raise ConfigurationError(
                f"durability=aof needs an append-only file, and the server at {self._url} has none: set appendonly yes"
            )
