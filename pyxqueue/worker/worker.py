"""One worker: claims messages, has them run, settles what became of them.

Three loops share the work. The *claim* loop runs in the caller's thread and feeds the executor. The *settle* loop takes
whatever has finished and settles it in one batch while the next tasks run (group commit: no timer, the batch is what
came in during the last round trip). The *keep* loop sends progress and passes on cancellations. Leases are kept by
the supervisor of the process, which reads the `InFlightTable`.

The steps are plain methods, so that `drain` can do the same in one thread until nothing is left.
"""

from __future__ import annotations

import logging
import queue
import random
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from attrs import define, field

from ..codec import Codec
from ..errors import BrokerError
from ..execution import Execution, prepare
from ..inflight import STUCK, InFlightTable
from ..message import (
    Aborted,
    Bury,
    Delivery,
    Done,
    Extension,
    Message,
    Outcome,
    Record,
    Return,
    Settlement,
    Verdict,
)
from ..policy import decide
from ..printable import printable, quoted
from ..protocols import Broker
from ..task import Registry, TaskOptions
from .events import Observer, TaskSettled, TaskStarted, done, log, log_settled, tell
from .executors import Executor, Hooks, Job
from .options import DEFAULT_WAIT
from .pace import MAX_BATCH, Pace
from .records import record_of
from .settler import insist

_KEEP_EVERY = 0.2
_DEFAULTS = TaskOptions()


@define(eq=False)
class Finished:
    """A job that ran, on its way to being settled."""

    job: Job
    outcome: Outcome
    seconds: float


