"""Eager mode: the in-memory backend, drained inline after every enqueue, on a clock that only moves when told.

It is the worker's own path (claim, decode, run, decide, settle) in the caller's thread, with arguments and results
really serialized. Waiting for a result moves the clock: a task that is delayed, or waits for its retry, runs as soon as
somebody waits for it, without any time passing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import ClassVar

from attrs import define, field

from .backends.memory import MemoryBackend, MemoryStore
from .clock import FakeClock
from .codec import Codec
from .errors import ResultTimeoutError
from .message import Bury, Failed, Message, Record
from .protocols import StoreOptions
from .task import Registry
from .worker.events import Event, Observer, TaskSettled, tell
from .worker.executors import Inline
from .worker.held import HeldTable
from .worker.worker import Worker

EAGER_VARIABLE = "PYXQUEUE_EAGER"
_CONSUMER = "eager"


class NoInterrupter:
    """Eager tasks run in the caller's thread, which is not ours to interrupt: no soft time limits."""

    def limit(self, job: object, seconds: float | None) -> nullcontext[None]:  # noqa: ARG002
        return nullcontext()

    def cancel(self, job: object) -> None:
        """Nothing runs beside the caller who could ask for it."""

    def check(self) -> None:
        """There are no limits."""


class EagerBackend(MemoryBackend):
    """A memory backend that runs what is enqueued before `enqueue` returns."""

    drain: Callable[[], None]

    def __init__(self, clock: FakeClock, options: StoreOptions) -> None:
        super().__init__(MemoryStore(clock), options)
        self._clock = clock

    def enqueue(self, messages: Sequence[Message]) -> Sequence[bool]:
        answers = super().enqueue(messages)
        self.drain()
        return answers

    def requeue(self, ids: Sequence[str]) -> Sequence[bool]:
        answers = super().requeue(ids)
        self.drain()
        return answers

    def wait(self, ids: Sequence[str], timeout: int | None) -> Sequence[Record | None]:
        left = timeout
        while None in (records := super().wait(ids, 0)) and all(self.show(ids)):
            step = self.promote(1)
            if step < 0 or (left is not None and left <= 0):
                if timeout is None:
                    raise ResultTimeoutError(f"in eager mode nothing is left to run, and {list(ids)} would never end")
                break
            if left is not None:
                step = min(step, left)
                left -= step
            self._clock.advance(step)
            self.drain()
        return records


@define(eq=False)
class EagerSession:
    """The eager stores of some queues, on one clock.

    `propagate`: an exception that finally fails a task comes out of the call that enqueued it, as itself.
    """

    propagate: bool = False
    clock: FakeClock = field(factory=FakeClock)
    _backends: dict[int, EagerBackend] = field(factory=dict)
    override: ClassVar[EagerSession | None] = None
    """The session that every queue uses instead of its own store, while `eager_mode` is on."""

    def backend_for(
        self, queue: object, options: StoreOptions, registry: Registry, codec: Codec, observer: Observer | None
    ) -> EagerBackend:
        """The eager backend of one queue, made when first asked for."""
        if (backend := self._backends.get(id(queue))) is None:
            backend = EagerBackend(self.clock, options)
            backend.drain = _Drain(backend, registry, codec, observer, self.propagate)
            self._backends[id(queue)] = backend
        return backend

    def advance(self, seconds: float) -> None:
        """Let time pass, and run what has become due."""
        self.clock.advance(round(seconds * 1000))
        self.drain()

    def drain(self) -> None:
        """Run whatever is ready."""
        for backend in list(self._backends.values()):
            backend.drain()


class _Drain:
    """Runs everything that is ready, in this thread."""

    def __init__(
        self, backend: EagerBackend, registry: Registry, codec: Codec, observer: Observer | None, propagate: bool
    ) -> None:
        self._observer = observer
        self._propagate = propagate
        self._failures: list[BaseException] = []
        self._worker = Worker(
            backend, backend, registry, codec, Inline(NoInterrupter()), _CONSUMER, HeldTable(), self._observe
        )

    def __call__(self) -> None:
        outer, self._failures = self._failures, []
        try:
            self._worker.drain()
            if self._propagate and self._failures:
                raise self._failures[0]
        finally:
            self._failures = outer

    def _observe(self, event: Event) -> None:
        match event:
            case TaskSettled(outcome=Failed(exception=BaseException() as error), verdict=Bury()):
                self._failures.append(error)
        tell(self._observer, event)


@contextmanager
def eager_mode(propagate: bool = False) -> Iterator[EagerSession]:
    """While inside, every queue of this process is eager, with an empty store of its own.

    Meant for tests: ``with eager_mode() as eager: ...; eager.advance(60)``.
    """
    before = EagerSession.override
    EagerSession.override = session = EagerSession(propagate)
    try:
        yield session
    finally:
        EagerSession.override = before


def eager_by_environment() -> bool:
    """Whether the environment variable PYXQUEUE_EAGER asks for it."""
    return os.environ.get(EAGER_VARIABLE, "").lower() in ("1", "true", "yes", "on")
