"""The `HasPresence` protocol on Redis."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from ...model.presence import MAX_SUPERVISORS, REMEMBERED_MS, Order, OrderKind, Present
from .commands import Arg, Command
from .keys import GroupKeys, presence_keys
from .reading import pairs
from .registration import Registration

_SAID = re.compile(rb"(\d{1,15}) (.*)", re.DOTALL)
_TIME = re.compile(rb"\d{1,15}(\.\d+)?")


class RedisPresence:
    """The `HasPresence` protocol. An announcement is kept as its text, after for how many ms it holds."""

    def __init__(self, registration: Registration) -> None:
        self._registration = registration

    def announce(self, supervisor: str, keep_ms: int, text: str) -> Order | None:
        def build(keys: GroupKeys) -> Command[Order | None]:
            args: list[Arg] = [keys.group, supervisor, keep_ms, text]
            return Command("announce", [keys.meta, *presence_keys(keys)], args, _order)

        return self._registration.do(build)

    def leave(self, supervisor: str) -> None:
        self._registration.do(lambda keys: Command("leave", presence_keys(keys), [supervisor], bool))

    def present(self) -> Sequence[Present]:
        return present(self._registration)

    def give_order(self, supervisor: str, kind: OrderKind) -> bool:
        return self._registration.do(
            lambda keys: Command("give_order", [*presence_keys(keys), keys.delayed], [supervisor, kind.value], bool)
        )


def present(registration: Registration) -> Sequence[Present]:
    """Return the supervisors that the group knows."""
    return registration.do(lambda keys: Command("present", presence_keys(keys)[:2], [], _present))


def _order(reply: bytes) -> Order | None:
    return Order.read(reply.decode(errors="replace"))


def _present(reply: Any) -> list[Present]:
    now, seen, said = int(reply[0]), pairs(reply[1]), pairs(reply[2])
    found = []
    for name in sorted(seen)[-MAX_SUPERVISORS:]:
        parts = _SAID.fullmatch(said.get(name, b""))
        if parts is None or not _TIME.fullmatch(seen[name]) or (at := int(float(seen[name]))) + REMEMBERED_MS <= now:
            continue
        text = parts[2].decode(errors="replace")
        found.append(Present(name.decode(errors="replace"), text, at, now < at + int(parts[1])))
    return found
