"""A worker: it claims deliveries, runs them and settles the outcomes.

Three threads share the work. The caller's thread *claims*, and dispatches to the executors (`claiming`). The second
*settles* what has run, in batches, while the next tasks run (`settling`). The third *monitors*: it enforces time
limits, sends progress and passes on cancellations (`monitor`). The supervisor of the process reads the table and renews
the leases. Each further queue has a thread that settles and one that sends progress, so that no queue waits for the
store of another one.

`drain` does the same in one thread, until nothing is left.
"""

from __future__ import annotations

import contextvars
import random
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from typing import cast

from attrs import define, field

from ..contact import UNWATCHED
from ..errors import BrokerError
from ..inflight import InFlightTable
from ..options import DEFAULT_GRACE, DEFAULT_WAIT_MS
from ..plugin import Plugins
from ..protocols import Backend
from .batch_sizer import MAX_BATCH
from .beginning import Beginner
from .claiming import Claimer
from .colleagues import Colleagues
from .deciding import Decider
from .dispatching import Dispatcher
from .events import log
from .executors import Executor
from .inputs import InputReader
from .interrupts import Watched
from .jobs import Jobs
from .lifetime import Lifetime
from .loop import Loop
from .monitor import Monitor
from .receiving import EventReceiver
from .reporting import Reporter
from .running import Runner
from .serving import QueueParts, ServedQueue
from .settling import SettlingQueue
from .several import claims_of
from .steps import StepKeeper
from .turns import EQUAL, Turns


