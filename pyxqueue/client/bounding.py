"""Calls of a queue that has `max_length=`: they are refused while it is full, or wait for room."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Generator, Sequence
from typing import TypeAlias

from msgspec import Struct

from ..clock import Seconds, deadline_after, in_seconds, is_over, milliseconds, seconds_left
from ..errors import ConfigurationError, QueueFullError
from ..model.locks import LockTerms, Placed, Placement
from ..model.message import Message
from ..options import MAX_SECONDS
from ..printable import counted, quoted
from ..protocols import AsyncHasMaxLength, Backend, HasMaxLength, TakenIn
from ..stores import OpenStore
from .queue_store import QueueStore

PLAIN = LockTerms()
"""For messages without a lock."""
_FIRST, _LONGEST = 0.01, 0.5
"""Seconds between two looks whether there is room: at first, and after several."""

Tries: TypeAlias = Generator[tuple[float, Sequence[Message]], TakenIn, list[Placed]]
"""Yields how many seconds to wait, and messages to enqueue then; is sent what became of them."""


class Bound(Struct, frozen=True, eq=False):
    """How long a queue may become, and how long a call waits if it is full."""

    store: QueueStore
    max_length: int
    full_wait: float
    """Seconds for which a call waits for room."""

    def accept(self, place: OpenStore, messages: Sequence[Message]) -> list[bool]:
        """`Broker.enqueue` within the bound. Raises `QueueFullError`."""
        return _are_new(self.enqueue(place, messages, PLAIN))

    async def aaccept(self, place: OpenStore, messages: Sequence[Message]) -> list[bool]:
        """`accept` for asyncio."""
        return _are_new(await self.aenqueue(place, messages, PLAIN))

    def enqueue(self, place: OpenStore, messages: Sequence[Message], terms: LockTerms) -> list[Placed]:
        """`HasLocks.enqueue_unique` within the bound. Raises `QueueFullError`."""
        return self._enqueue(_keeper(place.backend), messages, terms)

    def accept_first(self, backend: Backend, messages: Sequence[Message]) -> list[bool]:
        """Enqueue the first of messages that belong together, if there is room for all of them. The others are for the
        caller to enqueue, whatever the length is then. Returns whether it was new, as `Broker.enqueue` does.

        Raises `QueueFullError`; `ConfigurationError` if they are more than the bound.
        """
        if len(messages) > self.max_length:
            raise ConfigurationError(
                f"a flow of {counted(len(messages), 'task')} never has room in a queue of max_length="
                f"{self.max_length}: raise max_length, or let tasks of a smaller flow enqueue the rest"
            )
        return _are_new(self._enqueue(_keeper(backend), messages[:1], PLAIN, len(messages) - 1))

    def _enqueue(
        self, keeper: HasMaxLength, messages: Sequence[Message], terms: LockTerms, beside: int = 0
    ) -> list[Placed]:
        """Enqueue messages while there is room for each, and for so many others beside it."""
        tries = self._tries(messages, beside)
        try:
            pause, batch = next(tries)
            while True:
                if pause:
                    time.sleep(pause)
                pause, batch = tries.send(keeper.enqueue_within(batch, terms, self.max_length - beside))
        except StopIteration as end:
            placed: list[Placed] = end.value
            return placed

    async def aenqueue(self, place: OpenStore, messages: Sequence[Message], terms: LockTerms) -> list[Placed]:
        """`enqueue` for asyncio: with that of the backend, or in a thread. It does not block the event loop."""
        keeper, producer, tries = _keeper(place.backend), place.producer, self._tries(messages)
        try:
            pause, batch = next(tries)
            while True:
                if pause:
                    await asyncio.sleep(pause)
                if isinstance(producer, AsyncHasMaxLength):
                    found = await producer.enqueue_within(batch, terms, self.max_length)
                else:
                    found = await asyncio.to_thread(keeper.enqueue_within, batch, terms, self.max_length)
                pause, batch = tries.send(found)
        except StopIteration as end:
            placed: list[Placed] = end.value
            return placed

    def _tries(self, messages: Sequence[Message], beside: int = 0) -> Tries:
        """Enqueue messages, in order. Raises `QueueFullError` if there was no room for the next of them for `full_wait`
        seconds. While the call waits, it tries with one message only."""
        placed: list[Placed] = []
        deadline, pause, batch = self._deadline(), 0.0, messages
        while True:
            chance = random.uniform(pause / 2, pause)  # noqa: S311 - so that producers do not try together
            found = yield min(chance, seconds_left(deadline) or 0.0), batch
            placed += found.placed
            rest = messages[len(placed) :]
            if not rest:
                return placed
            if found.placed:
                deadline, pause = self._deadline(), 0.0
            if found.length:
                if is_over(deadline):
                    raise self._full(found.length, placed, beside)
                pause = min(max(_FIRST, pause * 2), _LONGEST)
            batch = rest[:1] if found.length else rest

    def _deadline(self) -> float | None:
        return deadline_after(milliseconds(self._wait()))

    def _wait(self) -> float:
        """Seconds to wait: none in eager mode, where no task ends while a call waits."""
        return 0.0 if self.store.eager is not None else self.full_wait

    def _full(self, length: int, placed: Sequence[Placed], beside: int) -> QueueFullError:
        waited = f" for {wait:g} s" if (wait := self._wait()) else ""
        queue = self.store.core.options.stream_key
        full = f"has no room for a flow of {counted(beside + 1, 'task')}" if beside else "is full"
        return QueueFullError(
            f"the queue {quoted(queue)} {full}{waited}: {length} of its tasks have not ended, and "
            f"max_length={self.max_length}. Start more workers, raise max_length, or call again later",
            *(queue, self.max_length, length, [one.id for one in placed]),
        )


def bound_of(store: QueueStore, max_length: int | None, full_wait: Seconds) -> Bound:
    """Return the bound of a queue. Raises `ConfigurationError` for an option that is not valid, or if the application
    made a store that cannot keep a bound."""
    if isinstance(max_length, bool) or not isinstance(max_length, int) or max_length < 1:
        hint = "; full_wait= needs it" if max_length is None else ""
        raise ConfigurationError(f"max_length={quoted(max_length)} must be a whole number, 1 or more{hint}")
    seconds = in_seconds(full_wait)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < MAX_SECONDS:
        raise ConfigurationError(f"full_wait={quoted(full_wait)} must be a number of seconds, 0 or more")
    if store.broker is not None:
        _keeper(store.broker)
    return Bound(store, max_length, float(seconds))


def _keeper(backend: Backend) -> HasMaxLength:
    """Return the backend. Raises `ConfigurationError` if it does not count its tasks when it accepts one."""
    if isinstance(backend, HasMaxLength):
        return backend
    raise ConfigurationError(
        f"{type(backend).__name__} does not support max_length=: leave it out, or use the Redis, SQLite or memory "
        f"backend, or one with pyxqueue.protocols.HasMaxLength"
    )


def _are_new(placed: Sequence[Placed]) -> list[bool]:
    return [one.placement is Placement.NEW for one in placed]
