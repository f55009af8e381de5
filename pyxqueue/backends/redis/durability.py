"""Where a task must be stored before the call that enqueued it returns: on the server, its replicas, or its disk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qsl

from msgspec import Struct

from ...errors import ConfigurationError
from ...printable import counted, quoted
from ...urls import is_readable, shown

WORDS = ("normal", "replica", "aof")
_OPTIONS = ("durability", "replicas")
_MOST_REPLICAS = 100
PATIENCE_MS = 3_000
"""How long replicas and the disk have to confirm. With `appendfsync everysec`, a disk may take two seconds; a reply is
waited for 5 s."""


class Durability(Struct, frozen=True):
    """How durable what a program stores must be when its call returns."""

    word: str = "normal"
    """``"normal"``: the server has it; ``"replica"``: its replicas have it, or so many of them; ``"aof"``: it is in the
    append-only file on the server's disk, and on the disks of so many replicas."""
    replicas: int | None = None
    """How many replicas; by default all for ``"replica"``, none for ``"aof"``."""

    def of(self, word: str) -> Durability:
        """Return that of calls with another word: with as many replicas."""
        return Durability(_known(word), self.replicas)

    @property
    def takes_all_replicas(self) -> bool:
        """Whether each replica of the server must confirm, and one at least."""
        return self.word == "replica" and self.replicas is None

    @property
    def nothing(self) -> Sequence[Any]:
        """The command that waits for nothing, to see whether the server can."""
        return ("WAITAOF", 1, 0, 1) if self.word == "aof" else ("WAIT", 0, 1)

    def wait(self, most_ms: int) -> Sequence[Any]:
        """Return the command that waits until what its connection wrote last is confirmed, or for so long."""
        if self.word == "aof":
            return "WAITAOF", 1, self.replicas or 0, most_ms
        return "WAIT", self.replicas or 1, most_ms

    @property
    def wanted(self) -> int:
        """How many must confirm."""
        return 1 + (self.replicas or 0) if self.word == "aof" else self.replicas or 1

    def acknowledged(self, reply: Any) -> int:
        """How many of these have confirmed, by the reply to `wait`."""
        if self.word == "aof":
            return min(int(reply[0]), 1) + min(int(reply[1]), self.replicas or 0)
        return min(int(reply), self.wanted)

    @property
    def told(self) -> str:
        """What it means, for people."""
        where = "each replica that is connected, one at least" if self.takes_all_replicas else self.where
        return f"{self.word}: a call returns when what it stored is on {where}"

    @property
    def where(self) -> str:
        """Where it must be, for people."""
        if self.word == "replica":
            return counted(self.wanted, "replica")
        return "the disk of the server" + (f" and of {counted(self.replicas, 'replica')}" if self.replicas else "")


NORMAL = Durability()


def durability_of(url: str) -> tuple[str, Durability]:
    """Return a URL without the options ``durability`` and ``replicas``, and what they say. Raises `ConfigurationError`
    for values that they cannot have."""
    base, _, query = url.partition("?")
    if not is_readable(url) or not any(f"{name}=" in query for name in _OPTIONS):
        return url, NORMAL
    parts = query.split("&")
    ours = [part for part in parts if part.partition("=")[0] in _OPTIONS]
    left = "&".join(part for part in parts if part not in ours)
    return f"{base}?{left}" if left else base, _read(dict(parse_qsl("&".join(ours), keep_blank_values=True)), url)


def _known(word: str) -> str:
    if word not in WORDS:
        raise ConfigurationError(
            f"durability={quoted(word)} is not known: for Redis it is {', '.join(WORDS[:-1])} or {WORDS[-1]}"
        )
    return word


def _read(options: dict[str, str], url: str) -> Durability:
    word, replicas = _known(options.get("durability", "normal")), options.get("replicas")
    if replicas is not None and not (
        replicas.isascii() and replicas.isdecimal() and 1 <= int(replicas) <= _MOST_REPLICAS
    ):
        raise ConfigurationError(
            f"replicas={quoted(replicas)} of {shown(url)} is not valid: give a number from 1 to {_MOST_REPLICAS}"
        )
    return Durability(word, None if replicas is None else int(replicas))
