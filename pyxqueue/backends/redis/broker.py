"""The `Broker` protocol on Redis."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from itertools import takewhile
from typing import Any

from redis.cluster import RedisCluster

from ...batching import batches, settlement_size
from ...errors import BrokerUnavailableError
from ...model.message import Delivery, Extension, LeaseStatus, Message, Settlement
from ...model.wire import message_size
from . import commands
from .connect import Client
from .faults import StaleGroups
from .reclaiming import Reclaimer
from .registration import Registration
from .session import REPLY_TIMEOUT, Session
from .steps import Steps
from .wakeups import RedisWakeups

MAX_BLOCK = 2_000
"""Ms that a blocking read may take, well under its socket's timeout."""
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
        self._reader = _Reader(self._session)
        self._reclaimer = Reclaimer(registration, reclaim_after)
        self._wakeups = RedisWakeups(registration, self._reclaimer)
        self._shown = ""
        self._next_sign = 0.0

    def enqueue(self, messages: Sequence[Message]) -> Sequence[bool]:
        return self._session.run(enqueue(self._registration, messages))

    def claim(self, consumer: str, limit: int, wait_ms: int) -> Sequence[Delivery]:
        if limit <= 0:
            return []

        def attempt() -> Any:
            self._reclaimer.reclaim()
            if wait_ms > 0 and self._is_shown(consumer) and not self._reader.is_interrupted:
                return self._read(consumer, limit, wait_ms)
            found = self._read(consumer, limit, 0)
            if found:
                return found
            self._show_life(consumer)
            return None if wait_ms <= 0 or self._reader.take_interrupt() else self._read(consumer, limit, wait_ms)

        try:
            return commands.deliveries(self._registration.repaired(attempt), consumer)
        except BrokerUnavailableError:
            self._reclaimer.health.lost()
            self._reader.close()
            raise

    def _read(self, consumer: str, limit: int, wait_ms: int) -> Any:
        lease, stream = self._registration.lease_ms, self._registration.keys.stream
        args: list[str | int] = ["XREADGROUP", "GROUP", self._options.group, consumer, "COUNT", limit]
        if wait_ms > 0:
            args += ["BLOCK", max(1, min(wait_ms, MAX_BLOCK, lease // 4))]
        args += ["STREAMS", stream, ">"]
        reply = self._reader.read(args)
        self._reclaimer.health.seen(lease)
        return reply

    def _show_life(self, consumer: str) -> None:
        """Have the consumer shown as alive: before Redis 7.2 a read that finds nothing does not create it, nor count as
        a sign of life. A read of what it holds after the last entry does both, and needs no memory."""
        if self._is_shown(consumer):
            return
        registration, group = self._registration, self._options.group
        stream = registration.keys.stream
        self._session.execute("XREADGROUP", "GROUP", group, consumer, "COUNT", 1, "STREAMS", stream, _LAST_ENTRY)
        self._shown = consumer
        self._next_sign = time.monotonic() + min(registration.lease_ms / 4, _SIGN_EVERY) / 1000

    def _is_shown(self, consumer: str) -> bool:
        return consumer == self._shown and time.monotonic() < self._next_sign

    def settle(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        return self._session.run(settle(self._registration, settlements))

    def extend(self, extensions: Sequence[Extension]) -> Sequence[LeaseStatus]:
        group = self._options.group
        return self._session.run(
            self._registration.each(extensions, lambda keys, batch: commands.extend(keys, group, batch))
        )

    def release(self, consumer: str, started: Sequence[str]) -> int:
        return self._reclaimer.release(consumer, started)

    def maintain(self, limit: int) -> int:
        registration = self._registration
        registration.repaired(self._reclaimer.reclaim)
        found, until_next = registration.do(lambda keys: commands.due(keys, self._options.group, limit))
        self._session.run(registration.flags("promote", found))
        return until_next

    def wakeups(self) -> RedisWakeups:
        return self._wakeups

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
    for batch in batches(messages, message_size):
        new = yield from registration.current(
            lambda groups: commands.enqueue(stream_key, registration.few(groups), batch)  # noqa: B023 - runs before the next
        )
        if rest := batch[len(new) :]:
            new += yield from registration.current(
                lambda groups: commands.enqueue_any(stream_key, registration.few(groups), rest)
            )
        accepted += new
    return accepted


def settle(registration: Registration, settlements: Sequence[Settlement]) -> Steps[list[bool]]:
    """B4, B5, in order: the usual ends at the front in one script, and from the first that is not one, in another."""
    group, history = registration.options.group, registration.options.history
    usual = list(takewhile(commands.is_usual, settlements)) if history > 0 else []
    results: list[bool] = []
    for batch in batches(usual, settlement_size):
        done = yield from registration.current(
            lambda groups: commands.settle_done(groups.streams[group], group, history, batch)  # noqa: B023 - runs before the next
        )
        results += done
        if len(done) < len(batch):
            break
    results += yield from registration.each(
        settlements[len(results) :],
        lambda keys, batch: commands.settle(keys, group, history, batch),
        settlement_size,
    )
    return results


class _Reader:
    """The connection on which a worker claims. It has its own, on which no command is repeated, because the reply hands
    out messages."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._client: Client | None = None
        self._client_id: int | None = None
        self.is_interrupted = False

    def read(self, args: Sequence[str | int]) -> Any:
        client = self._client or self._open()
        try:
            return client.execute_command(*args)
        except Exception as error:  # noqa: BLE001 - not all that the driver raises is a RedisError
            ours = self._session.fault(error)
        raise ours  # as in `Session.execute`

    def _open(self) -> Client:
        config = self._session.config
        timeout = REPLY_TIMEOUT + MAX_BLOCK / 1000
        client = self._session.guard(lambda: config.open(timeout=timeout, retries=0))
        self._client, self._client_id = client, None
        if not isinstance(config.client, RedisCluster):  # there another node may have a connection of that number
            with suppress(Exception):  # an ACL may forbid it: an interrupt then waits for the block's end
                self._client_id = int(client.execute_command("CLIENT", "ID"))
        return client

    def take_interrupt(self) -> bool:
        """Whether there was an interrupt; it is forgotten."""
        interrupted, self.is_interrupted = self.is_interrupted, False
        return interrupted

    def interrupt(self) -> None:
        """End the read that waits in another thread, or the next one that would wait."""
        self.is_interrupted = True
        if self._client_id is not None:
            try:
                self._session.execute("CLIENT", "UNBLOCK", self._client_id)
            except (BrokerUnavailableError, StaleGroups):
                return  # then the read fails by itself, or ends with its block
            except Exception:  # noqa: BLE001 - an ACL forbids it, or the server does not know it: the block ends by itself
                self._client_id = None

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = self._client_id = None
