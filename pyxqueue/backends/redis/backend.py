"""The reference backend: broker and result store as one object on Redis or Valkey."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import TypeVar

from redis.cluster import RedisCluster

from ...batching import MAX_ITEMS, batches, settlement_size
from ...clock import seconds_left
from ...errors import BrokerUnavailableError
from ...model.message import Delivery, Extension, LeaseStatus, Message, Record, Settlement, Unreadable
from ...model.wire import message_size
from ...offload import Offloaded
from ...protocols import AsyncProducer, StoreOptions
from . import commands
from .aio import AsyncRedisProducer
from .commands import Orphan, Unknown
from .connect import Client, ConnectionConfig
from .inspector import RedisInspector
from .keys import GroupKeys
from .older import LAYOUT as OLDER_LAYOUT
from .older import OlderQueue
from .reading import entry_fence, pairs
from .session import REPLY_TIMEOUT, HealthClock, StaleGroups
from .waiting import wait_for

T = TypeVar("T")

MAX_BLOCK = 2_000
"""Milliseconds a blocking read may take, well under its socket's timeout."""
_FORGET_CONSUMER_AFTER = 3_600_000
_SIGN_EVERY = 5_000
"""Milliseconds between two signs of life of an idle consumer, at the most."""
_LAST_ENTRY = f"{2**64 - 1}-0"
"""The last but some: the very last stands for ``>``."""


