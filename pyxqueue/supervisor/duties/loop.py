"""The loop of the duties, and what a duty is.

A duty runs no user code and does one thing for the queue from time to time: it has a file of its own, and a line in
`all_duties`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from math import inf
from typing import Protocol, runtime_checkable

from attrs import define, field

from ...errors import BrokerUnavailableError
from ...inflight import InFlightTable
from ...worker.events import log

RETRY_EVERY = 0.2
"""Seconds until the next attempt while the store cannot be reached."""


class Duty(Protocol):
    """Something that the supervisor does at intervals."""

    refusal: str
    """What the log says when the store refuses to do it."""
    retry_after: float
    """Seconds until it is tried again after that."""

    def step(self, tables: Sequence[InFlightTable], now: float) -> float | None:
        """Do what is due at `now`, by `time.monotonic`, for the workers that have these tables.

        Returns the seconds after which it is to be called again; None: each time the loop turns.
        """
        ...


@runtime_checkable
class Wakeable(Protocol):
    """A duty that an event may make due earlier."""

    def fileno(self) -> int:
        """The file descriptor that is readable when there is an event; -1: there is none to watch now."""
        ...

    def read(self) -> float | None:
        """Read the events; it does not wait. Returns the seconds after which the duty is due, None if that stays."""
        ...


@runtime_checkable
class Punctual(Protocol):
    """A duty that is called each time the loop turns, and that must not be late."""

    def soon(self) -> float:
        """The time of `time.monotonic` at which it must be called again."""
        ...


@define(eq=False)
class DutyLoop:
    """Does each duty when it is due. A duty that the store refuses, or in which a backend fails, does not stop the
    others: the supervisor that ended would end its workers."""

    duties: Sequence[Duty]
    _monotonic: Callable[[], float] = time.monotonic
    of: str = ""
    """What the log adds to name the queue, where there are several."""
    rest: float = 0.0
    """How many times as long as a request that failed took the next attempt waits, if that is longer than
    `RETRY_EVERY`."""
    failing: bool = field(default=False, init=False)
    """Whether the store cannot be reached."""
    next_try: float = field(default=0.0, init=False)
    """When the next attempt is made while the store cannot be reached."""
    _failing_since: float = field(default=0.0, init=False)
    _due: dict[Duty, float] = field(factory=dict, init=False)
    _refused: dict[Duty, str] = field(factory=dict, init=False)
    """The duties that fail now, with what the error says."""

    def step(self, tables: Sequence[InFlightTable]) -> float:
        """Do what is due now, and return after how many seconds this is to be called again."""
        now = self._monotonic()
        due = [duty for duty in self.duties if now >= self._due.get(duty, 0.0)]
        try:
            for duty in due:
                self._do(duty, tables, now)
        except BrokerUnavailableError as error:
            if not self.failing:
                self._failing_since = now
                log.warning("leases%s cannot be renewed now: %s", self.of, error)
            self.failing = True
            pause = max(RETRY_EVERY, self.rest and (1 + self.rest) * (self._monotonic() - now))
            self.put_off(now + pause)  # each would wait until its request times out
        else:
            if self.failing and due:
                seconds = now - self._failing_since
                log.warning("the store is back after %.1f s: leases%s are renewed again", seconds, self.of)
                self.failing = False
        soon = [duty.soon() for duty in self.duties if isinstance(duty, Punctual) and duty not in self._due]
        return max(0.0, min([*self._due.values(), *soon], default=now + RETRY_EVERY) - self._monotonic())

    def put_off(self, until: float) -> None:
        """Do no duty before this time."""
        self.next_try = until
        self._due = dict.fromkeys(self.duties, until)

    def watched(self) -> list[int]:
        """The file descriptors that the caller is to watch until the next step."""
        return [fd for duty in self.duties if isinstance(duty, Wakeable) and (fd := duty.fileno()) >= 0]

    def wake(self, readable: Collection[int]) -> None:
        """Read the events at these file descriptors, which may make duties due earlier."""
        for duty in self.duties:
            if isinstance(duty, Wakeable) and duty.fileno() in readable and (seconds := duty.read()) is not None:
                self._due[duty] = min(self._due.get(duty, inf), self._monotonic() + seconds)

    def _do(self, duty: Duty, tables: Sequence[InFlightTable], now: float) -> None:
        self._due.pop(duty, None)
        try:
            seconds = duty.step(tables, now)
        except BrokerUnavailableError:
            raise
        except Exception as error:  # noqa: BLE001 - a backend of another package may raise anything; it is logged
            seconds = duty.retry_after
            if self._refused.get(duty) != (said := f"{type(error).__name__}: {error}"):  # the same one is logged once
                self._refused[duty] = said
                log.exception("%s%s", duty.refusal, self.of and f" ({self.of.strip()})")
        else:
            self._refused.pop(duty, None)
        if seconds is not None:
            self._due[duty] = now + seconds
