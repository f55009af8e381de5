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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar

from attrs import define, field

from ..clock import FakeClock, Seconds, in_seconds
from ..core import QueueCore
from ..errors import ConfigurationError
from ..worker.coroutines import CoroutineRunner
from .runs import Over, Run, runs

if TYPE_CHECKING:
    from ..backends.memory import MemoryStore
    from .backend import EagerBackend


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
        """Cancel what ``async def`` tasks left running, close their event loop, and stop the plugins of the queues. The
        session can still be used."""
        self.coroutines.close()
        for backend in list(self._backends.values()):
            backend.stop()

    def stop(self, queue: QueueCore) -> None:
        """Stop the plugins of a queue that is closed."""
        if (backend := self._backends.get(queue)) is not None:
            backend.stop()

    def backend_for(self, queue: QueueCore, source: object) -> EagerBackend:
        """Return the eager backend of a queue; the first call makes it. `source` is the store that the queue names."""
        from ..backends.memory import MemoryStore  # noqa: PLC0415 - most programs do not use eager mode
        from .backend import EagerBackend  # noqa: PLC0415

        if (backend := self._backends.get(queue)) is None:
            key = source if isinstance(source, str) else id(source)
            if (store := self._stores.get(key)) is None:
                store = self._stores[key] = MemoryStore(self.clock)
                self.clock.subscribe(store.poke)
            backend = self._backends[queue] = EagerBackend(self, store, queue)
            backend.lease_ms()  # registers the group, as a worker of this queue would
        return backend

    def advance(self, seconds: Seconds) -> None:
        """Move the clock, by seconds or a `timedelta`, and run each task when it becomes due, or its schedule does."""
        ms = round(in_seconds(seconds) * 1000)
        if ms < 0:
            raise ConfigurationError(f"advance({seconds}): the clock cannot go back, give 0 or more")
        end = self.clock() + ms
        self.drain()
        while self.step(end):
            self.drain()

    def drain(self, over: Over = _never_over, first: Sequence[str] = ()) -> None:
        """Run ready tasks in this thread until none is left or `over` returns True, beginning with the ids `first`."""
        run = Run(self, over, first)
        token = runs.set((*runs.get(), run))
        try:
            while sum(backend.work(run) for backend in list(self._backends.values())):
                pass  # a task of one queue may have enqueued tasks on another
        finally:
            runs.reset(token)
        if run.interrupted is not None:
            raise run.interrupted
        if self.propagate and run.failures:
            raise run.failures[0]

    def runs_here(self) -> bool:
        """Return True inside a task that this session runs."""
        return any(run.session is self for run in runs.get())

    def step(self, end: int | None) -> bool:
        """Move the clock to when the next task or schedule is due, at most to `end`. Returns False if none is due then.
        A schedule alone does not move the clock: it would never end."""
        with self._stepping:
            now = self.clock()
            backends = list(self._backends.values())
            dues = [now + left for backend in backends if (left := backend.maintain(0)) >= 0]
            moments = [*dues, *([] if end is None else [end])]
            ticks = [now + left for backend in backends if (left := backend.until_tick()) >= 0] if moments else []
            moment = min([*moments, *ticks], default=now)
            self.clock.advance(max(0, moment - now))
            if moment in ticks:
                for backend in backends:
                    backend.tick()
            return moment in dues or moment in ticks

    def serves(self, backend: EagerBackend, name: str) -> bool:
        """Return whether this queue runs the task, rather than another queue of the same group."""
        if backend.queue.registry.get(name) is not None:
            return True
        peers = [other for other in list(self._backends.values()) if other.place == backend.place]
        return not any(peer.queue.registry.get(name) is not None for peer in peers)


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
