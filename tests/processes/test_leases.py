"""Leases: running tasks keep theirs, a stopped worker loses its own, and an outage makes no task run twice."""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path

import pytest
from redis import Redis

from tests.support.until import until

from .app import App, Site
from .conftest import StartTree


def test_a_stopped_tree(site: Site, app: App, start_tree: StartTree, gate: Path) -> None:
    """Another tree does its work. When it goes on, its settlement is refused, and it works again."""
    zombie = start_tree("-p", "1")
    handle = app["gate"](str(gate))
    until(lambda: site.of("start"), "the first runs it")
    zombie.signal_all(signal.SIGSTOP)
    other = start_tree("-p", "1")
    until(lambda: len(site.of("start")) == 2, "the other took it over", 10)
    gate.touch()
    assert handle.get(10) == "through"
    other.stop()

    zombie.signal_all(signal.SIGCONT)

    until(lambda: len(site.of("settled", handle.task_id)) == 2, "the zombie has brought its result")
    assert [line.more for line in site.of("settled", handle.task_id)] == [["Done", "1"], ["Done", "0"]]
    assert app["work"](0, "alive").get(10) == "alive"


def test_a_task_that_holds_the_interpreter(site: Site, app: App, start_tree: StartTree) -> None:
    """A task in a C call that holds the interpreter for three leases keeps its lease, though other workers idle."""
    start_tree("-p", "2")
    start_tree("-p", "1")

    app["hold_gil"](3).get(20)

    assert len(site.of("start")) == 1
    (settled,) = until(lambda: site.of("settled"), "it was settled")
    assert settled.more == ["Done", "1"]


@pytest.mark.timeout(180)
def test_short_tasks_before_a_long_one(site: Site, app: App, start_tree: StartTree, gate: Path) -> None:
    """While a long task runs, another process runs the messages that were claimed behind it."""
    start_tree("-p", "1", lease=30)
    ran = added = 0
    for number in range(20):  # on a busy machine it may claim too little, and hand nothing back
        for handle in app["short"].map([()] * 200):  # so that it claims in batches
            handle.get(10)
        path = gate.with_name(f"gate-{number}")
        app["short"].map([()] * 20)
        long = app["gate"](str(path))
        behind = app["short"].map([()] * 60)
        until(lambda: site.of("start", long.task_id), "the long one runs")  # noqa: B023 - runs now
        with start_tree("-p", "1", ready=False, lease=30) as other:
            for handle in behind:
                handle.get(20)
            path.touch()
            assert long.get(10) == "through"
            assert other.stop() == 0
        ran += 281
        with Redis.from_url(site.url) as redis:
            added = redis.xinfo_stream(site.stream)["entries-added"]
        if number >= 2 and added > ran:  # each hand-back is one more entry
            break

    assert set(Counter(line.task_id for line in site.of("start")).values()) == {1}
    assert len(site.of("start")) == ran
    assert added > ran  # else this has shown nothing
