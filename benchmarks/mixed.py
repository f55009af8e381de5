"""Long tasks among short ones: how long tasks wait, beside a simulation of one line that all processes take from.

One task in a hundred takes 1 s, the others 1 ms. They arrive at random times, at a load that is a share of what two
processes can do.
"""

from __future__ import annotations

import heapq
import os
import random
import threading
import time
from collections.abc import Collection, Sequence
from typing import Self

from attrs import define, field, frozen

from pyxqueue import TaskQueue
from pyxqueue.model.message import TaskStatus

PROCESSES = 2
LONG, SHORT, LONG_SHARE = 1.0, 0.001, 0.01
SEED = 3
"""With it, both loads have times at which all processes run long tasks."""
_LOOK_EVERY = 0.005


@frozen
class Run:
    """One task as its process saw it, in seconds of `time.monotonic`."""

    start: float
    end: float
    pid: int


@frozen
class Arrivals:
    """When tasks are enqueued, in seconds from the first one, and how long each takes."""

    moments: Sequence[float]
    durations: Sequence[float]

    @classmethod
    def at_random(cls, count: int, load: float, burst: int = 1) -> Arrivals:
        """`burst`: how many arrive at once."""
        chance = random.Random(SEED)  # noqa: S311 - the same for each run
        rate = load * PROCESSES / (LONG_SHARE * LONG + (1 - LONG_SHARE) * SHORT)
        moments, durations, now = [], [], 0.0
        for number in range(count):
            if number % burst == 0:
                now += chance.expovariate(rate / burst)
            moments.append(now)
            durations.append(LONG if chance.random() < LONG_SHARE else SHORT)
        return cls(moments, durations)


def work(seconds: float) -> tuple[float, float, int]:
    """The task: it returns its `Run`."""
    start = time.monotonic()
    time.sleep(seconds)
    return start, time.monotonic(), os.getpid()


def waits_in_one_line(moments: Sequence[float], durations: Sequence[float]) -> list[float]:
    """Return how long each task waits if the process that is free first takes the task that came first."""
    free = [0.0] * PROCESSES
    waits = []
    for moment, duration in zip(moments, durations, strict=True):
        start = max(moment, heapq.heappop(free))
        heapq.heappush(free, start + duration)
        waits.append(start - moment)
    return waits


def percentile(numbers: Sequence[float], share: float) -> float:
    return sorted(numbers)[min(len(numbers) - 1, int(len(numbers) * share))]


@define
class Held:
    """Looks again and again at what is claimed, from a thread."""

    queue: TaskQueue
    looks: list[tuple[float, list[tuple[str, str, float]]]] = field(factory=list)
    """When, and what was in flight: the id, the worker, and for how long it had it."""
    _ended: threading.Event = field(factory=threading.Event, init=False)
    _thread: threading.Thread = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._thread = threading.Thread(target=self.run, daemon=True)

    def run(self) -> None:
        backend = self.queue.stores.backend
        while not self._ended.wait(_LOOK_EVERY):
            now, clock = time.monotonic(), time.time()
            tasks, _ = backend.tasks(TaskStatus.STARTED)
            self.looks.append((now, [(one.message.id, one.worker, clock - one.started_ms / 1000) for one in tasks]))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def longest(self, runs: dict[str, Run]) -> float:
        """Return for how long at most a process held what it had not started while another process was idle."""
        longest = 0.0
        for now, tasks in self.looks:
            for task_id, worker, age in tasks:
                if age > longest and runs[task_id].start > now and _others_idle(runs.values(), worker, now):
                    longest = age
        return longest


def _others_idle(runs: Collection[Run], worker: str, now: float) -> bool:
    """Whether a process that is not `worker` ran nothing at that time, and had not just ended a task."""
    pids = {run.pid for run in runs}
    busy = {run.pid for run in runs if run.start <= now <= run.end + _LOOK_EVERY}
    return any(f"-{pid}-" not in worker for pid in pids - busy)
