"""Metrics for Prometheus: what a parser of its text reads is what the stores say."""

from __future__ import annotations

import logging
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse
from redis import Redis

from pyxqueue import TaskQueue, TaskStatus
from pyxqueue.errors import BrokerUnavailableError, ConfigurationError
from pyxqueue.model.statistics import BOUNDS, OUTCOMES, StatisticsBatch, TaskCounts, empty_row
from pyxqueue.plugins.prometheus import PLACES, QueueCollector
from pyxqueue.protocols import HasStatistics
from pyxqueue.testing import FaultyBroker, drain
from pyxqueue.testing.servers import Server

HOSTILE = ['a"b\\c', "new\nline", "{}", 'x",outcome="success"} 1\nfake_metric 1\n#', "ü\u2028\u202e", "\x1b]52;c;x\x07"]
Samples = Mapping[tuple[str, frozenset[tuple[str, str]]], float]


def scrape(*queues: TaskQueue) -> Samples:
    """The samples by name and labels, as both parsers read them."""
    registry = CollectorRegistry()
    registry.register(QueueCollector(queues))
    found = {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in parse(generate_latest(registry).decode())
        for sample in family.samples
    }
    text = generate_openmetrics(registry).decode()  # type: ignore[no-untyped-call] # the package has no types for it
    parsed = {family.name for family in parse_openmetrics(text)}  # type: ignore[no-untyped-call] # likewise
    assert parsed == {family.name for family in QueueCollector(queues).describe()}
    return found


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, frozenset({"queue": "shop", "group": "cg", **labels}.items())]


