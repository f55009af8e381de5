"""Metrics for Prometheus, read from the store when they are asked for; needs the extra ``prometheus``.

::

    from prometheus_client import REGISTRY
    REGISTRY.register(QueueCollector([queue]))

Any number of programs may show them: all read the same numbers. No label has a host, a worker, an id or the text of an
error, so that the number of series depends on the number of queues, groups and tasks only.
"""

from __future__ import annotations

import importlib.metadata
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

from attrs import define, frozen
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from ..client.queue import TaskQueue
from ..client.views import WorkerInfo
from ..errors import ConfigurationError, PyxqueueError
from ..log import get_logger
from ..model.message import Depth
from ..model.statistics import BOUNDS, OUTCOMES, Histogram, TaskCounts
from ..printable import quoted
from ..protocols import HasStatistics

log = get_logger("pyxqueue.metrics")
PLACES = ("ready", "in_flight", "delayed", "blocked", "dependent", "failed", "history")
_GROUP = ("queue", "group")
_TASK = (*_GROUP, "task")


@frozen
class Seen:
    """What a scrape has read of one group of a queue."""

    store: str
    """The kind of store."""
    depth: Depth
    workers: Sequence[WorkerInfo]
    tasks: Sequence[TaskCounts]
    gone: int = 0
    remade: int = 0

    def slots(self) -> dict[str, int] | None:
        """Return how many tasks the workers could run at once, by whether they do; None if they do not say it."""
        slots = busy = 0
        for worker in self.workers:
            if worker.facts is not None:
                slots += worker.facts.slots
                busy += min(len(worker.in_flight), worker.facts.slots)
        return {"busy": busy, "idle": slots - busy} if slots or not self.workers else None


@define
class Families:
    """The metrics, to which each queue adds its samples."""

    up: GaugeMetricFamily
    tasks: GaugeMetricFamily
    due: GaugeMetricFamily
    oldest: GaugeMetricFamily
    workers: GaugeMetricFamily
    slots: GaugeMetricFamily
    ended: CounterMetricFamily
    run: HistogramMetricFamily
    wait: HistogramMetricFamily
    refused: CounterMetricFamily
    dropped: CounterMetricFamily
    lost: CounterMetricFamily
    losses: CounterMetricFamily
    seconds: GaugeMetricFamily
    build: InfoMetricFamily

    @classmethod
    def new(cls) -> Families:
        gauge, histogram = GaugeMetricFamily, HistogramMetricFamily
        ended, refused = "pyxqueue_tasks_ended", "pyxqueue_settlements_refused"
        lost, losses = "pyxqueue_tasks_suspected_lost", "pyxqueue_store_losses"
        return cls(
            gauge("pyxqueue_up", "1 if the store could be read, else 0.", labels=_GROUP),
            gauge("pyxqueue_queue_tasks", "Tasks by where they are.", labels=(*_GROUP, "place")),
            gauge("pyxqueue_queue_due_tasks", "Delayed tasks that are due.", labels=_GROUP),
            gauge("pyxqueue_queue_oldest_seconds", "How long the oldest ready task has waited.", labels=_GROUP),
            gauge("pyxqueue_workers", "Live worker processes.", labels=_GROUP),
            gauge("pyxqueue_worker_slots", "How many tasks the workers can run at once.", labels=(*_GROUP, "state")),
            CounterMetricFamily(ended, "Runs of tasks by what came of them.", labels=(*_TASK, "outcome")),
            histogram("pyxqueue_task_run_seconds", "How long runs took.", labels=_TASK),
            histogram("pyxqueue_task_wait_seconds", "How long tasks were due before a run.", labels=_TASK),
            CounterMetricFamily(refused, "Settlements that came after the lease was lost.", labels=_GROUP),
            CounterMetricFamily("pyxqueue_failed_tasks_dropped", "Failed tasks that were not kept.", labels=_TASK),
            CounterMetricFamily(lost, "Tasks that the new master did not have after a failover.", labels=_TASK),
            CounterMetricFamily(losses, "What the store has lost: messages, the group.", labels=(*_GROUP, "what")),
            gauge("pyxqueue_scrape_seconds", "How long it took to read the stores."),
            InfoMetricFamily("pyxqueue_build", "The version that reads, and the kinds of store.", labels=()),
        )

    def all(self) -> list[Metric]:
        return [
            self.up, self.tasks, self.due, self.oldest, self.workers, self.slots, self.ended, self.run, self.wait,
            self.refused, self.dropped, self.lost, self.losses, self.seconds, self.build,
        ]  # fmt: skip

    def add(self, queue: TaskQueue, seen: Seen) -> None:
        group = _names(queue)
        for place in PLACES:
            self.tasks.add_metric([*group, place], getattr(seen.depth, place))
        self.oldest.add_metric(group, seen.depth.oldest_ms / 1000)
        self.due.add_metric(group, seen.depth.due)
        self.workers.add_metric(group, len(seen.workers))
        for state, number in (seen.slots() or {}).items():
            self.slots.add_metric([*group, state], number)
        for one in seen.tasks:
            task = [*group, one.name]
            for outcome in OUTCOMES:
                self.ended.add_metric([*task, outcome], one.ended.get(outcome, 0))
            self.run.add_metric(task, _buckets(one.run), one.run.sum_ms / 1000)
            self.wait.add_metric(task, _buckets(one.wait), one.wait.sum_ms / 1000)
            self.dropped.add_metric(task, one.dropped)
            self.lost.add_metric(task, one.lost)
        self.refused.add_metric(group, sum(one.refused for one in seen.tasks))
        self.losses.add_metric([*group, "message"], seen.gone)
        self.losses.add_metric([*group, "group"], seen.remade)


