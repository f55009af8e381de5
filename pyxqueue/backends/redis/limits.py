"""The `LimitStore` protocol on Redis."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from ...model.limits import GateInfo, LimitInfo, limit_of
from . import commands
from .registration import Registration

_SCAN = 1_000


class RedisLimits:
    """The `LimitStore` protocol."""

    def __init__(self, registration: Registration) -> None:
        self._registration = registration
        self._session = registration.session

    def declare(self, numbers: Mapping[str, int], *, replace: bool) -> None:
        for name, number in numbers.items():
            self._store("default", name, number, replace)

    def set(self, name: str, number: int | None) -> None:
        self._store("limit", name, number, True)

    def _store(self, kind: str, name: str, number: int | None, replace: bool) -> None:
        cursor = b""
        while True:
            at = cursor
            cursor = self._registration.do(lambda keys: commands.limit(keys, kind, name, number, replace, at))  # noqa: B023 - runs before the next
            if not cursor:
                return

    def numbers(self) -> Sequence[LimitInfo]:
        numbers = self._numbers()
        declared, own = numbers["default"], numbers["limit"]
        return [
            LimitInfo(name, own.get(name, declared.get(name)), declared.get(name)) for name in sorted({*declared, *own})
        ]

    def gates(self, count: int) -> Sequence[GateInfo]:
        numbers, waiting = self._numbers(), Counter(dict(self._waiting()))
        declared, own, used = numbers["default"], numbers["limit"], numbers["used"]

        def limit(gate: str) -> int | None:
            name = limit_of(gate)
            return own.get(gate, own.get(name, declared.get(name)))

        names = sorted({*used, *waiting})[:count]
        return [GateInfo(name, used.get(name, 0), limit(name), waiting[name]) for name in names]

    def _numbers(self) -> Mapping[str, Mapping[str, int]]:
        """What is stored, by its kind and its name."""
        session, keys = self._session, self._registration.keys
        found: dict[str, dict[str, int]] = {"default": {}, "limit": {}, "used": {}}
        for field, value in session.guard(
            lambda: list(session.client.hscan_iter(keys.gates, match="*:*", count=_SCAN))
        ):
            kind, _, name = field.decode(errors="replace").partition(":")
            if kind in found and value.isdigit() and len(value) <= 16:
                found[kind][name] = int(value)
        return found

    def _waiting(self) -> list[tuple[str, int]]:
        found: list[tuple[str, int]] = []
        cursor = b""
        while True:
            at = cursor
            cursor, part = self._registration.do(lambda keys: commands.lines(keys, at))  # noqa: B023 - runs before the next
            found += part
            if not cursor:
                return found
