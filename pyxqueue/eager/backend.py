"""The store of an eager queue: a memory backend that runs its tasks in the caller's thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from typing import TypeVar

from ..backends.memory import MemoryBackend, MemoryStore
from ..backends.memory.group import take_expired
from ..backends.memory.schedules import MemorySchedules
from ..core import QueueCore
from ..errors import ResultTimeoutError
from ..inflight import InFlightTable
from ..locked import CLAIMABLE, Place
from ..model.limits import task_of
from ..model.locks import LockTerms, Placed
from ..model.message import Delivery, Message, Record, TaskInfo, TaskStatus
from ..model.statistics import Statistics
from ..model.steps import EventStatus
from ..model.turns import Turn
from ..options import TaskOptions
from ..protocols import StoreOptions, TakenIn
from ..ticking import Ticker
from ..worker.events import Event, tell
from ..worker.executors import Inline
from ..worker.reporting import Reporter
from ..worker.serving import QueueParts
from ..worker.tally import tally_of
from ..worker.worker import Worker
from .runs import Over, Run, Session, runs

R = TypeVar("R")
_CONSUMER = "eager"
_LAST = 5.0
"""Seconds that a plugin has to stop, as at the end of a worker process."""


class NoInterrupter:
    """Does not interrupt: eager tasks run in the caller's thread, so they do not have soft time limits."""

    def limit(self, job: object, options: TaskOptions) -> nullcontext[None]:  # noqa: ARG002
        return nullcontext()

    def cancel(self, job: object, times: int = 1) -> None:
        """Do nothing: while a task runs, no other code runs that could cancel it."""

    def check(self) -> tuple[()]:
        """Return no overdue tasks: there are no limits."""
        return ()


class Draining(MemoryBackend):
    """A memory backend that runs what an operation has made ready before that returns."""

    def enqueue(self, messages: Sequence[Message]) -> Sequence[bool]:
        return self._drained(super().enqueue(messages))

    def enqueue_unique(self, messages: Sequence[Message], terms: LockTerms) -> Sequence[Placed]:
        return self._drained(super().enqueue_unique(messages, terms))

    def enqueue_within(self, messages: Sequence[Message], terms: LockTerms, max_length: int) -> TakenIn:
        return self._drained(super().enqueue_within(messages, terms, max_length))

    def resume(self) -> bool:
        return self._drained(super().resume())

    def send_event(self, task_id: str, name: str, value: bytes) -> EventStatus:
        return self._drained(super().send_event(task_id, name, value))

    def requeue(self, ids: Sequence[str]) -> Sequence[bool]:
        return self._drained(super().requeue(ids))

    def rejoin(self, ids: Sequence[str]) -> Sequence[bool]:
        return self._drained(super().rejoin(ids))

    def cancel(self, ids: Sequence[str], force: bool = False) -> Sequence[bool]:
        return self._drained(super().cancel(ids, force))

    def delete(self, ids: Sequence[str]) -> Sequence[bool]:
        return self._drained(super().delete(ids))

    def _drained(self, result: R) -> R:
        self._drain()
        return result

    def _drain(self) -> None:
        """Run what is ready."""
        raise NotImplementedError


