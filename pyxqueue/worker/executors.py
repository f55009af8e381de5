"""Where plain functions run: inline, or in threads. Coroutine functions run on an event loop (`loop`).

An executor calls what it is given, once, in one of its threads. It knows nothing about tasks, and decides nothing.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from .batch_sizer import MAX_BATCH
from .coroutines import CoroutineRunner
from .interrupts import Interrupter, SignalInterrupter, ThreadInterrupter
from .loop_interrupts import log_unhandled
from .places import Ahead, Places
from .surroundings import Surroundings

_AHEAD = 32
"""How many functions are claimed ahead for threads, at most."""

Run = Callable[[], None]
"""A function that runs one delivery to its outcome."""
Broke = Callable[[BaseException], None]
"""Called when a thread of an executor ends with an error that no task raised: what a task raises is an outcome."""


class Executor(Protocol):
    """Runs plain functions."""

    inline: bool
    """Whether `submit` runs the function before it returns."""
    interrupter: Interrupter
    surroundings: Surroundings | None
    """Restores what a task changed in the process; None if tasks do not run in the main thread."""

    def open(self, broke: Broke) -> None: ...

    def room(self) -> int:
        """Return how many more could start now."""
        ...

    def wait_room(self, timeout: float) -> None:
        """Wait up to `timeout` seconds until there is room."""
        ...

    def submit(self, run: Run, wait: float = 0.0) -> bool:
        """Run a function, possibly before this returns. Returns False if there is no room within `wait` seconds."""
        ...

    def run_coroutine(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine that a function has returned to its end. Called in the thread of the function."""
        ...

    def wait_idle(self, timeout: float | None = None) -> bool:
        """Wait until everything that was submitted has ended. Returns False if that takes longer than `timeout`
        seconds."""
        ...

    def close(self) -> None:
        """Wait until what has started ends. What has not started does not start any more."""
        ...


class Inline:
    """Runs functions in the thread that submits them, which is fastest for short tasks."""

    inline = True

    def __init__(self, interrupter: Interrupter | None = None, coroutines: CoroutineRunner | None = None) -> None:
        """`coroutines` runs the coroutines that tasks return; the caller closes it."""
        in_main = threading.current_thread() is threading.main_thread()
        self.interrupter = interrupter or (SignalInterrupter() if in_main else ThreadInterrupter())
        self.surroundings: Surroundings | None = None
        self._owned = coroutines is None
        self._coroutines = coroutines or CoroutineRunner(log_unhandled)

    def open(self, broke: Broke) -> None:  # noqa: ARG002 - it does not have a thread of its own
        if isinstance(self.interrupter, SignalInterrupter):  # the main thread of a worker process
            self.surroundings = Surroundings()

    def room(self) -> int:
        return MAX_BATCH

    def wait_room(self, timeout: float) -> None:
        """There always is room."""

    def submit(self, run: Run, wait: float = 0.0) -> bool:  # noqa: ARG002 - there always is room
        run()
        return True

    def run_coroutine(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self._coroutines.run(coroutine)

    def wait_idle(self, timeout: float | None = None) -> bool:  # noqa: ARG002 - nothing runs outside of `submit`
        return True

    def close(self) -> None:
        if self._owned:
            self._coroutines.close()


class Threads:
    """Runs functions in a fixed number of threads. It holds more that were claimed ahead."""

    inline = False
    surroundings: Surroundings | None = None

    def __init__(self, threads: int, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.interrupter: Interrupter = ThreadInterrupter()
        self._places = Places(threads, Ahead(_AHEAD, monotonic))
        self._runs: queue.SimpleQueue[Run | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._local = threading.local()
        self._closing = False

    def open(self, broke: Broke) -> None:
        self._broke = broke
        for number in range(self._places.count):
            thread = threading.Thread(target=self._serve, name=f"pyxqueue-task-{number}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def room(self) -> int:
        return self._places.room()

    def wait_room(self, timeout: float) -> None:
        self._places.wait_room(timeout)

    def submit(self, run: Run, wait: float = 0.0) -> bool:
        if not self._places.take(wait):
            return False
        self._runs.put(run)
        return True

    def run_coroutine(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self._local.coroutines.run(coroutine)

    def wait_idle(self, timeout: float | None = None) -> bool:
        return self._places.wait_idle(timeout)

    def close(self) -> None:
        self._closing = True
        for _ in self._threads:
            self._runs.put(None)
        for thread in self._threads:
            thread.join()

    def _serve(self) -> None:
        coroutines = self._local.coroutines = CoroutineRunner(log_unhandled)
        try:
            while (run := self._runs.get()) is not None:
                try:
                    if not self._closing:
                        run()
                finally:
                    self._places.remove()
            coroutines.close()
        except BaseException as error:  # noqa: BLE001 - not the error of a task: those are outcomes
            self._broke(error)
