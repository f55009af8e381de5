"""Eager mode: a memory backend whose tasks run in the caller's thread, on a clock that moves only when told to.

Tasks take the same path as in a worker (claim, decode, run, decide, settle), and arguments and results are serialized.
Waiting for a result moves the clock: a delayed task, or one that waits for its retry, runs as soon as a caller waits
for it, and no real time passes.

A task that another task enqueues runs when that one has ended, or as soon as that one waits for it, as with a worker.
So the stack does not grow with the length of a chain of tasks.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from typing import ClassVar

from attrs import define, field

from .backends.memory import MemoryBackend, MemoryStore
from .clock import FakeClock, Seconds, in_seconds
from .core import QueueCore
from .errors import ConfigurationError, ResultTimeoutError
from .inflight import InFlightTable
from .locked import Place
from .model.message import Delivery, Fail, Message, Raised, Record, TaskInfo, TaskStatus
from .options import TaskOptions
from .protocols import StoreOptions
from .worker.coroutines import CoroutineRunner
from .worker.events import Event, TaskSettled, TaskStarted, tell
from .worker.executors import Inline
from .worker.worker import Worker

_CONSUMER = "eager"
Over = Callable[[], bool]


class NoInterrupter:
    """Does not interrupt: eager tasks run in the caller's thread, so they do not have soft time limits."""

    def limit(self, job: object, options: TaskOptions) -> nullcontext[None]:  # noqa: ARG002
        return nullcontext()

    def cancel(self, job: object, times: int = 1) -> None:
        """Do nothing: while a task runs, no other code runs that could cancel it."""

    def check(self) -> tuple[()]:
        """Return no overdue tasks: there are no limits."""
        return ()


def _never_over() -> bool:
    return False


@define(eq=False)
class EagerSession:
    """The eager stores of several queues, on one clock.

    Queues with the same URL or client share a store, as they would share a server: each group gets every task, once its
    queue has been used. With `propagate`, which can be set at any time, an exception that finally fails a task is
    raised by the call that ran the task (enqueueing, waiting, `advance`).
    """

    propagate: bool = False
    clock: FakeClock = field(factory=FakeClock)
    _backends: dict[QueueCore, EagerBackend] = field(factory=dict, init=False, repr=False)
    _stores: dict[object, MemoryStore] = field(factory=dict, init=False, repr=False)
    _stepping: threading.Lock = field(factory=threading.Lock, init=False, repr=False)
    coroutines: CoroutineRunner = field(factory=CoroutineRunner, init=False, repr=False)
    """Runs all ``async def`` tasks of the session on one event loop, so that they can share its resources."""
    override: ClassVar[EagerSession | None] = None
    """The session that every queue uses instead of its own store inside `eager_mode`."""

    def __attrs_post_init__(self) -> None:
        weakref.finalize(self, self.coroutines.close)

    def close(self) -> None:
        """Cancel what ``async def`` tasks left running, and close their event loop. The session can still be used."""
        self.coroutines.close()

    def backend_for(self, queue: QueueCore, source: object) -> EagerBackend:
        """Return the eager backend of a queue; the first call makes it. `source` is the store that the queue names."""
        if (backend := self._backends.get(queue)) is None:
            key = source if isinstance(source, str) else id(source)
            if (store := self._stores.get(key)) is None:
                store = self._stores[key] = MemoryStore(self.clock)
                self.clock.subscribe(store.poke)
            backend = self._backends[queue] = EagerBackend(self, store, queue)
            backend.lease_ms()  # registers the group, as a worker of this queue would
        return backend

    def advance(self, seconds: Seconds) -> None:
        """Move the clock, by seconds or a `timedelta`, and run each task when it becomes due."""
        ms = round(in_seconds(seconds) * 1000)
        if ms < 0:
            raise ConfigurationError(f"advance({seconds}): the clock cannot go back, give 0 or more")
        end = self.clock() + ms
        self.drain()
        while self.step(end):
            self.drain()

    def drain(self, over: Over = _never_over, first: Sequence[str] = ()) -> None:
        """Run ready tasks in this thread until none is left or `over` returns True, beginning with the ids `first`."""
        run = _Run(self, over, first)
        token = _runs.set((*_runs.get(), run))
        try:
            while sum(backend.work(run) for backend in list(self._backends.values())):
                pass  # a task of one queue may have enqueued tasks on another
        finally:
            _runs.reset(token)
        if run.interrupted is not None:
            raise run.interrupted
        if self.propagate and run.failures:
            raise run.failures[0]

    def runs_here(self) -> bool:
        """Return True inside a task that this session runs."""
        return any(run.session is self for run in _runs.get())

    def step(self, end: int | None) -> bool:
        """Move the clock to when the next task is due, at most to `end`. Returns False if no task is due then."""
        with self._stepping:
            now = self.clock()
            dues = [now + left for backend in list(self._backends.values()) if (left := backend.maintain(0)) >= 0]
            moments = [*dues, *([] if end is None else [end])] or [now]
            moment = min(moments)
            self.clock.advance(max(0, moment - now))
            return moment in dues

    def serves(self, backend: EagerBackend, name: str) -> bool:
        """Return whether this queue runs the task, rather than another queue of the same group."""
        if backend.queue.registry.get(name) is not None:
            return True
        peers = [other for other in list(self._backends.values()) if other.place == backend.place]
        return not any(peer.queue.registry.get(name) is not None for peer in peers)


