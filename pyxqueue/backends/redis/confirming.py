"""Waiting until replicas, or a disk, have what a script has stored.

WAIT and WAITAOF count from the last command of their own connection that wrote something. A script that finds its task
stored already writes nothing, and a wait after it would confirm what nobody else has. So something is written between
the two, and all three are sent together on one connection, each time that they are sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from redis.exceptions import NoPermissionError

from ...errors import ConfigurationError, NotDurableError
from ...printable import counted
from . import durability as settings
from .commands import Command
from .durability import Durability
from .keys import meta
from .replicas import Replicas
from .steps import Steps, Together, call_together

T = TypeVar("T")
_TOUCH = """
local layout = redis.call('HGET', KEYS[1], 'layout')
if layout then redis.call('HSET', KEYS[1], 'layout', layout) end
"""
"""Writes what is stored already, and nothing where nothing is. It counts as a write, and leaves no key behind."""
_ASK = """
local said = redis.pcall('INFO', 'replication')
return type(said) == 'string' and said or ''
"""
"""Tells which replicas there are. As the reply to a script, the driver leaves it as it is."""
_FIRST_MS = 250
"""How long the replicas that a master had may take before it matters how many it has now."""


class Confirmer:
    """Has what one queue stores confirmed."""

    def __init__(self, durability: Durability, stream_key: str, url: str, replicas: Callable[[], Replicas]) -> None:
        self._durability = durability
        self._key = meta(stream_key)
        self._url = url
        self._replicas = replicas if durability.takes_all_replicas else None
        """What this process knows of the replicas."""
        self._is_checked = False

    def call(self, command: Command[T], ids: Iterable[str]) -> Steps[T]:
        """`steps.call`, which returns when the result is confirmed. `ids`: what is stored, for the error.

        Raises `NotDurableError` if it was stored, and is not confirmed in time. Raises `ConfigurationError` if the
        server cannot confirm it; the first call does so before anything is stored.
        """
        if not self._is_checked:
            first, reply = yield Together(self._key, [self._write(), self._durability.nothing])
            if first == b"":
                raise self._not_allowed("INFO", " without replicas=")
            self._check(reply)
            self._is_checked = True
        result, replies = yield from call_together(command, self._key, self._question())
        yield from self._confirmed(replies, ids)
        return result

    def confirm(self, ids: Iterable[str]) -> Steps[None]:
        """Return when all is confirmed that the store has by now."""
        replies = yield Together(self._key, self._question())
        yield from self._confirmed(replies, ids)

    def _write(self) -> Sequence[Any]:
        return "EVAL", _TOUCH if self._replicas is None else _TOUCH + _ASK, 1, self._key

    def _question(self) -> Sequence[Sequence[Any]]:
        """The write, and a wait. Where all replicas must confirm, there may be others than at the last call."""
        if self._replicas is None:
            return self._write(), self._durability.wait(settings.PATIENCE_MS)
        return self._question_all(min(_FIRST_MS, settings.PATIENCE_MS), self._replicas())

    def _question_all(self, most_ms: int, replicas: Replicas) -> Sequence[Sequence[Any]]:
        return self._write(), Durability("replica", replicas.last).wait(most_ms), ("EVAL", _ASK, 1, self._key)

    def _confirmed(self, replies: Sequence[Any], ids: Iterable[str]) -> Steps[None]:
        """Return when all that must confirm have done so. `replies`: to `_question`."""
        durability, failed, acknowledged = self._durability, _error(replies), 0
        if not failed and self._replicas is None:
            acknowledged = durability.acknowledged(replies[1])
        elif not failed and self._replicas is not None:
            replicas, stored = self._replicas(), replies[0]
            acknowledged, wanted = replicas.confirmed(stored, replies[2])
            if acknowledged < wanted:
                replies = yield Together(self._key, self._question_all(settings.PATIENCE_MS, replicas))
                if not (failed := _error(replies)):
                    acknowledged, wanted = replicas.confirmed(stored, replies[2])
            durability = Durability("replica", wanted)
        self._check(failed)
        if failed or acknowledged < durability.wanted:
            raise self._not_durable(durability, 0 if failed else acknowledged, failed, tuple(ids))

    def _not_durable(
        self, durability: Durability, acknowledged: int, failed: Exception | None, ids: Sequence[str]
    ) -> NotDurableError:
        why = f": {type(failed).__name__}" if failed else f" within {settings.PATIENCE_MS / 1000:g} s"
        return NotDurableError(
            f"the store at {self._url} has {counted(len(ids), 'item')}, not confirmed to be on {durability.where}: "
            f"{acknowledged} of {durability.wanted} answered{why}; a crash or a failover may lose what was stored, "
            f"call again with the same id to have it confirmed",
            acknowledged=acknowledged,
            wanted=durability.wanted,
            ids=ids,
        )

    def _not_allowed(self, command: str, where: str = "") -> ConfigurationError:
        return ConfigurationError(
            f"this user may not run {command} on the store at {self._url}, which durability= needs{where}: allow it "
            f"with ACL SETUSER ... +{command.lower()}"
        )

    def _check(self, reply: Any) -> None:
        """Raise `ConfigurationError` if the server says that it cannot wait, or not for its disk."""
        if isinstance(reply, NoPermissionError):
            raise self._not_allowed(self._durability.nothing[0])
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


def _error(replies: Sequence[Any]) -> Exception | None:
    return next((one for one in replies if isinstance(one, Exception)), None)
