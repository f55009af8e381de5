"""The `Broker` protocol on Redis."""

from __future__ import annotations

import time
from collections.abc import Hashable, Mapping, Sequence
from itertools import takewhile

from redis.crc import key_slot

from ...batching import batches, settlement_size
from ...errors import BrokerUnavailableError
from ...model.locks import LockTerms, Placed
from ...model.message import Delivery, Extension, LeaseStatus, Message, Settlement, StartStatus
from ...model.steps import EventStatus
from ...model.steps import Steps as TaskSteps
from ...model.wire import message_size
from ...protocols import NO_LINES, Expired, TakenIn, TellExpired
from . import commands, locking, lost
from .claiming import MAX_BLOCK, Lines, Reader
from .keys import meta
from .reclaiming import Reclaimer
from .registration import Registration, confirming, flags, stored
from .schedules import RedisSchedules
from .steps import Steps
from .unnoted import Repairer
from .wakeups import RedisWakeups

_SIGN_EVERY = 5_000
"""The most ms between two signs of life of an idle consumer."""
_LAST_ENTRY = f"{2**64 - 1}-0"
"""Later than any entry in use. (Redis takes the very last possible one for ``>``.)"""


class RedisBroker:
    """The `Broker` protocol."""

    def __init__(self, registration: Registration, reclaim_after: int | None) -> None:
        self._registration = registration
        self._session = registration.session
        self._options = registration.options
        self._reader = Reader(self._session)
        self._reclaimer = Reclaimer(registration, reclaim_after)
        self._repairer = Repairer(registration)
        self.lines = Lines(registration, self._reader, self._reclaimer)
        self._wakeups = RedisWakeups(registration, self._reclaimer)
        self.schedules = RedisSchedules(registration)
        self._tell: TellExpired | None = None
        self._shown = ""
        self._next_sign = 0.0

    def enqueue(self, messages: Sequence[Message]) -> Sequence[bool]:
        return self._session.run(enqueue(self._registration, messages))

    def enqueue_unique(self, messages: Sequence[Message], terms: LockTerms) -> Sequence[Placed]:
        return self._session.run(locking.enqueue_unique(self._registration, messages, terms))

    def enqueue_within(self, messages: Sequence[Message], terms: LockTerms, max_length: int) -> TakenIn:
        return self._session.run(locking.enqueue_within(self._registration, messages, terms, max_length))

    def lock_holders(self, names: Sequence[str]) -> Sequence[str]:
        return self._session.run(locking.lock_holders(self._registration, names))

    def claim(self, consumer: str, limit: int, wait_ms: int) -> Sequence[Delivery]:
        if limit <= 0:
            return []

        def attempt() -> list[Delivery]:
            self._reclaimer.reclaim()
            if wait_ms > 0 and self._is_shown(consumer) and not self._reader.is_interrupted:
                return self.lines.take(consumer, limit, self.block_ms(wait_ms))
            found = self.lines.take(consumer, limit, 0)
            if found:
                return found
            self.show_life(consumer, min(self._registration.lease_ms / 4, _SIGN_EVERY))
            no_wait = wait_ms <= 0 or self._reader.take_interrupt()
            return [] if no_wait else self.lines.take(consumer, limit, self.block_ms(wait_ms))

        try:
            return self._registration.repaired(attempt)
        except BrokerUnavailableError:
            self._reclaimer.health.lost()
            self._reader.close()
            raise

    def claim_key(self) -> Hashable:
        """Brokers with the same key can read with one command: they have one server, and their groups one name; in a
        cluster, the streams must be on one node too."""
        config, options = self._session.config, self._options
        slot = key_slot(meta(options.stream_key).encode()) if config.is_cluster else None
        return config.identity, options.group, slot

    def block_ms(self, wait_ms: int) -> int:
        """How long a read may block."""
        return max(1, min(wait_ms, MAX_BLOCK, self._registration.lease_ms // 4))

    def show_life(self, consumer: str, every_ms: float) -> None:
        """Have the consumer shown as alive: before Redis 7.2 a read that finds nothing does not create it, nor count as
        a sign of life. A read of what it holds after the last entry does both, and needs no memory."""
        if self._is_shown(consumer):
            return
        registration, group = self._registration, self._options.group
        stream = registration.keys.new
        self._session.execute("XREADGROUP", "GROUP", group, consumer, "COUNT", 1, "STREAMS", stream, _LAST_ENTRY)
        self._shown = consumer
        self._next_sign = time.monotonic() + every_ms / 1000

    def _is_shown(self, consumer: str) -> bool:
        return consumer == self._shown and time.monotonic() < self._next_sign

    def settle(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        return self._session.run(settle(self._registration, settlements))

    def extend(self, extensions: Sequence[Extension]) -> Sequence[LeaseStatus]:
        group = self._options.group
        return self._session.run(
            self._registration.each(extensions, lambda keys, batch: commands.extend(keys, group, batch))
        )

    def begin(self, receipts: Sequence[str]) -> Sequence[StartStatus]:
        history = self._options.history
        return self._session.run(
            self._registration.each(receipts, lambda keys, batch: commands.begin(keys, history, batch))
        )

    def load_steps(self, task_id: str) -> TaskSteps:
        return self._registration.do(lambda keys: commands.load_steps(keys, task_id))

    def save_steps(self, receipt: str, steps: Mapping[str, bytes]) -> LeaseStatus:
        return self._registration.do(lambda keys: commands.save_steps(keys, receipt, steps))

    def send_event(self, task_id: str, name: str, value: bytes) -> EventStatus:
        registration, group = self._registration, self._options.group
        return self._session.run(
            registration.current(
                lambda groups: commands.send_event(groups.streams[group], task_id, name, value),
                run=confirming(registration, [task_id]),
            )
        )

    def forget_steps(self, task_ids: Sequence[str]) -> None:
        self._session.run(self._registration.each(task_ids, commands.forget_steps))

    def release(self, consumer: str, started: Sequence[str], past: Mapping[str, str] = NO_LINES) -> int:
        return self._reclaimer.release(consumer, started, past)

    def maintain(self, limit: int) -> int:
        registration = self._registration
        registration.repaired(self._reclaimer.reclaim)
        self._repairer.look()
        name = self._options.stream_key
        found = registration.do(lambda keys: commands.due(name, keys, limit))
        self.schedules.note(found.until_tick)
        self._session.run(flags(registration, "promote", found.ids))
        if found.expired:
            group, history = self._options.group, self._options.history
            self._tell_expired(
                self._session.run(
                    registration.each(found.expired, lambda keys, batch: commands.expire(keys, group, history, batch))
                )
            )
        if found.has_turns:
            registration.do(commands.admit)
        if found.dependent:
            self._session.run(lost.look(registration, found.dependent))
        if found.suspended:
            self._session.run(lost.look_at_suspended(registration, found.suspended))
        if found.expired or found.has_turns:
            found = registration.do(
                lambda keys: commands.due(name, keys, 1)
            )  # when the next one expires, or has its turn
        return found.until_next

    def watch_expired(self, tell: TellExpired) -> None:
        self._tell = tell

    def _tell_expired(self, expired: Sequence[Expired | None]) -> None:
        if self._tell is not None and (ended := [one for one in expired if one is not None]):
            self._tell(ended)

    def wakeups(self) -> RedisWakeups:
        return self._wakeups

    def pause(self) -> bool:
        return self._registration.do(commands.pause)

    def resume(self) -> bool:
        return self._registration.do(commands.resume)

    def is_paused(self) -> bool:
        return bool(self._session.execute("HEXISTS", meta(self._options.stream_key), f"paused:{self._options.group}"))

    def lease_ms(self) -> int:
        return self._registration.repaired(self._registration.read_lease)

    def interrupt(self) -> None:
        self._reader.interrupt()

    def close(self) -> None:
        self._reader.close()
        self._wakeups.close()


def enqueue(registration: Registration, messages: Sequence[Message]) -> Steps[list[bool]]:
    """B1, B9: one script call for each batch, on the keys of all groups."""
    stream_key, accepted = registration.options.stream_key, list[bool]()
    registration.use(messages)
    for batch in batches(messages, message_size):
        new = yield from stored(
            registration,
            lambda groups: commands.enqueue(stream_key, registration.few(groups), batch),  # noqa: B023 - runs before the next
            batch,
        )
        if rest := batch[len(new) :]:
            new += yield from stored(
                registration,
                lambda groups: commands.enqueue_any(stream_key, registration.few(groups), rest),
                rest,
            )
        accepted += new
    return accepted


def settle(registration: Registration, settlements: Sequence[Settlement]) -> Steps[list[bool]]:
    """B4, B5, in order: the usual ends at the front in one script, and from the first that is not one, in another."""
    for settlement in settlements:
        if settlement.then:
            registration.use(settlement.then)
    group, history = registration.options.group, registration.options.history
    usual = list(takewhile(commands.is_usual, settlements)) if history > 0 else []
    results: list[bool] = []
    for batch in batches(usual, settlement_size):
        done = yield from registration.current(
            lambda groups: commands.settle_done(groups.streams[group], history, batch)  # noqa: B023 - runs before the next
        )
        results += done
        if len(done) < len(batch):
            break
    results += yield from registration.each(
        settlements[len(results) :],
        lambda keys, batch: commands.settle(keys, history, batch),
        settlement_size,
    )
    return results
