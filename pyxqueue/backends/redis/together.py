"""Claiming from several queues of one server with one command, which also waits on all of them."""

from __future__ import annotations

import time
from collections.abc import Sequence

from ...errors import BrokerUnavailableError
from ...model.message import Delivery
from . import commands
from .broker import RedisBroker
from .claiming import Reader
from .faults import StaleGroups
from .steps import call

_TRIES = 4
_LOOK_EVERY = 4.5
"""Seconds after which a claim looks which priority classes are in use and whether task names are paused, in all queues
with one command."""
_SIGN_EVERY = 60_000
"""The most ms between two signs of life of a consumer in each of the queues; with a short lease it is 1.5 leases."""


class RedisSharedClaims:
    """The `SharedClaims` protocol. The brokers have the same `claim_key`."""

    def __init__(self, brokers: Sequence[RedisBroker]) -> None:
        self._brokers = brokers
        self._group = brokers[0].lines.registration.options.group
        self._next_look = 0.0
        self._reader = Reader(brokers[0].lines.registration.session)

    def claim(self, consumer: str, limit: int, wait_ms: int, order: Sequence[int]) -> Sequence[Sequence[Delivery]]:
        brokers = [self._brokers[number] for number in order]
        if len(brokers) == 1 and wait_ms <= 0:
            return [brokers[0].claim(consumer, limit, 0)]
        stale: StaleGroups | None = None
        for _ in range(_TRIES):
            try:
                return self._claim(brokers, consumer, limit, wait_ms)
            except StaleGroups as error:
                stale = error
                for broker in brokers:
                    broker.lines.registration.refresh()
            except BrokerUnavailableError:
                for broker in self._brokers:
                    broker.lines.lost()
                self._reader.close()
                raise
        names = ", ".join(broker.lines.registration.options.stream_key for broker in brokers)
        raise BrokerUnavailableError(f"the consumer groups {self._group} of {names} keep vanishing: {stale}") from stale

    def _claim(self, brokers: Sequence[RedisBroker], consumer: str, limit: int, wait_ms: int) -> list[list[Delivery]]:
        self._look_at_classes()
        for broker in brokers:
            broker.show_life(consumer, min(1.5 * broker.lines.registration.lease_ms, _SIGN_EVERY))
        block_ms = min(broker.block_ms(wait_ms) for broker in brokers) if wait_ms > 0 else 0
        if block_ms and self._reader.take_interrupt():
            block_ms = 0
        streams = [stream for broker in brokers for stream in broker.lines.streams()]
        found = self._reader.read_streams(self._group, consumer, streams, limit, block_ms)
        claimed: list[list[Delivery]] = []
        for broker in brokers:
            claimed.append(broker.lines.pick(consumer, limit, found))
            limit -= len(claimed[-1])
        return claimed

    def _look_at_classes(self) -> None:
        """Have the queues in which a priority class came into use registered again, and note whether task names are
        paused."""
        if time.monotonic() < self._next_look:
            return
        registrations = [broker.lines.registration for broker in self._brokers]
        look = commands.classes([one.options.stream_key for one in registrations], self._group)
        now, found = registrations[0].session.run(call(look))
        for broker in self._brokers:
            broker.lines.note_time(now)
        for one, (classes, asks_all) in zip(registrations, found, strict=True):
            one.names.note(asks_all)
            if classes != one.groups.classes:
                one.refresh()
        self._next_look = time.monotonic() + _LOOK_EVERY

    def quiet_ms(self) -> Sequence[int]:
        registrations = [broker.lines.registration for broker in self._brokers]
        found = [(one.options.stream_key, one.keys) for one in registrations]
        return registrations[0].session.run(call(commands.quiet(found)))

    def interrupt(self) -> None:
        self._reader.interrupt()

    def close(self) -> None:
        self._reader.close()