@define(eq=False)
class Worker:
    """Runs the tasks of `registry` with messages from `broker`.

    Parameters: `consumer`, its name in the store, unique per boot; `table`, where it notes what it holds; `wait`, ms a
    claim waits for work; `observer`, told of every start and settlement.
    """

    broker: Broker
    registry: Registry
    codec: Codec
    executor: Executor
    consumer: str
    table: InFlightTable
    observer: Observer | None = None
    wait: int = DEFAULT_WAIT
    _chance: Callable[[], float] = field(factory=lambda: random.Random().random)  # noqa: S311 - jitter
    _pace: Pace = field(factory=Pace, init=False)
    _finished: queue.SimpleQueue[Finished | None] = field(factory=queue.SimpleQueue, init=False)
    _freed: threading.Event = field(factory=threading.Event, init=False)
    _wake: queue.SimpleQueue[None] = field(factory=queue.SimpleQueue, init=False)
    _jobs: dict[int, Job] = field(factory=dict, init=False)
    _began: dict[int, float] = field(factory=dict, init=False)
    _stopping: bool = field(default=False, init=False)
    _closed: bool = field(default=False, init=False)
    _looping: bool = field(default=False, init=False)
    broken: threading.Event = field(factory=threading.Event, init=False)
    """One of its threads has ended: it stops, and its process must end soon."""
    _fault: BaseException | None = field(default=None, init=False)

    def run(self) -> None:
        """Work until `stop` is called, then let what runs end, settle it, and hand back the rest.

        Raises `RuntimeError` if one of its threads broke: the process is to end then, so that its work is released.
        """
        self.executor.open(self._hooks())
        threads = [
            threading.Thread(target=self._watched, args=(loop,), name=name, daemon=True)
            for loop, name in ((self._settle_loop, "pyxqueue-settle"), (self._keep_loop, "pyxqueue-keep"))
        ]
        for thread in threads:
            thread.start()
        self._looping = True
        try:
            self._claim_loop()
        except BaseException as error:  # noqa: BLE001 - raised below
            self._break(error)
        finally:
            self.executor.close()
            self._closed = True
            self._finished.put(None)
            self._wake.put(None)
            for thread in threads:
                thread.join()
            self._hand_back()
        if self._fault is not None:
            raise RuntimeError(f"a thread of {self.consumer} broke") from self._fault

    def _watched(self, loop: Callable[[], None]) -> None:
        try:
            loop()
        except BaseException as error:  # noqa: BLE001 - logged, and raised where the worker ends
            self._break(error)

    def _break(self, error: BaseException) -> None:
        """A thread that ended without a word would leave a worker that only seems to work."""
        self._fault = error
        self.stop()
        self.broken.set()
        thread = threading.current_thread().name
        log.critical("the thread %s of %s broke: its process ends", thread, self.consumer, exc_info=error)

    def _hooks(self) -> Hooks:
        return Hooks(self._begin, self._end, self._break, lambda job, by: self.table.postpone(job.slot, by))

    def stop(self) -> None:
        """Claim nothing more. May be called from a signal handler, and from any thread."""
        self._stopping = True
        self._wake.put(None)

    def drain(self) -> int:
        """Run everything that is ready, in this thread, until nothing is left; answers how many ran.

        The executor must be `Inline`. No other loop may be running.
        """
        self.executor.open(self._hooks())
        ran = 0
        while True:
            self.broker.promote(MAX_BATCH)
            if not self._claim(1, 0):
                return ran
            while not self._finished.empty():
                if (finished := self._finished.get()) is not None:
                    self._settle([finished])
                    ran += 1

    # Claim

    def _claim_loop(self) -> None:
        failures = 0
        while not self._stopping:
            try:
                self._freed.clear()  # before the look at the table: what is freed from now on is not overlooked
                if not (places := self.executor.room()):
                    self.executor.wait_room(_KEEP_EVERY)
                elif not (slots := self.table.room()):
                    self._freed.wait(_KEEP_EVERY)
                else:
                    self._claim(min(places, slots, self._pace.limit), self.wait)
                    if failures:
                        log.warning("%s: the store is back", self.consumer)
                failures = 0
            except BrokerError as error:  # also one that refuses: what somebody did to it may be undone
                failures += 1
                self._pause(failures, error)

    def _pause(self, failures: int, error: Exception) -> None:
        if failures == 1:
            log.warning("%s waits for the store: %s", self.consumer, error)
        end = time.monotonic() + self._backoff(failures, 2.0)
        while not self._stopping and time.monotonic() < end:
            time.sleep(0.05)

    def _backoff(self, failures: int, longest: float) -> float:
        """Seconds to wait for the store after so many failures in a row."""
        return min(longest, 0.05 * 2.0 ** min(failures, 10)) * (0.5 + 0.5 * self._chance())

    def _claim(self, limit: int, wait: int) -> int:
        deliveries = self.broker.claim(self.consumer, limit, wait)
        now = time.monotonic()
        jobs = [job for delivery in deliveries if (job := self._hold(delivery, now)) is not None]
        suspects = [job for job in jobs if job.delivery.message.suspect]
        for job in suspects:
            log.warning("%s has taken over task %s from a worker that is gone", self.consumer, job.delivery.message.id)
        took, late = [], []
        for job in jobs:
            if job not in suspects and not self._stopping:
                begun = time.monotonic()
                if not self.executor.submit(job):
                    late.append(job)
                took.append(time.monotonic() - begun)
        self._pace.ran(took)
        if late:
            end = time.monotonic() + STUCK
            self._return([job for job in late if not self.executor.submit(job, max(0.0, end - time.monotonic()))])
        for number, job in enumerate(suspects):  # alone, so that it can harm nothing else
            if not self._stopping:
                self._wait_alone(suspects[number:])
                self.executor.submit(job)
                self.executor.wait_idle()
        return len(jobs)

    def _hold(self, delivery: Delivery, now: float) -> Job | None:
        """Note a delivery; one that cannot be noted is failed by itself, and kept."""
        message = delivery.message
        try:
            slot = self.table.add(
                message.id, delivery.receipt, message.attempt, now, delivery.rank, pinned=message.suspect
            )
        except Exception as error:  # noqa: BLE001 - logged, and the reason why the message is buried
            log.exception("%s cannot hold the message %s", self.consumer, message.id)
            verdict = Bury(printable(f"no worker can hold it: {error}"))
            record = self._record(Job(delivery, -1), Aborted(), verdict, _DEFAULTS)
            self._insist([Settlement(delivery.receipt, verdict, record)])
            return None
        job = self._jobs[slot] = Job(delivery, slot)
        return job

    def _wait_alone(self, waiting: Sequence[Job]) -> None:
        """Until nothing else runs here, and what has ended is settled: it would be lost, and run again."""
        self.executor.wait_idle()
        while self._looping and not self._stopping and any(job not in waiting for job in list(self._jobs.values())):
            time.sleep(0.002)

    # Run: called by the executor, in its threads

    def _begin(self, job: Job) -> Execution | None:
        started = time.monotonic()
        if not self.table.start(job.slot, started):
            self._let_go(job)
            return None
        self._began[job.slot] = started
        self._limit(job, started)
        prepared = prepare(job.delivery, self.registry, self.codec, job.report)
        if not isinstance(prepared, Execution):
            self._end(job, prepared)
            return None
        if self.observer is not None:
            message = prepared.message
            tell(self.observer, TaskStarted(message.id, message.name, message.attempt, self.consumer))
        return prepared

    def _limit(self, job: Job, started: float) -> None:
        """The hard limit, where the task has one: it holds for decoding the arguments too."""
        message = job.delivery.message
        task = self.registry.get(message.name) if isinstance(message, Message) else None
        if task is not None and (seconds := task.options.hard_limit) is not None:
            policy, attempt = task.options.policy, message.attempt
            retry = policy.pause(attempt, self._chance()) * 1000 if attempt <= policy.retries else -1.0
            self.table.limit(job.slot, started + seconds, retry)

    def _end(self, job: Job, outcome: Outcome) -> None:
        seconds = time.monotonic() - self._began.pop(job.slot)
        self.table.finish(job.slot)
        self._finished.put(Finished(job, outcome, seconds))

    # Settle

    def _settle_loop(self) -> None:
        while (first := self._finished.get()) is not None:
            batch = [first]
            while len(batch) < MAX_BATCH and not self._finished.empty():
                if (more := self._finished.get()) is None:
                    self._finished.put(None)
                    break
                batch.append(more)
            self._settle(batch)

    def _settle(self, batch: Sequence[Finished]) -> None:
        settlements = [self.settlement(finished) for finished in batch]
        answers = self._insist(settlements)
        for finished, settlement, accepted in zip(batch, settlements, answers, strict=True):
            self._let_go(finished.job)
            self._tell_settled(finished, settlement.verdict, accepted)

    def _insist(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        """Settle, for as long as it takes the store to come back: the receipts decide whether it still counts."""
        return insist(self.broker.settle, settlements, self.consumer, self._backoff)

    def settlement(self, finished: Finished) -> Settlement:
        """What the queue decides about this outcome, with the record of an ending one; it never raises.

        An outcome that cannot be dealt with buries its own message and must not stop those of others.
        """
        try:
            return self._decided(finished)
        except BaseException as error:  # noqa: BLE001 - logged, and the reason why the message is buried
            log.exception("the outcome of %s cannot be settled", finished.job.delivery.message.id)
            verdict = Bury(printable(f"its outcome cannot be settled: {quoted(error)}"))
            record = self._record(Job(finished.job.delivery, finished.job.slot), Aborted(), verdict, _DEFAULTS)
            return Settlement(finished.job.delivery.receipt, verdict, record)

    def _decided(self, finished: Finished) -> Settlement:
        job, outcome = finished.job, finished.outcome
        message = job.delivery.message
        task = self.registry.get(message.name) if isinstance(message, Message) else None
        options = task.options if task is not None else _DEFAULTS
        verdict = decide(message, outcome, options.policy, self._chance())
        return Settlement(job.delivery.receipt, verdict, self._record(job, outcome, verdict, options))

    def _record(self, job: Job, outcome: Outcome, verdict: Verdict, options: TaskOptions) -> Record | None:
        record = record_of(job, outcome, verdict, options, self.consumer)
        return None if record is None else self.codec.sealed(record)

    def _tell_settled(self, finished: Finished, verdict: Verdict, accepted: bool) -> None:
        message = finished.job.delivery.message
        if self.observer is None and accepted and isinstance(verdict, Done) and not done.isEnabledFor(logging.DEBUG):
            return  # the usual case costs nothing
        name = message.name if isinstance(message, Message) else "?"
        event = TaskSettled(
            message.id, name, message.attempt, self.consumer, finished.outcome, verdict, accepted, finished.seconds
        )
        log_settled(event)
        tell(self.observer, event)

    # Keep

    def _keep_loop(self) -> None:
        interrupted = False
        while not self._closed:
            with suppress(queue.Empty):
                self._wake.get(timeout=_KEEP_EVERY)
            if self._stopping and not interrupted:
                self.broker.interrupt()
                interrupted = True
            self.executor.interrupter.check()
            for slot, times in self.table.cancels():
                if (job := self._jobs.get(slot)) is not None:
                    self.executor.interrupter.cancel(job, times)
            self._send_progress()

    def _send_progress(self) -> None:
        jobs = [job for job in list(self._jobs.values()) if job.unsent]
        if not jobs:
            return
        for job in jobs:
            job.unsent = False
        try:
            self.broker.extend([Extension(job.delivery.receipt, job.progress) for job in jobs])
        except BrokerError:
            for job in jobs:
                job.unsent = True

    # Hold

    def _let_go(self, job: Job) -> None:
        del self._jobs[job.slot]
        self.table.free(job.slot)
        self._freed.set()

    def _return(self, jobs: Sequence[Job]) -> None:
        """Hand back what found no place here, unless the supervisor already has: others may have one."""
        taken = self.table.take_back([job.slot for job in jobs])
        if taken:
            self._insist([Settlement(entry.receipt, Return()) for entry in taken])
        for job in jobs:
            self._let_go(job)

    def _hand_back(self) -> None:
        """Return what was claimed and not started."""
        mine = [self._jobs[entry.slot] for entry in self.table.take_back(list(self._jobs))]
        if not mine:
            return
        try:
            self.broker.settle([Settlement(job.delivery.receipt, Return()) for job in mine])
        except BrokerError as error:
            log.warning("%d messages come back when their lease ends: %s", len(mine), error)
        for job in mine:
            self._let_go(job)