class RedisBackend(RedisInspector):
    """One group of one queue on Redis 6.2 or newer, or Valkey.

    Parameters: `config`, where the server is; `options`; `reclaim_after`, the ms of unbroken contact before the work
    of others is taken over (None: one lease, the safe value; tests use 0). Nothing is connected before the first call.

    Errors: `BrokerUnavailableError`, `StoreFullError`, `BrokerError`, as `pyxqueue.errors` describes them.
    """

    def __init__(
        self,
        config: ConnectionConfig,
        options: StoreOptions,
        reclaim_after: int | None = None,
    ) -> None:
        super().__init__(config, options)
        self._reclaim_after = reclaim_after
        self._reader: Client | None = None
        self._reader_id: int | None = None
        self._producer: AsyncProducer | None = None
        self._shown = ""
        self._next_sign = 0.0
        self._interrupted = False
        self._health = HealthClock()
        self._next_scan = 0.0

    # Broker

    def enqueue(self, messages: Sequence[Message]) -> Sequence[bool]:
        answers: list[bool] = []
        for batch in batches(messages, message_size):
            answers += self._session.repaired(lambda: self._enqueue(batch))  # noqa: B023 - runs before the next
        return answers

    def _enqueue(self, batch: Sequence[Message]) -> list[bool]:
        session = self._session
        answers = session.run(commands.enqueue(self.options.stream_key, session.few(session.groups), batch))
        if answers is None:
            raise StaleGroups("the list of groups has changed")
        return answers

    def claim(self, consumer: str, limit: int, wait_ms: int) -> Sequence[Delivery]:
        if limit <= 0:
            return []

        def attempt() -> Sequence[Delivery]:
            self._reclaim()
            found = self._read(consumer, limit, 0)
            if not found:
                self._show_life(consumer)
            return found if found or wait_ms <= 0 else self._read(consumer, limit, wait_ms)

        try:
            return self._session.repaired(attempt)
        except BrokerUnavailableError:
            self._health.lost()
            self._close_reader()
            raise

    def _show_life(self, consumer: str) -> None:
        """Be seen by `consumers`: before Redis 7.2 a read that finds nothing neither makes a consumer nor counts as a
        sign of life. A look at what it holds beyond the last possible entry does both, and needs no memory."""
        now = time.monotonic()
        if consumer == self._shown and now < self._next_sign:
            return
        group, stream = self.options.group, self._session.keys.stream
        self._session.execute("XREADGROUP", "GROUP", group, consumer, "COUNT", 1, "STREAMS", stream, _LAST_ENTRY)
        self._shown = consumer
        self._next_sign = now + min(self._session.lease_ms / 4, _SIGN_EVERY) / 1000

    def _read(self, consumer: str, limit: int, wait: int) -> Sequence[Delivery]:
        """One XREADGROUP, on a connection of its own and never repeated by the driver: its reply hands out work."""
        session = self._session
        stream = session.keys.stream
        lease = session.lease_ms
        args: list[str | int] = ["XREADGROUP", "GROUP", self.options.group, consumer, "COUNT", limit]
        if wait > 0:
            if self._interrupted:
                self._interrupted = False
                return []
            args += ["BLOCK", max(1, min(wait, MAX_BLOCK, lease // 4))]
        args += ["STREAMS", stream, ">"]
        reader = self._open_reader()
        reply = session.guard(lambda: reader.execute_command(*args))
        self._health.seen(lease)
        return commands.deliveries(reply, consumer)

    def _open_reader(self) -> Client:
        if self._reader is None:
            timeout = REPLY_TIMEOUT + MAX_BLOCK / 1000
            self._reader = self._session.guard(lambda: self._session.config.open(timeout=timeout, retries=0))
            self._reader_id = None
            if not isinstance(self._session.config.client, RedisCluster):  # there it may be the number of another node
                with suppress(Exception):  # not allowed here: an interrupt then takes until the block ends
                    self._reader_id = int(self._reader.execute_command("CLIENT", "ID"))
        return self._reader

    def _close_reader(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = self._reader_id = None

    def settle(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        group, history = self.options.group, self.options.history
        return self._session.batched(
            settlements,
            lambda keys, batch: commands.settle(keys, group, history, batch),
            settlement_size,
        )

    def extend(self, extensions: Sequence[Extension]) -> Sequence[LeaseStatus]:
        group = self.options.group
        return self._session.batched(extensions, lambda keys, batch: commands.extend(keys, group, batch))

    def release(self, consumer: str, started: Sequence[str]) -> int:
        session, group = self._session, self.options.group
        running = {receipt.split("|", 1)[0] for receipt in started}
        returned = 0
        while True:
            rows = session.repaired(
                lambda: session.execute("XPENDING", session.keys.stream, group, "-", "+", MAX_ITEMS, consumer)
            )
            entries = [row[0].decode() for row in rows]
            if not entries:
                break
            orphans = self._orphans((entry, consumer, "started" if entry in running else "none") for entry in entries)
            returned += self._restore(orphans, 0)
        self._run(lambda keys: commands.retire(keys, group, [consumer]))
        return returned

    def _orphans(self, found: Iterable[tuple[str, str | bytes, str]]) -> list[Orphan]:
        """From entry, consumer and charge to what `restore` takes."""
        listed = list(found)
        messages = self._messages_of([entry for entry, _, _ in listed])
        return [
            Orphan(entry, message.id, "1" if isinstance(message, Unreadable) else "", consumer, charge)
            if (message := messages.get(entry)) is not None
            else Orphan(entry, entry, "", consumer, charge)
            for entry, consumer, charge in listed
        ]

    def _restore(self, orphans: Sequence[Orphan], min_idle: int) -> int:
        options = self.options
        return self._run(lambda keys: commands.restore(keys, options.group, options.history, min_idle, orphans))

    def maintain(self, limit: int) -> int:
        self._session.repaired(self._reclaim)
        found, until_next = self._run(lambda keys: commands.due(keys, self.options.group, limit))
        self._flags("promote", [], found)
        return until_next

    def _reclaim(self) -> None:
        """Take back what was left by holders that have been silent for a lease, if we have been in touch that long."""
        session, group = self._session, self.options.group
        now = time.monotonic()
        if now < self._next_scan:
            return
        try:
            lease = session.read_lease()
            seconds, micros = session.execute("TIME")
        except BrokerUnavailableError:
            self._health.lost()
            raise
        self._health.seen(lease, int(seconds) * 1000 + int(micros) // 1000)
        needed = lease if self._reclaim_after is None else self._reclaim_after
        if self._reclaim_after != 0:
            self._next_scan = now + min(lease / 4, 5_000) / 1000
        if self._health.unbroken_ms() < needed:
            return
        rows = session.execute("XPENDING", session.keys.stream, group, "IDLE", lease, "-", "+", MAX_ITEMS)
        if rows:
            self._restore(self._orphans((row[0].decode(), row[1], "expired") for row in rows), lease)
        if stranded := self._stranded():
            session.run(commands.rewind(session.keys, group))
            self._restore(self._orphans((entry.decode(), "", "expired") for entry in stranded), lease)
        if MAX_ITEMS in (len(rows), len(stranded)):  # there may be more
            self._next_scan = now
        self._forget_consumers()

    def _stranded(self) -> list[bytes]:
        """Entries at either end of what was handed out that nobody holds, because somebody has taken the holder away
        by hand (`XACK`, `XGROUP DELCONSUMER`), or has passed them by (`XGROUP SETID`): Redis would never hand them out.
        """
        session, group = self._session, self.options.group
        stream, last = session.keys.stream, self._delivered()
        for way in (("XRANGE", stream, "-", last), ("XREVRANGE", stream, last, "-")):
            end = session.execute(*way, "COUNT", 1)
            if not end or session.execute("XPENDING", stream, group, end[0][0], end[0][0], 1):
                continue
            found = [entry for entry, _ in session.execute(*way, "COUNT", MAX_ITEMS)]
            found.sort(key=lambda entry: entry_fence(entry.decode()))
            first, final = (found[0], found[-1]) if found else ("-", "-")
            held = {row[0] for row in session.execute("XPENDING", stream, group, first, final, MAX_ITEMS)}
            return [entry for entry in found if entry not in held]
        return []

    def _forget_consumers(self) -> None:
        session, group = self._session, self.options.group
        known = map(pairs, session.execute("XINFO", "CONSUMERS", session.keys.stream, group))
        silent = [
            one[b"name"] for one in known if int(one[b"idle"]) > _FORGET_CONSUMER_AFTER and not int(one[b"pending"])
        ]
        if silent:
            session.run(commands.retire(session.keys, group, silent[:MAX_ITEMS]))

    def lease_ms(self) -> int:
        return self._session.repaired(self._session.read_lease)

    def interrupt(self) -> None:
        self._interrupted = True
        if self._reader_id is not None:
            try:
                self._session.execute("CLIENT", "UNBLOCK", self._reader_id)
            except (BrokerUnavailableError, StaleGroups):
                return  # then the read fails by itself, or ends with its block
            except Exception:  # noqa: BLE001 - not allowed, or not known there: the block's own end has to do
                self._reader_id = None

    def close(self) -> None:
        self._notifier.close()
        self._close_reader()
        self._session.close()

    def _run(self, build: Callable[[GroupKeys], commands.Command[T]]) -> T:
        """Build a command for the group's keys and run it; repair the group and repeat if it is gone."""
        return self._session.repaired(lambda: self._session.run(build(self._session.keys)))

    def older(self) -> OlderQueue | None:
        """The queue as a source for `move`, if it is kept in an older layout."""
        groups = self._session.look(any_layout=True)
        return OlderQueue(self._session, groups) if groups.layout == OLDER_LAYOUT else None

    def asynchronous(self) -> AsyncProducer:
        """What producers await: on redis.asyncio where that knows the kind of connection, else in threads."""
        if self._producer is None:
            self._producer = (
                AsyncRedisProducer(self._session.config, self.options, self._session, self._notifier)
                if self._session.config.can_open_async
                else Offloaded(self)
            )
        return self._producer

    # Results

    def _look(
        self, ids: Sequence[str], channel: str = "", deadline: float | None = None
    ) -> list[Record | Unknown | None]:
        """`UNKNOWN` for an id that is not known, None for a task under way, which then wakes `channel`."""
        return self._session.batched(
            ids,
            lambda keys, batch: commands.get(keys, batch, channel),
            seconds=seconds_left(deadline),
        )

    def wait(self, ids: Sequence[str], timeout_ms: int | None, least: int | None = None) -> Sequence[Record | None]:
        return wait_for(self._notifier, self._look, ids, timeout_ms, least)

    def forget(self, ids: Sequence[str]) -> None:
        self._flags("forget", [], ids)
