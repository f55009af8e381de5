"""The drains of eager sessions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any, Protocol

from msgspec import Struct

from ..clock import FakeClock
from ..model.message import Fail, Raised
from ..worker.coroutines import CoroutineRunner
from ..worker.events import Event, TaskSettled, TaskStarted

Over = Callable[[], bool]


class Session(Protocol):
    """An `EagerSession`, for its backends."""

    clock: FakeClock
    coroutines: CoroutineRunner

    def drain(self, over: Over = ..., first: Sequence[str] = ...) -> None: ...

    def runs_here(self) -> bool: ...

    def step(self, end: int | None) -> bool: ...

    def serves(self, backend: Any, name: str) -> bool: ...


class Run(Struct, eq=False):
    """One drain of a session in one thread. A task that waits starts another drain inside it."""

    session: object
    over: Over
    first: Sequence[str]
    task_id: str = ""
    """The task that is running."""
    failures: list[BaseException] = []
    interrupted: KeyboardInterrupt | None = None

    def observe(self, event: Event) -> None:
        match event:
            case TaskStarted():
                self.task_id = event.task_id
            case TaskSettled(outcome=Raised(exception=BaseException() as error), verdict=Fail()):
                self.failures.append(error)
                if isinstance(error, KeyboardInterrupt):  # it interrupts the program, not only the task
                    self.interrupted = error


runs: ContextVar[tuple[Run, ...]] = ContextVar("pyxqueue_eager_runs", default=())
"""The drains that are active in this context, the outermost first."""
