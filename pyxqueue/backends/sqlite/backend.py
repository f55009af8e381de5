"""The embedded backend: one SQLite file, for all processes of one machine, and no server."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from ...clock import wall_clock
from ...model.findings import Finding
from ...protocols import AsyncProducer, FairLines, LimitStore, ScheduleStore, StoreOptions
from .aio import SQLiteProducer
from .broker import SQLiteBroker
from .diagnosing import diagnose
from .driver import Driver, best
from .fairness import SQLiteFairLines
from .inspector import SQLiteInspector
from .location import FileSystemOf, Location, file_system_of, locate
from .opening import Opener
from .queue import Queue
from .results import SQLiteRecords
from .store import BUSY_LIMIT, Store
from .versions import Version, wal_is_safe

if TYPE_CHECKING:
    from ...model.presence import Order, OrderKind, Present
    from ...model.statistics import Statistics, StatisticsBatch
    from .presence import SQLitePresence
    from .statistics import SQLiteStatistics


class SQLiteBackend:
    """One group of one queue in a SQLite file, for all processes of one machine.

    Parameters: `path`, the file, made at first use; `options`; `durability`, "normal" (what was accepted survives the
    death of every process) or "full" (a power cut too); `shared`, True if other users are trusted to write the file
    (else it is refused where they can); `clock`, returns the store's time in ms, the same for all that share the file;
    `busy_limit`, seconds to try for a lock that another program holds; `driver`, the SQLite to use (None:
    Python's own, or that of `apsw` where only that one can be trusted with WAL); `safe_for_wal`, judges its version;
    `file_system`, returns the type of the file system below a folder.

    Nothing is opened before the first call. It may be used from any number of threads, and after a fork.

    Errors: `ConfigurationError` and `StoreFileError` for a file that cannot be used; `BrokerUnavailableError` while it
    is locked, and once when it was deleted or replaced; `StoreFullError` when a full disk keeps out new tasks.
    """

    keeps_flows = True

    def __init__(
        self,
        path: str | os.PathLike[str] | Location,
        options: StoreOptions,
        *,
        durability: str = "normal",
        shared: bool = False,
        clock: Callable[[], int] = wall_clock,
        busy_limit: float = BUSY_LIMIT,
        driver: Driver | None = None,
        safe_for_wal: Callable[[Version], bool] = wal_is_safe,
        file_system: FileSystemOf = file_system_of,
    ) -> None:
        location = path if isinstance(path, Location) else locate(path, durability, shared=shared)
        opener = Opener(driver or best(), file_system, safe_for_wal)
        self._store = Store(location, opener, busy_limit)
        self._queue = Queue(self._store, options, clock)
        self._fair_lines = SQLiteFairLines(self._queue)
        self._broker = broker = SQLiteBroker(self._queue)
        self._records = records = SQLiteRecords(self._queue, ends=True)
        self._inspector = inspector = SQLiteInspector(self._queue)
        # The operations of the protocols are those of these parts.
        self.enqueue, self.claim, self.settle, self.extend = broker.enqueue, broker.claim, broker.settle, broker.extend
        self.release, self.maintain, self.lease_ms = broker.release, broker.maintain, broker.lease_ms
        self.interrupt, self.close = broker.interrupt, broker.close
        self.begin, self.watch_expired = broker.begin, broker.watch_expired
        self.enqueue_unique, self.lock_holders = broker.enqueue_unique, broker.lock_holders
        self.enqueue_within = broker.enqueue_within
        self.load_steps, self.save_steps = broker.load_steps, broker.save_steps
        self.send_event, self.forget_steps = broker.send_event, broker.forget_steps
        self.pause, self.resume, self.is_paused = broker.pause, broker.resume, broker.is_paused
        self.wait, self.forget = records.wait, records.forget
        self.show, self.tasks, self.watch = inspector.show, inspector.tasks, inspector.watch
        self.page = inspector.page
        self.consumers, self.depth, self.about = inspector.consumers, inspector.depth, inspector.about
        self.groups, self.remove_group, self.queues = inspector.groups, inspector.remove_group, inspector.queues
        self.requeue, self.rejoin, self.cancel = inspector.requeue, inspector.rejoin, inspector.cancel
        self.delete, self.adopt, self.drop_failed = inspector.delete, inspector.adopt, inspector.drop_failed

    def diagnose(self) -> Iterable[Finding]:
        return diagnose(self._store)

    def limits(self) -> LimitStore:
        return self._broker.limits

    def fair_lines(self) -> FairLines:
        return self._fair_lines

    def schedules(self) -> ScheduleStore:
        return self._broker.schedules

    def asynchronous(self) -> AsyncProducer:
        return SQLiteProducer(self, self._queue, self._records, self._inspector)

    def add_statistics(self, batch: StatisticsBatch) -> bool:
        return self._statistics().add_statistics(batch)

    def statistics(self, minutes: int) -> Statistics:
        return self._statistics().statistics(minutes)

    def _statistics(self) -> SQLiteStatistics:
        from .statistics import SQLiteStatistics  # noqa: PLC0415 - a program that only enqueues does not need it

        return SQLiteStatistics(self._queue)

    def announce(self, supervisor: str, keep_ms: int, text: str) -> Order | None:
        return self._presence().announce(supervisor, keep_ms, text)

    def leave(self, supervisor: str) -> None:
        self._presence().leave(supervisor)

    def present(self) -> Sequence[Present]:
        return self._presence().present()

    def give_order(self, supervisor: str, kind: OrderKind) -> bool:
        return self._presence().give_order(supervisor, kind)

    def _presence(self) -> SQLitePresence:
        from .presence import SQLitePresence  # noqa: PLC0415 - a program that only enqueues does not need it

        return SQLitePresence(self._queue)
