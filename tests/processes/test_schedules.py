"""Schedules under worker trees that are killed: each tick is enqueued once."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter

import pytest

from pyxqueue import TaskStatus
from tests.support.seeds import chance_of
from tests.support.trees import Tree
from tests.support.until import until

from .app import App, Site
from .conftest import StartTree, on_every_store

SECOND = 1_000
MINUTES = float(os.environ.get("SOAK_MINUTES", "10"))


def ticks(site: Site) -> Counter[int]:
    """The ticks whose tasks have ended, and how often each has."""
    ended = [line for line in site.of("settled") if line.more[1] == "1" and line.task_id.startswith("beat.")]
    return Counter(int(line.task_id.partition(".")[2]) for line in ended)


def check(site: Site, app: App) -> int:
    """Each second from the first to the last tick has a task, which has ended once. Returns how many there are."""
    found = ticks(site)
    wanted = range(min(found), max(found) + 1, SECOND)
    shown = app.queue.stores.backend.show([f"beat.{tick}" for tick in wanted])
    assert {info and info.status for info in shown} == {TaskStatus.SUCCESS}
    assert set(found.values()) == {1}
    assert set(found) <= set(wanted)  # a process may be killed before it notes the end
    assert app.queue.schedules["beat"].runs == len(wanted)
    return len(wanted)


def beat(app: App) -> None:
    """A schedule of every second, in which each tick counts."""
    app.queue.schedules.upsert("beat", app["short"], every=1, missed="all", overlap="allow")


def stop(site: Site, app: App) -> None:
    """Let the last ticks end."""
    app.queue.schedules["beat"].pause()
    last = app.queue.schedules["beat"].last
    assert last is not None
    until(lambda: round(last.timestamp() * 1000) in ticks(site), "the last tick has run")
    until(lambda: app.queue.stores.backend.depth().in_flight == 0, "the other tasks have ended")


@on_every_store
def test_each_tick_once_while_a_tree_is_killed(site: Site, app: App, start_tree: StartTree) -> None:
    """Two supervisors tick; one is killed with its workers, and another comes."""
    first, _ = start_tree("-p", "1"), start_tree("-p", "1")
    beat(app)
    until(lambda: len(ticks(site)) >= 2, "two ticks")

    first.signal_all(signal.SIGKILL)
    killed_at = len(ticks(site))
    until(lambda: len(ticks(site)) >= killed_at + 2, "the other tree ticks")
    start_tree("-p", "1")
    until(lambda: len(ticks(site)) >= killed_at + 4, "both tick")

    stop(site, app)
    check(site, app)


@on_every_store
def test_ticks_of_an_outage_are_made_up_for(site: Site, app: App, start_tree: StartTree) -> None:
    """After all trees were killed, the next one makes up for what was missed, each tick once."""
    tree = start_tree("-p", "1")
    beat(app)
    until(lambda: len(ticks(site)) >= 1, "a tick")
    tree.signal_all(signal.SIGKILL)
    before = len(ticks(site))
    until(lambda: time.time() * 1000 > max(ticks(site)) + 4 * SECOND, "some ticks are missed")

    start_tree("-p", "1")
    until(lambda: len(ticks(site)) >= before + 5, "they are made up for")

    stop(site, app)
    check(site, app)


@pytest.mark.soak
@pytest.mark.timeout(MINUTES * 60 + 300)
@on_every_store
def test_minutes_with_three_trees_that_are_killed(site: Site, app: App, start_tree: StartTree) -> None:
    """Whole trees and single supervisors are killed every few seconds, and replaced."""
    chance = chance_of(11)
    trees: list[Tree] = [start_tree("-p", "1") for _ in range(3)]
    beat(app)
    end = time.monotonic() + MINUTES * 60
    while time.monotonic() < end:
        pause = time.monotonic() + chance.uniform(1, 10)
        until(lambda: time.monotonic() > pause, "the next kill", 20)  # noqa: B023 - it runs before the next
        victim = chance.randrange(len(trees))
        if chance.random() < 0.5:
            trees[victim].signal_all(signal.SIGKILL)
        else:
            trees[victim].signal(signal.SIGKILL)
        trees[victim] = start_tree("-p", "1", ready=False)

    stop(site, app)
    assert check(site, app) >= 58 * MINUTES