class QueueCollector(Collector):
    """Reads the metrics of queues from their stores, for any registry of prometheus-client.

    A scrape costs a bounded number of requests for each queue, however many tasks there are. If a store cannot be read,
    ``pyxqueue_up`` of its queues is 0, and nothing else is shown of them. Each task that the program knows is shown
    from the start, with 0. Raises `ConfigurationError` if two of the queues have the same name and group, by which
    their metrics are told apart.
    """

    def __init__(self, queues: Iterable[TaskQueue]) -> None:
        self._queues = list(queues)
        names = [_names(queue) for queue in self._queues]
        for name in names:
            if names.count(name) > 1:
                raise ConfigurationError(
                    f"two queues have the name {quoted(name[0])} and the group {quoted(name[1])}: their metrics would "
                    "be the same, so use a collector and a registry for each"
                )
        self._lock = threading.Lock()
        self._down: set[int] = set()

    def describe(self) -> Iterable[Metric]:
        """Return the metrics without samples, so that to register them reads no store."""
        return Families.new().all()

    def collect(self) -> Iterator[Metric]:
        families, begun, stores = Families.new(), time.monotonic(), set[str]()
        with self._lock:  # several scrapes at once do not make a store slower
            for number, queue in enumerate(self._queues):
                seen = self._look(number, queue)
                families.up.add_metric(_names(queue), int(seen is not None))
                if seen is not None:
                    families.add(queue, seen)
                    stores.add(seen.store)
        families.seconds.add_metric([], time.monotonic() - begun)
        families.build.add_metric(
            [], {"version": importlib.metadata.version("pyxqueue"), "store": ",".join(sorted(stores))}
        )
        yield from families.all()

    def _look(self, number: int, queue: TaskQueue) -> Seen | None:
        try:
            seen = _seen(queue)
        except PyxqueueError as error:
            if number not in self._down:
                log.warning("the metrics of %r cannot be read: %s", queue, error)
                self._down.add(number)
            return None
        if number in self._down:
            log.warning("the metrics of %r can be read again", queue)
            self._down.discard(number)
        return seen


def _seen(queue: TaskQueue) -> Seen:
    backend = queue.stores.backend
    store = type(backend).__name__.removesuffix("Backend").lower()
    tasks = {name: TaskCounts(name) for name in sorted(task.name for task in queue.core.registry)}
    if queue.consumer_group not in backend.groups():  # to look at it would make it, and tasks would be copied into it
        return Seen(store, Depth(0, 0, 0, 0, 0), (), list(tasks.values()))
    gone = remade = 0
    if isinstance(backend, HasStatistics):
        counted = backend.statistics(1)
        tasks |= {one.name: one for one in counted.totals}
        gone, remade = counted.gone, counted.remade
    return Seen(store, backend.depth(), queue.admin.workers(tasks=0), list(tasks.values()), gone, remade)


def _names(queue: TaskQueue) -> list[str]:
    return [queue.stream_key, queue.consumer_group]


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    """Return how many durations were within each bound."""
    return list(zip([*map(str, BOUNDS), "+Inf"], accumulate(histogram.counts), strict=True))