@define(eq=False)
class Worker:
    """Runs the tasks of one queue or several.

    Parameters: `parts`, of the queues; `executor`, for plain functions; `loop`, for coroutine functions, None if the
    executor runs those too; `consumer`, its name in the stores, unique per boot; `table`, where it notes what it has in
    flight; `wait_ms`, how long a claim waits for work; `turns`, in which several queues are claimed from; `grace`, the
    seconds that tasks may go on when it was told to stop; `lifetime`, after what it ends, None if it never does.
    """

    parts: Sequence[QueueParts]
    executor: Executor
    consumer: str
    table: InFlightTable
    wait_ms: int = DEFAULT_WAIT_MS
    loop: Loop | None = None
    turns: Turns = EQUAL
    grace: float = DEFAULT_GRACE
    lifetime: Lifetime | None = None
    _chance: Callable[[], float] = field(factory=lambda: random.Random().random)  # noqa: S311 - jitter
    broken: threading.Event = field(factory=threading.Event, init=False)
    """Set when one of its threads has failed: the worker stops, and its process must end soon."""
    _fault: BaseException | None = field(default=None, init=False)
    _jobs: Jobs = field(init=False)
    _queues: Sequence[ServedQueue] = field(init=False)
    _dispatcher: Dispatcher = field(init=False)
    _claimer: Claimer = field(init=False)
    _monitors: Sequence[Monitor] = field(init=False)
    plugins: Plugins | None = field(init=False)
    """The plugins of all queues."""
    _receivers: Sequence[EventReceiver] = field(init=False)
    """One, if a queue has an observer."""

    def __attrs_post_init__(self) -> None:
        self._jobs = jobs = Jobs(self.table)
        self.plugins = Plugins.joined(parts.plugins for parts in self.parts)
        self._queues = queues = [self._served(number, parts) for number, parts in enumerate(self.parts)]
        claims = claims_of(self.turns.order(len(queues)), queues, self._backoff, self._inside)
        self._dispatcher = Dispatcher([queue.runner for queue in queues], self.executor, self.loop)
        self._claimer = Claimer(
            claims,
            queues,
            jobs,
            self._dispatcher,
            self.consumer,
            wait_ms=self.wait_ms,
            backoff=self._backoff,
            lifetime=self.lifetime,
        )
        plain: Watched = self.executor.interrupter
        limits = [plain, self.loop.interrupter] if self.loop else [plain]
        first, *others = queues
        self._monitors = [
            Monitor(first.broker, jobs, limits, claims.interrupt),
            *(Monitor(queue.broker, jobs, (), lambda: None, queue.number) for queue in others),
        ]
        observers = [parts.observer for parts in self.parts]
        self._receivers = [EventReceiver(self.table.mail, observers)] if any(observers) else []

    def _served(self, number: int, parts: QueueParts) -> ServedQueue:
        """Make what this worker has for one queue alone."""
        alone = len(self.parts) == 1
        of = "" if alone else f" of {parts.name}"
        reporter = Reporter(parts.codec.queue, parts.observer, parts.tally, of, self.consumer)
        reporter.watch(parts.broker)
        colleagues = Colleagues(parts.broker, parts.registry, parts.codec)
        decider = Decider(parts.codec, self.consumer, self._chance, colleagues.can_serve)
        thread = min(number + 1, UNWATCHED)
        settling = SettlingQueue(
            parts.broker, self._jobs, decider, reporter, self._backoff, tally=parts.tally, thread=thread
        )
        beginner = Beginner(parts.broker, reporter, self._backoff, patient=alone, inside=self._inside)
        served = () if parts.eager else [each.codec.queue for each in self.parts]
        keeper = StepKeeper(parts.broker, parts.codec, lambda: beginner.stopping, self._backoff, served)
        runner = Runner(
            self._jobs,
            parts.codec,
            reporter,
            beginner,
            hand_over=settling.put,
            chance=self._chance,
            inputs=InputReader(cast("Backend", parts.broker), parts.codec, keeper),  # only a backend has flows
            keeper=keeper,
            eager=parts.eager,
            around=parts.plugins.enter if parts.plugins is not None and parts.plugins.have_around else None,
        )
        sealed = parts.codec.seal is not None
        return ServedQueue(parts.broker, parts.registry, decider, settling, runner, parts.name, number, sealed)

    def run(self) -> None:
        """Work until `stop` is called or its lifetime is over, then wait for running tasks, settle them, and give back
        the rest.

        Raises `RuntimeError` if one of its threads failed. The process must end then, so that its work is released.
        """
        self._dispatcher.open(self._break)
        bodies = [(self._in_role("settle", queue.settling.run), "pyxqueue-settle") for queue in self._queues]
        bodies += [(self._in_role("monitor", monitor.run), "pyxqueue-monitor") for monitor in self._monitors]
        bodies += [(receiver.run, "pyxqueue-observe") for receiver in self._receivers]
        threads = [
            threading.Thread(target=self._watched, args=(body,), name=name, daemon=True) for body, name in bodies
        ]
        claim = self._in_role("claim", self._claimer.run)
        for thread in threads:
            thread.start()
        try:
            claim()
        except BaseException as error:  # noqa: BLE001 - raised below
            self._break(error)
        finally:
            self._dispatcher.close()
            for queue in self._queues:
                queue.runner.beginner.close()
                queue.settling.close()
            for monitor in self._monitors:
                monitor.close()
            for receiver in self._receivers:
                receiver.close()
            for thread in threads:
                thread.join()
            self._claimer.give_back()
            self._claimer.claims.close()
        if self._fault is not None:
            raise RuntimeError(f"a thread of {self.consumer} broke") from self._fault

    @property
    def retired(self) -> str:
        """Why its process is to be replaced by a new one; "" if it is not."""
        return self._claimer.retired

    def stop(self) -> None:
        """Claim nothing more. May be called from a signal handler, and from any thread."""
        self._claimer.stop()
        for queue in self._queues:
            queue.runner.beginner.stopping = True
        self._monitors[0].stop_claiming()

    def lease_ms(self) -> int:
        """Return the longest lease of its queues, of those whose store can be reached."""
        leases = []
        for queue in self._queues:
            with suppress(BrokerError):
                leases.append(queue.broker.lease_ms())
        return max(leases, default=0)

    def drain(self) -> int:
        """Run everything that is ready, in this thread, until nothing is left. Returns how many ran.

        The executor must be `Inline`. No other thread of this worker may be running.
        """
        self._dispatcher.open(self._break)
        ran = 0
        while True:
            for queue in self._queues:
                queue.broker.maintain(MAX_BATCH)
            if not self._claimer.claim(1, 0):
                break
            for queue in self._queues:
                ran += queue.settling.settle_here()
        for parts in self.parts:
            if parts.tally is not None and not parts.eager:
                parts.tally.send()
        return ran

    def _in_role(self, role: str, body: Callable[[], None]) -> Callable[[], None]:
        """Return `body` as a thread of its own runs it: inside of what plugins have for the role. Functions that this
        thread runs are outside of it."""
        if self.plugins is None or not self.plugins.have_inside:
            return body
        context = contextvars.copy_context()
        if role == "claim" and self._dispatcher.inline:
            for queue in self._queues:
                queue.runner.base = context.copy()

        def run() -> None:
            with self._inside(role):
                body()

        return partial(context.run, run)

    def _inside(self, role: str) -> AbstractContextManager[None]:
        return nullcontext() if self.plugins is None else self.plugins.inside(role)

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