@define(eq=False)
class _Run:
    """One drain of a session in one thread. A task that waits starts another drain inside it."""

    session: EagerSession
    over: Over
    first: Sequence[str]
    task_id: str = ""
    """The task that is running."""
    failures: list[BaseException] = field(factory=list)
    interrupted: KeyboardInterrupt | None = None

    def observe(self, event: Event) -> None:
        match event:
            case TaskStarted():
                self.task_id = event.task_id
            case TaskSettled(outcome=Raised(exception=BaseException() as error), verdict=Fail()):
                self.failures.append(error)
                if isinstance(error, KeyboardInterrupt):  # it interrupts the program, not only the task
                    self.interrupted = error


_runs: ContextVar[tuple[_Run, ...]] = ContextVar("pyxqueue_eager_runs", default=())
"""The drains that are active in this context, the outermost first."""


class EagerBackend(MemoryBackend):
    """A memory backend that runs enqueued tasks before `enqueue` returns."""

    def __init__(self, session: EagerSession, store: MemoryStore, queue: QueueCore) -> None:
        super().__init__(store, queue.options)
        self.place = (id(store), queue.options.stream_key, queue.options.group)
        self.queue = queue
        self._session = session

    def enqueue(self, messages: Sequence[Message]) -> Sequence[bool]:
        accepted = super().enqueue(messages)
        self._drain()
        return accepted

    def requeue(self, ids: Sequence[str]) -> Sequence[bool]:
        accepted = super().requeue(ids)
        self._drain()
        return accepted

    def wait(self, ids: Sequence[str], timeout_ms: int | None, least: int | None = None) -> Sequence[Record | None]:
        def over() -> bool:
            infos = self.show(ids)
            ended = sum(info is None or info.status.ended for info in infos)
            return ended >= (len(infos) if least is None else min(least, len(infos)))

        if not self._live_until(over, ids, timeout_ms) and timeout_ms is None:
            raise _never(ids, timeout_ms)
        return super().wait(ids, 0)

    def watch(self, task_id: str, seen: TaskInfo | None, timeout_ms: int | None) -> TaskInfo | None:
        def look() -> TaskInfo | None:
            return self.show([task_id])[0]

        def over() -> bool:
            info = look()
            return info is None or info.differs(seen)

        if not self._live_until(over, [task_id], timeout_ms):
            raise _never([task_id], timeout_ms)
        return look()

    def work(self, run: _Run) -> int:
        """Run ready tasks of this queue as a worker does. Returns how many ran."""
        queue = self.queue

        def observe(event: Event) -> None:
            tell(queue.observer, event)
            run.observe(event)

        claims = _EagerClaims(self._store, self._options, run, lambda name: self._session.serves(self, name))
        executor = Inline(NoInterrupter(), self._session.coroutines)
        worker = Worker(claims, queue.registry, queue.codec, executor, _CONSUMER, InFlightTable(), observe)
        return worker.drain()

    def _drain(self) -> None:
        if not self._session.runs_here():
            self._session.drain()

    def _live_until(self, over: Over, ids: Sequence[str], timeout: int | None) -> bool:
        """Run tasks and move the clock until `over` returns True. Returns False if the time is up or no task is left
        before that."""
        session = self._session
        end = None if timeout is None else session.clock() + timeout
        while not over():
            session.drain(over, ids)
            if over():
                break
            if not session.step(end) and not self._runs_elsewhere(ids, timeout):
                return over()  # another thread may have ended the task just now
        return True

    def _runs_elsewhere(self, ids: Sequence[str], timeout: int | None) -> bool:
        """If another thread runs one of the tasks, wait in real time until it changes. Returns whether it did."""
        ours = [run.task_id for run in _runs.get()]
        for info in self.show(ids):
            if info is not None and info.status is TaskStatus.STARTED and info.id not in ours:
                return super().watch(info.id, info, timeout) != info
        return False


class _EagerClaims(MemoryBackend):
    """The backend of the worker of one drain: it claims only tasks that its queue runs, those awaited first."""

    def __init__(self, store: MemoryStore, options: StoreOptions, run: _Run, serves: Callable[[str], bool]) -> None:
        super().__init__(store, options)
        self._run = run
        self._serves = serves

    def claim(self, consumer: str, limit: int, wait_ms: int) -> Sequence[Delivery]:  # noqa: ARG002
        """Claim one task. It reclaims nothing: a holder runs in this process, and the clock moves while it runs."""
        if self._run.interrupted is not None or self._run.over():
            return ()
        with self._store.changed:
            group, now = self._queue.join()
            group.consumers[consumer] = now
            group.maintain(None, now)
            ready = group.lines[Place.READY]
            for entry in [*(ready[task_id] for task_id in self._run.first if task_id in ready), *ready.values()]:
                if not isinstance(entry.message, Message) or self._serves(entry.message.name):
                    return [group.lend(entry, consumer, now)]
        return ()


def _never(ids: Sequence[str], timeout: int | None) -> ResultTimeoutError:
    when = "and nothing is left to run" if timeout is None else f"within {timeout / 1000:g} s of its clock"
    return ResultTimeoutError(f"in eager mode {', '.join(ids)} has not ended {when}")


@contextmanager
def eager_mode(propagate: bool = False) -> Iterator[EagerSession]:
    """Make every queue of this process eager, with an empty store, inside the ``with`` block.

    For tests: ``with eager_mode() as eager: ...; eager.advance(60)``. `propagate`: see `EagerSession`.
    """
    before = EagerSession.override
    EagerSession.override = session = EagerSession(propagate)
    try:
        yield session
    finally:
        EagerSession.override = before
        session.close()
