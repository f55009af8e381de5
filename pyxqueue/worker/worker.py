"""A worker: it claims deliveries, runs them and settles the outcomes.

Three threads share the work. The caller's thread *claims*, and dispatches to the executors (`claiming`). The second
*settles* what has run, in batches, while the next tasks run (`settling`). The third *monitors*: it enforces time
limits, sends progress and passes on cancellations (`monitor`). The supervisor of the process reads the table and renews
the leases.

`drain` does the same in one thread, until nothing is left.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

from attrs import define, field

from ..codec import Codec
from ..inflight import InFlightTable
from ..protocols import Broker
from ..registry import Registry
from .batch_sizer import MAX_BATCH
from .claiming import Claimer
from .deciding import Decider
from .dispatching import Dispatcher
from .events import Observer, log
from .executors import Executor
from .jobs import Jobs
from .loop import Loop
from .monitor import Monitor
from .options import DEFAULT_WAIT_MS
from .running import Runner
from .settling import SettlingQueue


@define(eq=False)
class Worker:
    """Runs the tasks of `registry` with messages from `broker`.

    Parameters: `executor`, for plain functions; `loop`, for coroutine functions, None if the executor runs those too;
    `consumer`, its name in the store, unique per boot; `table`, where it notes what it has in flight; `wait_ms`, how
    long a claim waits for work; `observer`, told of every start and settlement.
    """

    broker: Broker
    registry: Registry
    codec: Codec
    executor: Executor
    consumer: str
    table: InFlightTable
    observer: Observer | None = None
    wait_ms: int = DEFAULT_WAIT_MS
    loop: Loop | None = None
    _chance: Callable[[], float] = field(factory=lambda: random.Random().random)  # noqa: S311 - jitter
    broken: threading.Event = field(factory=threading.Event, init=False)
    """Set when one of its threads has failed: the worker stops, and its process must end soon."""
    _fault: BaseException | None = field(default=None, init=False)
    _jobs: Jobs = field(init=False)
    _settling: SettlingQueue = field(init=False)
    _dispatcher: Dispatcher = field(init=False)
    _claimer: Claimer = field(init=False)
    _monitor: Monitor = field(init=False)

    def __attrs_post_init__(self) -> None:
        jobs, consumer, observer = Jobs(self.table), self.consumer, self.observer
        decider = Decider(self.codec, consumer, self._chance)
        settling = SettlingQueue(self.broker, jobs, decider, consumer, observer, self._backoff)
        runner = Runner(jobs, self.codec, consumer, observer, settling.put, self._chance)
        dispatcher = Dispatcher(runner, self.executor, self.loop)
        self._jobs, self._settling, self._dispatcher = jobs, settling, dispatcher
        self._claimer = Claimer(
            self.broker,
            self.registry,
            jobs,
            dispatcher,
            settling,
            decider,
            consumer,
            self.wait_ms,
            self._backoff,
            sealed=self.codec.seal is not None,
        )
        plain = self.executor.interrupter
        self._monitor = Monitor(self.broker, jobs, [plain, self.loop.interrupter] if self.loop else [plain])

    def run(self) -> None:
        """Work until `stop` is called, then wait for running tasks, settle them, and give back the rest.

        Raises `RuntimeError` if one of its threads failed. The process must end then, so that its work is released.
        """
        self._dispatcher.open(self._break)
        threads = [
            threading.Thread(target=self._watched, args=(body,), name=name, daemon=True)
            for body, name in ((self._settling.run, "pyxqueue-settle"), (self._monitor.run, "pyxqueue-monitor"))
        ]
        for thread in threads:
            thread.start()
        try:
            self._claimer.run()
        except BaseException as error:  # noqa: BLE001 - raised below
            self._break(error)
        finally:
            self._dispatcher.close()
            self._settling.close()
            self._monitor.close()
            for thread in threads:
                thread.join()
            self._claimer.give_back()
        if self._fault is not None:
            raise RuntimeError(f"a thread of {self.consumer} broke") from self._fault

    def stop(self) -> None:
        """Claim nothing more. May be called from a signal handler, and from any thread."""
        self._claimer.stop()
        self._monitor.stop_claiming()

    def drain(self) -> int:
        """Run everything that is ready, in this thread, until nothing is left. Returns how many ran.

        The executor must be `Inline`. No other thread of this worker may be running.
        """
        self._dispatcher.open(self._break)
        ran = 0
        while True:
            self.broker.maintain(MAX_BATCH)
            if not self._claimer.claim(1, 0):
                return ran
            ran += self._settling.settle_here()

    def _watched(self, body: Callable[[], None]) -> None:
        try:
            body()
        except BaseException as error:  # noqa: BLE001 - logged, and raised where the worker ends
            self._break(error)

    def _break(self, error: BaseException) -> None:
        """Stop because a thread has failed: without it, the worker would only seem to work."""
        self._fault = error
        self.stop()
        self.broken.set()
        thread = threading.current_thread().name
        log.critical("the thread %s of %s broke: its process ends", thread, self.consumer, exc_info=error)

    def _backoff(self, failures: int, longest: float) -> float:
        """Return how many seconds to wait for the store after so many failures in a row, at most `longest`."""
        return min(longest, 0.05 * 2.0 ** min(failures, 10)) * (0.5 + 0.5 * self._chance())
