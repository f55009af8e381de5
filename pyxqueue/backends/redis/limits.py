"""The protocols `LimitStore`, `RateStore` and `LimitPausing` on Redis."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from ...model.limits import GateInfo, LimitInfo, limit_of
from ...model.rates import PREFIX, Pace, RateInfo, pace_from_text, pace_to_text
from . import commands
from .registration import Registration

_SCAN = 1_000
FAIR = "fair:"
"""How the names of fair lines begin, which stand beside those of gates."""


class RedisLimits:
    """The protocols `LimitStore`, `RateStore` and `LimitPausing`."""

    def __init__(self, registration: Registration) -> None:
        self._registration = registration
        self._session = registration.session

    def declare(self, numbers: Mapping[str, int], *, replace: bool) -> None:
        for name, number in numbers.items():
            self._store("default", name, number, replace)

    def set(self, name: str, number: int | None) -> None:
        self._store("limit", name, number, True)

    def declare_rates(self, paces: Mapping[str, Pace], *, replace: bool) -> None:
        for name, pace in paces.items():
            self._store("default", PREFIX + name, pace_to_text(pace), replace)

    def set_rate(self, name: str, pace: Pace | None) -> None:
        self._store("limit", PREFIX + name, None if pace is None else pace_to_text(pace), True)

    def pause(self, name: str) -> bool:
        is_new = name not in self.paused()
        self._store("paused", name, 1, True)
        return is_new

    def resume(self, name: str) -> bool:
        was_paused = name in self.paused()
        self._store("paused", name, None, True)
        return was_paused

    def paused(self) -> Sequence[str]:
        return sorted(name for name, number in self._numbers()["paused"].items() if number == 1)

    def _store(self, kind: str, name: str, number: int | str | None, replace: bool) -> None:
        cursor = b""
        while True:
            at = cursor
            cursor = self._registration.do(lambda keys: commands.limit(keys, kind, name, number, replace, at))  # noqa: B023 - runs before the next
            if not cursor:
                return

    def rates(self) -> Sequence[RateInfo]:
        paces = {
            kind: {
                name.removeprefix(PREFIX): pace
                for name, text in found.items()
                if name.startswith(PREFIX) and (pace := pace_from_text(text)) is not None
            }
            for kind, found in self._stored().items()
        }
        declared, own = paces["default"], paces["limit"]
        return [
            RateInfo(name, own.get(name, declared.get(name)), declared.get(name)) for name in sorted({*declared, *own})
        ]

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
        """The numbers that are stored, by their kind and their name."""
        return {
            kind: {
                name: int(text) for name, text in found.items() if text.isascii() and text.isdigit() and len(text) <= 16
            }
            for kind, found in self._stored().items()
        }

    def _stored(self) -> Mapping[str, Mapping[str, str]]:
        """What is stored, by its kind and its name."""
        session, keys = self._session, self._registration.keys
        found: dict[str, dict[str, str]] = {"default": {}, "limit": {}, "used": {}, "paused": {}}
        for field, value in session.guard(
            lambda: list(session.client.hscan_iter(keys.gates, match="*:*", count=_SCAN))
        ):
            kind, _, name = field.decode(errors="replace").partition(":")
            if kind in found:
                found[kind][name] = value.decode(errors="replace")
        return found

    def _waiting(self) -> list[tuple[str, int]]:
        found: list[tuple[str, int]] = []
        cursor = b""
        while True:
            at = cursor
            cursor, part = self._registration.do(lambda keys: commands.lines(keys, at))  # noqa: B023 - runs before the next
            found += [one for one in part if not one[0].startswith(FAIR)]
            if not cursor:
                return found