class EagerBackend(Draining):
    """The store of an eager queue."""

    def __init__(self, session: Session, store: MemoryStore, queue: QueueCore) -> None:
        super().__init__(store, queue.options)
        self.place = (id(store), queue.options.stream_key, queue.options.group)
        self.queue = queue
        self._session = session
        self._limits.admitted = self._drain
        self._declared = 0
        self._started = False
        """Whether the plugins were told so."""
        self._ticker = Ticker(super().schedules(), queue.codec, None, partial(tell, queue.observer))
        self._tally = tally_of(self, queue.registry, _CONSUMER, wanted=queue.statistics)
        Reporter(queue.codec.queue, queue.observer, self._tally).watch(self)

    def statistics(self, minutes: int) -> Statistics:
        if self._tally is not None:
            self._tally.send()
        return super().statistics(minutes)

    def schedules(self) -> MemorySchedules:
        self.declare()
        return super().schedules()

    def declare(self) -> None:
        """Declare the schedules of the code, as the supervisor of a worker does."""
        if self._declared != len(self.queue.registry):
            self._declared = len(self.queue.registry)
            self._ticker.declare(self.queue.schedules())

    def until_tick(self) -> int:
        """Return the ms until the next schedule is due, -1 if there is none."""
        self.declare()
        return super().schedules().due(0).left

    def tick(self) -> None:
        """Tick what is due."""
        self._ticker.tick()

    def wait(self, ids: Sequence[str], timeout_ms: int | None, least: int | None = None) -> Sequence[Record | None]:
        def over() -> bool:
            infos = self.show(ids)
            ended = sum(info is None or info.status.ended for info in infos)
            return ended >= (len(infos) if least is None else min(least, len(infos)))

        if not self._live_until(over, ids, timeout_ms) and timeout_ms is None:
            raise self._never(ids, timeout_ms)
        return super().wait(ids, 0)

    def watch(self, task_id: str, seen: TaskInfo | None, timeout_ms: int | None) -> TaskInfo | None:
        def look() -> TaskInfo | None:
            return self.show([task_id])[0]

        def over() -> bool:
            info = look()
            return info is None or info.differs(seen)

        if not self._live_until(over, [task_id], timeout_ms):
            raise self._never([task_id], timeout_ms)
        return look()

    def _never(self, ids: Sequence[str], timeout: int | None) -> ResultTimeoutError:
        when = "and nothing is left to run" if timeout is None else f"within {timeout / 1000:g} s of its clock"
        names = sorted({name for info in self.show(ids) if info is not None and (name := task_of(info.gate))})
        paused = "the queue is paused" if self.is_paused() else f"the task {names[0]} is paused" if names else ""
        why = f": {paused}" if paused else ""
        return ResultTimeoutError(f"in eager mode {', '.join(ids)} has not ended {when}{why}")

    def work(self, run: Run) -> int:
        """Run ready tasks of this queue as a worker does. Returns how many ran."""
        queue = self.queue
        if queue.plugins is not None and not self._started:
            self._started = True
            queue.plugins.start(_CONSUMER)

        def observe(event: Event) -> None:
            tell(queue.observer, event)
            run.observe(event)

        claims = _EagerClaims(self._store, self._options, run, lambda name: self._session.serves(self, name))
        executor = Inline(NoInterrupter(), self._session.coroutines)
        parts = QueueParts(
            claims, queue.registry, queue.codec, observe, plugins=queue.plugins, eager=True, tally=self._tally
        )
        worker = Worker([parts], executor, _CONSUMER, InFlightTable())
        return worker.drain()

    def stop(self) -> None:
        """Stop the plugins, as a worker process that ends does."""
        if self.queue.plugins is not None and self._started:
            self._started = False
            for _, stop in self.queue.plugins.stops():
                stop(_LAST)

    def _drain(self) -> None:
        if not self._session.runs_here():
            self._session.drain()

    def _live_until(self, over: Over, ids: Sequence[str], timeout: int | None) -> bool:
        """Run tasks and move the clock until `over` returns True. Returns False if the time is up or no task is left
        before that."""
        session = self._session
        end = None if timeout is None else session.clock() + timeout
        while not over():
            before = self.show(ids)
            session.drain(over, ids)
            if over():
                break
            if session.step(end) or self._runs_elsewhere(ids, timeout):
                continue
            if self.show(ids) == before:  # else another thread has ended a task, or has moved the clock, just now
                return over()
        return True

    def _runs_elsewhere(self, ids: Sequence[str], timeout: int | None) -> bool:
        """If another thread runs one of the tasks, wait in real time until it changes. Returns whether it did."""
        ours = [run.task_id for run in runs.get()]
        for info in self.show(ids):
            if info is not None and info.status is TaskStatus.STARTED and info.id not in ours:
                return super().watch(info.id, info, timeout) != info
        return False


class _EagerClaims(MemoryBackend):
    """The backend of the worker of one drain: it claims only tasks that its queue runs, those awaited first."""

    def __init__(self, store: MemoryStore, options: StoreOptions, run: Run, serves: Callable[[str], bool]) -> None:
        super().__init__(store, options)
        self._run = run
        self._serves = serves
        self._turn = Turn()

    def claim(self, consumer: str, limit: int, wait_ms: int) -> Sequence[Delivery]:  # noqa: ARG002
        """Claim one task. It reclaims nothing: a holder runs in this process, and the clock moves while it runs."""
        if self._run.interrupted is not None or self._run.over():
            return ()
        with self._store.changed:
            group, now = self._queue.join()
            group.consumers[consumer] = now
            group.maintain(None, now)
            if expired := take_expired(group):
                self._broker.tell_expired(expired)
            if group.paused:
                return ()
            awaited = [
                entry for task_id in self._run.first if (entry := group.find(task_id)) and entry.place in CLAIMABLE
            ]
            in_order, _ = group.first_ready(len(group.tasks), self._turn)
            for entry in [*awaited, *in_order]:
                if not isinstance(entry.message, Message) or self._serves(entry.message.name):
                    self._turn = self._turn.after({entry.priority_class: entry.place is Place.CAME_BACK})
                    return [group.lend(entry, consumer, now)]
        return ()
