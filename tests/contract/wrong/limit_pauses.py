"""Backends that break the part of L9 that is about limits, each in one small way."""

from __future__ import annotations

from collections.abc import Sequence

from pyxqueue.backends.memory import MemoryBackend
from pyxqueue.backends.memory.gates import Gates
from pyxqueue.backends.memory.limits import MemoryLimits
from pyxqueue.model.limits import limit_of
from pyxqueue.model.rates import is_rate

from .limits import gates_break
from .prelude import Entry, breaks


@gates_break("L9")
class PausedLimitHasRoom(Gates):
    """A paused limit is only listed."""

    def is_paused(self, gate: str) -> bool:
        return False


@gates_break("L9")
class KeyIsNotPaused(Gates):
    def is_paused(self, gate: str) -> bool:
        return limit_of(gate) in self.paused


@gates_break("L9")
class AllKeysArePaused(Gates):
    def is_paused(self, gate: str) -> bool:
        return any(limit_of(name) == limit_of(gate) for name in self.paused) or super().is_paused(gate)


@gates_break("L9")
class RatesAreNotPaused(Gates):
    def is_paused(self, gate: str) -> bool:
        return not is_rate(gate) and super().is_paused(gate)


@gates_break("L9")
class AdmittedStartsInAPause(Gates):
    """A paused rate admits nothing, but what it had admitted starts."""

    def start(self, entry: Entry) -> bool:
        paused, self.paused = self.paused, set()
        starts = super().start(entry)
        self.paused = paused
        return starts


@gates_break("L9")
class NobodyLooksAfterAPause(Gates):
    """What waits stays in its line when the pause ends."""

    def resume(self, name: str) -> None:
        """Look at no line."""


def limits_break(limits: type[MemoryLimits]) -> type[MemoryLimits]:
    """Declare a backend whose limits are wrong."""

    class WithLimits(MemoryBackend):
        def __init__(self, *args: object) -> None:
            super().__init__(*args)  # type: ignore[arg-type] # whatever a backend is made of
            self._limits = limits(self._limits._queue)

    breaks("L9")(type(limits.__name__, (WithLimits,), {}))
    return limits


@limits_break
class TheNumberIsLost(MemoryLimits):
    """A pause sets the number to 0, and a resume removes it."""

    def pause(self, name: str) -> bool:
        self.set(name, 0)
        return super().pause(name)

    def resume(self, name: str) -> bool:
        self.set(name, None)
        return super().resume(name)


@limits_break
class ResumeOfTheLimitResumesItsKeys(MemoryLimits):
    def resume(self, name: str) -> bool:
        for other in self.paused():
            if other.startswith(f"{name}/"):
                super().resume(other)
        return super().resume(name)


@limits_break
class EveryPauseIsNew(MemoryLimits):
    def pause(self, name: str) -> bool:
        super().pause(name)
        return True


@limits_break
class PausesAreNotListed(MemoryLimits):
    def paused(self) -> Sequence[str]:
        return []