@pytest.fixture(params=["memory://", "sqlite", "redis"])
def queue(request: pytest.FixtureRequest, tmp_path: Any) -> Iterator[TaskQueue]:
    """A queue with two tasks."""
    url = request.param
    if url == "redis":
        url = request.getfixturevalue("plain_redis")
    elif url == "sqlite":
        url = f"sqlite:///{tmp_path}/queue.db"
    with closing(TaskQueue(url, stream_key="shop")) as queue:
        queue.task(name="good")(lambda: 1)
        queue.task(name="bad")(lambda: 1 // 0)
        yield queue


@pytest.fixture
def plain_redis() -> Iterator[str]:
    with Server("valkey") as server:
        yield server.url


def task(queue: TaskQueue, name: str) -> Any:
    spec = queue.core.registry.get(name)
    assert spec is not None
    return queue.task(name=name)(spec.function)


def count(queue: TaskQueue, counts: TaskCounts) -> None:
    backend = queue.stores.backend
    backend.lease_ms()  # registers the group
    assert isinstance(backend, HasStatistics)
    assert backend.add_statistics(StatisticsBatch("me", 1, [counts]))


def test_everything_is_there_from_the_start(queue: TaskQueue) -> None:
    """Each place, outcome and known task with 0, although nobody has used the queue; looking does not make it."""
    samples = scrape(queue)

    assert value(samples, "pyxqueue_up") == 1
    assert {place: value(samples, "pyxqueue_queue_tasks", place=place) for place in PLACES} == dict.fromkeys(PLACES, 0)
    for name in ("good", "bad"):
        for outcome in OUTCOMES:
            assert value(samples, "pyxqueue_tasks_ended_total", task=name, outcome=outcome) == 0
        assert value(samples, "pyxqueue_task_run_seconds_count", task=name) == 0
        assert value(samples, "pyxqueue_task_wait_seconds_bucket", task=name, le="+Inf") == 0
    for name in ("queue_due_tasks", "queue_oldest_seconds", "workers", "settlements_refused_total"):
        assert value(samples, f"pyxqueue_{name}") == 0
    assert queue.admin.groups() == []


def test_what_happened_is_shown(queue: TaskQueue) -> None:
    """Depths, outcomes and times are those of the store."""
    good, bad = task(queue, "good"), task(queue, "bad")
    for _ in range(3):
        good()
    bad()
    drain(queue)
    good.with_options(delay=3600)()
    good()

    samples = scrape(queue)

    places = {place: value(samples, "pyxqueue_queue_tasks", place=place) for place in PLACES}
    assert places == {**dict.fromkeys(PLACES, 0), "ready": 1, "delayed": 1, "failed": 1, "history": 3}
    assert value(samples, "pyxqueue_tasks_ended_total", task="good", outcome="success") == 3
    assert value(samples, "pyxqueue_tasks_ended_total", task="bad", outcome="failure") == 1
    assert value(samples, "pyxqueue_task_run_seconds_count", task="good") == 3
    assert value(samples, "pyxqueue_task_run_seconds_bucket", task="good", le="+Inf") == 3
    assert value(samples, "pyxqueue_task_wait_seconds_count", task="bad") == 1


def test_what_was_not_kept_is_shown() -> None:
    """By task: what a failover has lost, and failed tasks that a limit has deleted."""
    queue = TaskQueue("memory://", "shop")
    queue.task(name="fine")(lambda: 1)
    count(queue, TaskCounts("job", dropped=4, lost=3))

    samples = scrape(queue)

    for metric, number in (("failed_tasks_dropped", 4), ("tasks_suspected_lost", 3)):
        assert value(samples, f"pyxqueue_{metric}_total", task="job") == number
        assert value(samples, f"pyxqueue_{metric}_total", task="fine") == 0


def test_what_the_store_has_lost_is_shown(redis_url: str, stream_key: str) -> None:
    """Messages that were taken out by hand, and the whole group."""
    with closing(TaskQueue(redis_url, stream_key)) as queue, Redis.from_url(redis_url) as client:
        job = queue.task(name="job")(lambda: 1)
        handles = [job(), job()]
        client.xtrim(stream_key, maxlen=0, approximate=False)
        for handle in handles:
            assert handle.state is TaskStatus.FAILURE
        client.xgroup_destroy(stream_key, queue.consumer_group)
        drain(queue)

        samples = scrape(queue)

        losses = [
            value(samples, "pyxqueue_store_losses_total", queue=stream_key, what=what) for what in ("message", "group")
        ]
        assert losses == [2, 1]


def test_buckets_are_cumulative() -> None:
    """As Prometheus wants them, with bounds in seconds."""
    queue = TaskQueue("memory://", "shop")
    row = empty_row()
    for ms in (3, 70, 70, 10_000_000):
        row[8 + bisect_left(BOUNDS, ms / 1000)] += 1
    row[24] = 10_000_143
    count(queue, TaskCounts.of("job", row))

    samples = scrape(queue)

    counts = [value(samples, "pyxqueue_task_run_seconds_bucket", task="job", le=str(bound)) for bound in BOUNDS]
    assert (counts[0], counts[3], counts[4], counts[-1]) == (1, 1, 3, 3)
    assert value(samples, "pyxqueue_task_run_seconds_count", task="job") == 4
    assert value(samples, "pyxqueue_task_run_seconds_sum", task="job") == 10_000.143


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_breaks_the_text(name: str) -> None:
    """A parser reads back the same name, and nothing that was not said. Another program may have stored any name."""
    queue = TaskQueue("memory://", "shop")
    count(queue, TaskCounts(name, {"success": 1}))

    samples = scrape(queue)

    assert value(samples, "pyxqueue_tasks_ended_total", task=name, outcome="success") == 1
    assert all(key[0].startswith("pyxqueue_") for key in samples)


def test_names_that_nobody_knows_make_no_series() -> None:
    """However many names of tasks another program enqueues, they are one task in the metrics."""
    queue, other = TaskQueue("memory://", "shop"), TaskQueue("memory://", "shop")
    for number in range(20):
        other.task(name=f"junk-{number}")(lambda: 1)()
    drain(queue)

    samples = scrape(queue)

    assert {dict(labels).get("task") for _, labels in samples} <= {None, "other"}


def test_labels_have_no_host_worker_or_id(queue: TaskQueue) -> None:
    """The number of series depends on queues, groups and tasks only."""
    task(queue, "bad")()
    drain(queue)

    names = Counter(label for _, labels in scrape(queue) for label, _ in labels)

    expected = {"queue", "group", "task", "place", "outcome", "what", "le", "version", "store"}
    assert set(names) - {"state"} == expected


def test_a_store_that_is_down_is_shown_as_down(caplog: pytest.LogCaptureFixture) -> None:
    """The others are shown as usual; the log says it once, and once that it is back."""

    class Away(FaultyBroker):
        is_away = True

        def groups(self) -> Any:
            if self.is_away:
                raise BrokerUnavailableError("away")
            return super().groups()

    fine = TaskQueue("memory://", "fine")
    broker = Away(TaskQueue("memory://", "shop").stores.backend)
    queue = TaskQueue(broker=broker, stream_key="shop")
    collector = QueueCollector([queue, fine])

    def ups() -> dict[str, float]:
        samples = [sample for family in collector.collect() for sample in family.samples]
        shown = {sample.labels["queue"] for sample in samples if sample.name == "pyxqueue_queue_tasks"}
        found = {sample.labels["queue"]: sample.value for sample in samples if sample.name == "pyxqueue_up"}
        assert shown == {name for name, up in found.items() if up}
        return found

    with caplog.at_level(logging.WARNING, "pyxqueue.metrics"):
        assert ups() == ups() == {"shop": 0, "fine": 1}
        broker.is_away = False
        assert ups() == ups() == {"shop": 1, "fine": 1}

    assert len(re.findall("cannot be read: away", caplog.text)) == 1
    assert len(re.findall("can be read again", caplog.text)) == 1


def test_two_queues_of_one_name_are_refused() -> None:
    """Their metrics would be the same series."""
    with pytest.raises(ConfigurationError, match="two queues have the name 'shop' and the group 'cg'"):
        QueueCollector([TaskQueue("memory://", "shop"), TaskQueue("memory://", "shop")])


def test_a_scrape_costs_few_calls() -> None:
    """However many tasks, names and workers there are."""
    inner = TaskQueue("memory://", "shop").stores.backend
    broker = FaultyBroker(inner)
    queue = TaskQueue(broker=broker, stream_key="shop")
    spec = queue.task(name="job")(lambda: 1)
    for _ in range(200):
        spec()
    for number in range(30):
        inner.claim(f"w{number}", 5, 0)
    before = len(broker.history)

    scrape_once = list(QueueCollector([queue]).collect())

    assert scrape_once
    assert len(broker.history) - before <= 8
