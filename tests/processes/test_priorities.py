"""Priorities under real workers: what is urgent goes first, and the lowest class moves all the same."""

from __future__ import annotations

import signal
from pathlib import Path

from tests.support.until import until

from .app import App, Site
from .conftest import StartTree, on_every_store

BY_AGE = 16
"""Each delivery of this number is of the class that has waited longest."""

pytestmark = on_every_store


def order(site: Site, names: dict[str, str]) -> list[str]:
    """What started, in order."""
    return [names[line.task_id] for line in site.of("start") if line.task_id in names]


def test_the_urgent_ones_are_first_and_the_lowest_move(site: Site, app: App, start_tree: StartTree) -> None:
    """Of two classes, a process runs the higher one; each sixteenth task is of the class that has waited longer."""
    app.queue.admin.pause()
    low = app["short"].with_options(priority=-50).map([()] * 40)
    high = app["short"].with_options(priority=60).map([()] * 150)
    names = {**{one.task_id: "low" for one in low}, **{one.task_id: "high" for one in high}}
    tree = start_tree("-p", "1", lease=60)
    tree.signal(signal.SIGSTOP)  # a supervisor gives back what a slow process has claimed: the order would change

    app.queue.admin.resume()
    until(lambda: len(order(site, names)) == len(names), "all have run")

    found, both = order(site, names), 160
    assert found[:both] == [("low" if number % BY_AGE == 0 else "high") for number in range(1, both + 1)]
    assert found[both:] == ["low"] * 30


def test_what_comes_later_and_is_urgent_overtakes(site: Site, app: App, start_tree: StartTree, gate: Path) -> None:
    """A process that is busy takes it next, before what has waited longer."""
    tree = start_tree("-p", "1", lease=60)
    app["short"].with_options(priority=60)().get(30)
    blocking = app["gate"](str(gate))
    until(lambda: site.of("start", blocking.task_id), "the process is busy")
    plain = app["short"].map([()] * 10)
    urgent = app["short"].with_options(priority=60)()
    names = {**{one.task_id: "plain" for one in plain}, urgent.task_id: "urgent"}

    tree.signal(signal.SIGSTOP)  # as above
    gate.touch()
    until(lambda: len(order(site, names)) == len(names), "all have run")

    assert order(site, names) == ["urgent", *["plain"] * 10]
