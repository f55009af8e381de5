"""Metrics of whole queues for OpenTelemetry, read from the store: ``pip install 'pyxqueue[otel]'``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..client.queue import TaskQueue
from ..errors import PyxqueueError
from ..log import get_logger
from ..model.message import Depth
from ..model.places import Place

try:
    from opentelemetry import metrics
except ImportError as error:
    raise ImportError("pyxqueue.plugins.otel_gauges needs opentelemetry-api: pip install 'pyxqueue[otel]'") from error

Attributes = dict[str, str]
log = get_logger("pyxqueue.metrics")


class QueueGauges:
    """Measures how many tasks of each queue are in each place, and for how long the oldest ready one has waited, when
    the metrics are collected. The numbers are those of the whole queue, so one program with it is enough.

    `meter_provider`: the global one by default. A queue whose store cannot be read is left out, and logged.
    """

    def __init__(self, queues: Iterable[TaskQueue], *, meter_provider: metrics.MeterProvider | None = None) -> None:
        self._queues = list(queues)
        self._kept: list[tuple[Attributes, Depth]] | None = None
        meter = metrics.get_meter("pyxqueue", meter_provider=meter_provider)
        meter.create_observable_gauge("pyxqueue.queue.tasks", [self._tasks], "{task}", "Tasks by where they are.")
        meter.create_observable_gauge(
            "pyxqueue.queue.oldest", [self._oldest], "s", "How long the oldest ready task has waited."
        )

    def _tasks(self, _options: metrics.CallbackOptions) -> Iterator[metrics.Observation]:
        self._kept = list(self._read())
        for about, depth in self._kept:
            for place in Place:
                yield metrics.Observation(getattr(depth, place), {**about, "pyxqueue.place": place.value})

    def _oldest(self, _options: metrics.CallbackOptions) -> Iterator[metrics.Observation]:
        found, self._kept = self._kept, None  # what was read for the other gauge just now, once
        for about, depth in self._read() if found is None else found:
            yield metrics.Observation(depth.oldest_ms / 1000, about)

    def _read(self) -> Iterator[tuple[Attributes, Depth]]:
        for queue in self._queues:
            backend = queue.stores.backend
            about: Attributes = {
                "messaging.system": "pyxqueue",
                "messaging.destination.name": queue.stream_key,
                "messaging.consumer.group.name": queue.consumer_group,
            }
            try:
                # to look at a group that is not there would make it, and tasks would be copied into it
                known = queue.consumer_group in backend.groups()
                yield about, backend.depth() if known else Depth(0, 0, 0, 0, 0)
            except PyxqueueError as error:
                log.warning("the metrics of %r cannot be read: %s", queue, error)
