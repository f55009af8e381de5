"""Asks the store whether tasks may start, for the deliveries that must be asked about."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext

from attrs import define, field

from ..errors import BrokerError, BrokerUnavailableError
from ..model.message import Message, StartStatus
from ..protocols import Beginning, Broker
from .batch_sizer import MAX_BATCH
from .events import log
from .jobs import Job
from .reporting import Reporter


@define(eq=False)
class Beginner:
    """Asks the store with `begin`, in batches: those that are to start meanwhile are asked about together."""

    broker: Broker
    reporter: Reporter
    backoff: Callable[[int, float], float]
    """Returns how many seconds to wait for the store, from the number of failures in a row and the longest pause."""
    patient: bool = True
    """Whether to wait for a store that is down. If not, the tasks are left to the end of their leases."""
    inside: Callable[[str], AbstractContextManager[None]] = lambda _role: nullcontext()
    """Enters what plugins have where the store is asked."""
    stopping: bool = field(default=False, init=False)
    """Whether the worker was told to stop: then it waits no longer."""
    _asked: deque[tuple[str, Future[StartStatus]]] = field(factory=deque, init=False)
    _asking: threading.Lock = field(factory=threading.Lock, init=False)
    _thread: ThreadPoolExecutor | None = field(default=None, init=False)
    """Asks for the event loop, which must not wait."""

    def may_start(self, job: Job) -> bool:
        """Return whether the job may start; waits for the store. If not, it does not belong to this worker any more."""
        future = self._note(job)
        self._ask()
        return self._told(job, future.result())

    async def may_start_soon(self, job: Job) -> bool:
        """`may_start` for the event loop."""
        future = self._note(job)
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "pyxqueue-begin")
        self._thread.submit(self._ask)
        return self._told(job, await asyncio.wrap_future(future))

    def close(self) -> None:
        if self._thread is not None:
            self._thread.shutdown()

    def _note(self, job: Job) -> Future[StartStatus]:
        future: Future[StartStatus] = Future()
        self._asked.append((job.delivery.receipt, future))
        return future

    def _ask(self) -> None:
        """Ask about all that was noted, unless another thread already does. Whoever waits is told, whatever happens."""
        with self._asking:
            while noted := [self._asked.popleft() for _ in range(min(len(self._asked), MAX_BATCH))]:
                batch = [(receipt, future) for receipt, future in noted if future.set_running_or_notify_cancel()]
                try:
                    statuses = self._statuses([receipt for receipt, _ in batch])
                    for (_, future), status in zip(batch, statuses, strict=True):
                        future.set_result(status)
                except BaseException as error:  # noqa: BLE001 - raised where they wait
                    for _, future in batch:
                        if not future.done():
                            future.set_exception(error)

    def _statuses(self, receipts: list[str]) -> list[StartStatus]:
        """Ask, and repeat that until the store can be reached if this is patient."""
        if not isinstance(self.broker, Beginning):
            return [StartStatus.RUN] * len(receipts)
        failures = 0
        while True:
            try:
                with self.inside("begin"):
                    return list(self.broker.begin(receipts))
            except BrokerUnavailableError as error:
                if self.stopping or not self.patient:
                    text = "%s cannot start tasks (%d); they are claimed again when their leases end: %s"
                    log.warning(text, self.reporter.worker, len(receipts), error)
                    return [StartStatus.LOST] * len(receipts)
                failures += 1
                if failures == 1:
                    text = "%s cannot start tasks (%d) until the store is back: %s"
                    log.warning(text, self.reporter.worker, len(receipts), error)
                time.sleep(self.backoff(failures, 1.0))
            except BrokerError:
                text = "the store refuses to start tasks (%d); they are claimed again when their leases end"
                log.exception(text, len(receipts))
                return [StartStatus.LOST] * len(receipts)

    def _told(self, job: Job, status: StartStatus) -> bool:
        if status is StartStatus.RUN:
            return True
        message = job.delivery.message
        if status is StartStatus.EXPIRED and isinstance(message, Message):
            self.reporter.expired(message.id, message.name)
        return False
