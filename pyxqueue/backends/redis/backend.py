"""The reference backend: broker, results and inspector as one object on Redis or Valkey."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...model.message import (
    ConsumerInfo,
    Delivery,
    Depth,
    Extension,
    LeaseStatus,
    Message,
    Record,
    Settlement,
    TaskInfo,
    TaskStatus,
)
from ...offload import Offloaded
from ...protocols import AsyncProducer, StoreOptions
from .aio import AsyncRedisProducer
from .broker import RedisBroker
from .connect import ConnectionConfig
from .inspector import RedisInspector
from .older import LAYOUT as OLDER_LAYOUT
from .older import OlderQueue
from .producing import Producing
from .registration import Registration
from .session import Session
from .watch import Notifier


class RedisBackend:
    """One group of one queue on Redis 6.2 or newer, or Valkey.

    Parameters: `config`, where the server is; `options`; `reclaim_after`, the ms of unbroken contact before the lease
    of another holder counts as ended (None: one lease, the safe value; tests use 0). The first call connects.

    Errors: `BrokerUnavailableError`, `StoreFullError`, `BrokerError`, as `pyxqueue.errors` describes them.
    """

    def __init__(self, config: ConnectionConfig, options: StoreOptions, reclaim_after: int | None = None) -> None:
        self.options = options
        self._session = Session(config)
        self._registration = Registration(self._session, options)
        self._notifier = Notifier(self._session, options.stream_key)
        self._producing = Producing(self._registration, self._notifier)
        self._broker = RedisBroker(self._registration, self._producing, reclaim_after)
        self._inspector = RedisInspector(self._registration, self._producing)
        self._producer: AsyncProducer | None = None

    # Producers

    def enqueue(self, messages: Sequence[Message]) -> Sequence[bool]:
        return self._session.run(self._producing.enqueue(messages))

    def wait(self, ids: Sequence[str], timeout_ms: int | None, least: int | None = None) -> Sequence[Record | None]:
        return self._session.run(self._producing.wait(ids, timeout_ms, least))

    def watch(self, task_id: str, seen: TaskInfo | None, timeout_ms: int | None) -> TaskInfo | None:
        return self._session.run(self._producing.watch(task_id, seen, timeout_ms))

    def show(self, ids: Sequence[str]) -> Sequence[TaskInfo | None]:
        return self._session.run(self._producing.show(ids))

    def cancel(self, ids: Sequence[str], force: bool = False) -> Sequence[bool]:
        return self._session.run(self._producing.cancel(ids, force))

    def forget(self, ids: Sequence[str]) -> None:
        self._session.run(self._producing.forget(ids))

    def asynchronous(self) -> AsyncProducer:
        """What producers await: on redis.asyncio where that knows the kind of connection, else in threads."""
        if self._producer is None:
            can = self._session.config.can_open_async
            self._producer = AsyncRedisProducer(self._session, self._producing) if can else Offloaded(self)
        return self._producer

    # Workers and supervisors

    def claim(self, consumer: str, limit: int, wait_ms: int) -> Sequence[Delivery]:
        return self._broker.claim(consumer, limit, wait_ms)

    def settle(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        return self._broker.settle(settlements)

    def extend(self, extensions: Sequence[Extension]) -> Sequence[LeaseStatus]:
        return self._broker.extend(extensions)

    def release(self, consumer: str, started: Sequence[str]) -> int:
        return self._broker.release(consumer, started)

    def maintain(self, limit: int) -> int:
        return self._broker.maintain(limit)

    def lease_ms(self) -> int:
        return self._broker.lease_ms()

    def interrupt(self) -> None:
        self._broker.interrupt()

    # People

    def tasks(
        self, state: TaskStatus | None = None, cursor: str = "", count: int = 100
    ) -> tuple[Sequence[TaskInfo], str]:
        return self._inspector.tasks(state, cursor, count)

    def consumers(self) -> Sequence[ConsumerInfo]:
        return self._inspector.consumers()

    def depth(self) -> Depth:
        return self._inspector.depth()

    def groups(self) -> Sequence[str]:
        return self._inspector.groups()

    def remove_group(self, group: str) -> None:
        self._inspector.remove_group(group)

    def requeue(self, ids: Sequence[str]) -> Sequence[bool]:
        return self._inspector.requeue(ids)

    def delete(self, ids: Sequence[str]) -> Sequence[bool]:
        return self._inspector.delete(ids)

    def adopt(self, tasks: Sequence[TaskInfo]) -> Sequence[bool]:
        return self._inspector.adopt(tasks)

    def queues(self, limit: int) -> tuple[Sequence[str], bool]:
        """The names of at most `limit` queues on the server, and whether these are all."""
        return self._inspector.queues(limit)

    def about(self) -> Mapping[str, str]:
        """Which server it is, and what of its settings decides whether a task survives."""
        return self._inspector.about()

    def older(self) -> OlderQueue | None:
        """The queue as a source for `move`, if it is kept in an older layout."""
        groups = self._registration.look(any_layout=True)
        return OlderQueue(self._registration, groups) if groups.layout == OLDER_LAYOUT else None

    def close(self) -> None:
        self._notifier.close()
        self._broker.close()
        self._session.close()
