"""The reference backend: broker, results and inspector as one object on Redis or Valkey."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from attrs import evolve

from ...model.findings import Finding
from ...offload import Offloaded
from ...protocols import AsyncProducer, ScheduleStore, StoreOptions
from .aio import AsyncRedisProducer
from .broker import RedisBroker
from .connect import ConnectionConfig
from .diagnosing import diagnose, risks
from .fairness import RedisFairLines
from .inspector import RedisInspector
from .keys import LAYOUT
from .limits import RedisLimits
from .older import OlderQueue
from .registration import Registration
from .results import RedisRecords
from .session import Session
from .together import RedisSharedClaims
from .watch import Notifier

if TYPE_CHECKING:
    from ...model.presence import Order, OrderKind, Present
    from ...model.statistics import Statistics, StatisticsBatch
    from .presence import RedisPresence
    from .statistics import RedisStatistics


class RedisBackend:
    """One group of one queue on Redis 6.2 or newer, or Valkey.

    Parameters: `config`, where the server is; `options`; `reclaim_after`, the ms of unbroken contact before the lease
    of another holder counts as ended (None: one lease, the safe value; tests use 0). The first call connects.

    Errors: `BrokerUnavailableError`, `StoreFullError`, `BrokerError`, as `pyxqueue.errors` describes them.
    """

    keeps_flows = True

    def __init__(self, config: ConnectionConfig, options: StoreOptions, reclaim_after: int | None = None) -> None:
        self.options = options
        self._session = Session(config)
        self._registration = Registration(self._session, options)
        self._notifier = Notifier(self._session, options.stream_key)
        self._broker = broker = RedisBroker(self._registration, reclaim_after)
        self._records = records = RedisRecords(self._registration, self._notifier)
        self._inspector = inspector = RedisInspector(self._registration, self._notifier)
        self._producer: AsyncProducer | None = None
        self._durable: dict[str, RedisBackend] = {}
        """By word, the same queue for calls of another durability."""
        # The operations of the protocols are those of these parts.
        self.enqueue, self.claim, self.settle, self.extend = broker.enqueue, broker.claim, broker.settle, broker.extend
        self.release, self.maintain, self.lease_ms = broker.release, broker.maintain, broker.lease_ms
        self.interrupt, self.wakeups, self.claim_key = broker.interrupt, broker.wakeups, broker.claim_key
        self.pause, self.resume, self.is_paused = broker.pause, broker.resume, broker.is_paused
        self.enqueue_unique, self.lock_holders = broker.enqueue_unique, broker.lock_holders
        self.enqueue_within = broker.enqueue_within
        self.load_steps, self.save_steps = broker.load_steps, broker.save_steps
        self.send_event, self.forget_steps = broker.send_event, broker.forget_steps
        self.begin, self.watch_expired = broker.begin, broker.watch_expired
        self.wait, self.forget = records.wait, records.forget
        self.show, self.tasks, self.watch = inspector.show, inspector.tasks, inspector.watch
        self.page = inspector.page
        self.consumers, self.depth, self.about = inspector.consumers, inspector.depth, inspector.about
        self.groups, self.remove_group, self.queues = inspector.groups, inspector.remove_group, inspector.queues
        self.requeue, self.rejoin, self.cancel = inspector.requeue, inspector.rejoin, inspector.cancel
        self.delete, self.adopt, self.drop_failed = inspector.delete, inspector.adopt, inspector.drop_failed
        self._limits = RedisLimits(self._registration)
        self._fair_lines = RedisFairLines(self._registration)

    def shared_claims(self, brokers: Sequence[RedisBackend]) -> RedisSharedClaims:
        return RedisSharedClaims([one._broker for one in brokers])  # noqa: SLF001 - of this class

    def schedules(self) -> ScheduleStore:
        return self._broker.schedules

    def asynchronous(self) -> AsyncProducer:
        """The asyncio side: on redis.asyncio if that knows the kind of connection, else in threads."""
        if self._producer is None:
            can = self._session.config.can_open_async
            self._producer = AsyncRedisProducer(self._registration, self._notifier) if can else Offloaded(self)
        return self._producer

    def durable(self, word: str) -> RedisBackend:
        if word == self._session.config.durability.word:
            return self
        if (found := self._durable.get(word)) is None:
            config = self._session.config
            made = RedisBackend(evolve(config, durability=config.durability.of(word)), self.options)
            made._registration.recent = self._registration.recent  # either may be asked what was lost
            found = self._durable.setdefault(word, made)
        return found

    def confirm(self, ids: Sequence[str]) -> None:
        if (confirmer := self._registration.confirmer) is not None:
            self._session.run(confirmer.confirm(ids))

    def why_gone(self, task_id: str) -> str:
        recent = self._registration.recent
        return "" if recent is None else recent.why_lost(task_id)

    def fair_lines(self) -> RedisFairLines:
        return self._fair_lines

    def diagnose(self) -> Iterable[Finding]:
        return diagnose(self._registration)

    def risks(self) -> Iterable[Finding]:
        return risks(self._registration)

    def limits(self) -> RedisLimits:
        return self._limits

    def add_statistics(self, batch: StatisticsBatch) -> bool:
        return self._statistics().add_statistics(batch)

    def statistics(self, minutes: int) -> Statistics:
        return self._statistics().statistics(minutes)

    def _statistics(self) -> RedisStatistics:
        from .statistics import RedisStatistics  # noqa: PLC0415 - a program that only enqueues does not need it

        return RedisStatistics(self._registration)

    def announce(self, supervisor: str, keep_ms: int, text: str) -> Order | None:
        return self._presence().announce(supervisor, keep_ms, text)

    def leave(self, supervisor: str) -> None:
        self._presence().leave(supervisor)

    def present(self) -> Sequence[Present]:
        return self._presence().present()

    def give_order(self, supervisor: str, kind: OrderKind) -> bool:
        return self._presence().give_order(supervisor, kind)

    def _presence(self) -> RedisPresence:
        from .presence import RedisPresence  # noqa: PLC0415 - a program that only enqueues does not need it

        return RedisPresence(self._registration)

    def older(self) -> OlderQueue | None:
        """The queue as a source for `move`, if it is kept in an older layout."""
        groups = self._registration.look(any_layout=True)
        return OlderQueue(self._registration, groups) if groups.layout < LAYOUT else None

    def close(self) -> None:
        for other in self._durable.values():
            other.close()
        self._notifier.close()
        self._broker.close()
        self._session.close()
