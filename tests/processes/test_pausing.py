"""A queue that is paused under real workers, and tasks that expire meanwhile."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress

import pytest
from attrs import define, field

from pyxqueue import TaskExpiredError, TaskStatus
from pyxqueue.testing.contract.steps import all_tasks
from tests.support.seeds import chance_of
from tests.support.trees import Tree
from tests.support.until import until

from .app import App, Site
from .conftest import StartTree, on_every_store

pytestmark = on_every_store


def accepted(site: Site) -> list[str]:
    """The ids of the tasks whose settlements were accepted, as the workers have noted them."""
    return [line.task_id for line in site.of("settled") if line.more[1] == "1"]


def test_nothing_starts_in_a_pause(site: Site, app: App, start_tree: StartTree) -> None:
    """Two trees work; in the pause one is killed and another started, and nothing starts; then all is done once."""
    lost, _ = start_tree("-p", "2"), start_tree("-p", "1")
    app["work"].map([(0.02, number) for number in range(60)])
    until(lambda: len(site.of("start")) >= 10, "some have started")

    assert app.queue.admin.pause()
    depth = app.queue.stores.backend.depth
    until(lambda: depth().in_flight == 0, "what was claimed before the pause has run")
    started = len(site.of("start"))
    until(lambda: len(accepted(site)) == started, "the workers have noted it, before some are killed")
    app["work"].map([(0.02, number) for number in range(20)])
    os.kill(lost.pid, signal.SIGKILL)
    lost.wait(5)
    start_tree("-p", "2")
    assert len(site.of("start")) == started
    assert depth().ready == 80 - started

    assert app.queue.admin.resume()
    until(lambda: depth().history == 80, "everything is done")
    until(lambda: len(accepted(site)) == 80, "the workers have noted it")
    assert set(Counter(accepted(site)).values()) == {1}
    assert len(site.of("start")) == 80


def test_what_expires_in_a_pause_ends_by_itself(app: App, start_tree: StartTree) -> None:
    """The supervisor ends it when it expires, and who waits for the result is told."""
    start_tree("-p", "1")
    app.queue.admin.pause()
    handle = app["work"].with_options(expires=0.5)(0.0, 1)
    with pytest.raises(TaskExpiredError):
        handle.get(10)
    app.queue.admin.resume()
    assert app["work"].with_options(expires=30)(0.0, 2).get(10) is not None


def test_a_task_name_is_paused(site: Site, app: App, start_tree: StartTree) -> None:
    """5 seconds later, none of that name starts in any tree, and others do; after the pause, each has run once."""
    lease = 30.0  # so long that workers do not look more often than the promise needs
    start_tree("-p", "2", lease=lease)
    start_tree("-p", "1", lease=lease)
    paused, others = list[str](), list[str]()

    def call(count: int) -> None:
        paused.extend(handle.task_id for handle in app["work"].map([(0.0, number) for number in range(count)]))
        others.extend(handle.task_id for handle in app["short"].map([()] * count))

    def started(ids: list[str]) -> int:
        return sum(line.task_id in ids for line in site.of("start"))

    call(20)
    until(lambda: started(paused) > 5, "some have started")
    assert app.queue.admin.pause(task="work")
    end = time.monotonic() + 5
    while time.monotonic() < end:
        call(1)
        until(lambda: started(others) == len(others), "the other tasks go on")
    before = started(paused)
    call(40)
    until(lambda: started(others) == len(others), "the other tasks go on")
    until(lambda: app.queue.stores.backend.depth().blocked == len(paused) - before, "those of the name wait")
    assert started(paused) == before

    assert app.queue.admin.resume(task="work")
    total = len(paused) + len(others)
    until(lambda: len(site.of("settled")) >= total, "everything is done, and has been written down")
    accepted = Counter(line.task_id for line in site.of("settled") if line.more[1] == "1")
    assert accepted == Counter([*paused, *others])
    assert app.queue.stores.backend.depth().history == total
    assert len(site.of("start")) == len(paused) + len(others)


@define
class Killer:
    """Kills worker processes of some trees, at most one every 300 ms."""

    site: Site
    trees: list[Tree]
    chance: random.Random = field(factory=lambda: chance_of(3))
    next_kill: float = 0.0
    killed: int = 0

    def strike(self) -> None:
        """Kill one that has started tasks, if it is time."""
        if time.monotonic() < self.next_kill:
            return
        alive = {pid for tree in self.trees for pid in tree.everyone()}
        if victims := sorted(alive & {line.pid for line in self.site.of("start")}):
            self.next_kill = time.monotonic() + 0.3
            self.kill(self.chance.choice(victims))

    def kill(self, pid: int) -> None:
        self.killed += 1
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def end_all(self) -> None:
        """Kill all processes of the trees."""
        for tree in self.trees:
            for pid in tree.everyone():
                self.kill(pid)
            tree.wait(5)
        self.trees.clear()


@define
class Calls:
    """Calls of a task whose name is paused, and of another one; and what workers have noted of them."""

    site: Site
    app: App
    paused: list[str] = field(factory=list)
    others: list[str] = field(factory=list)

    def make(self, count: int) -> None:
        self.paused += [handle.task_id for handle in self.app["work"].map([(0.005, one) for one in range(count)])]
        self.others += [handle.task_id for handle in self.app["short"].map([()] * count)]

    def started(self, ids: Sequence[str]) -> list[str]:
        known = set(ids)
        return [line.task_id for line in self.site.of("start") if line.task_id in known]

    def others_go_on(self) -> None:
        until(lambda: set(self.others) <= set(self.started(self.others)), "the other tasks go on")

    def check(self, killed: int) -> None:
        """All have succeeded once. A worker may have been killed between the store's answer and the note of it."""
        ids = [*self.paused, *self.others]
        shown = self.app.queue.stores.backend.show(ids)
        assert Counter(info and info.status for info in shown) == {TaskStatus.SUCCESS: len(ids)}
        accepted = Counter(line.task_id for line in self.site.of("settled") if line.more[1] == "1")
        assert set(accepted.values()) == {1}
        assert len(ids) - len(accepted) <= killed


def test_a_task_name_is_paused_while_workers_are_killed(site: Site, app: App, start_tree: StartTree) -> None:
    """5 seconds after the pause none of the name starts, whoever is killed; nothing is lost; the order of the line is
    kept; and what a worker had that is killed after the pause runs again."""
    lease = 30.0  # so long that workers do not look more often than the promise needs
    killer = Killer(site, [start_tree("-p", "2", lease=lease), start_tree("-p", "1", lease=lease)])
    calls, depth = Calls(site, app), app.queue.stores.backend.depth

    calls.make(40)
    until(lambda: len(calls.started(calls.paused)) > 5, "some have started")
    assert app.queue.admin.pause(task="work")
    end = time.monotonic() + 5
    while time.monotonic() < end:
        calls.make(1)
        killer.strike()
        calls.others_go_on()
    before = len(calls.started(calls.paused))
    for _ in range(3):
        calls.make(10)
        killer.next_kill = 0.0
        killer.strike()
        calls.others_go_on()
    until(lambda: depth().ready == depth().in_flight == 0, "those of the name wait")
    assert len(calls.started(calls.paused)) == before
    line = [task.id for task in all_tasks(app.queue.stores.backend) if task.gate][::-1]
    assert len(line) == depth().blocked >= 30

    killer.end_all()
    killer.trees.append(start_tree("-p", "1", lease=lease))
    assert app.queue.admin.resume(task="work")
    until(lambda: len(calls.started(calls.paused)) >= before + 10, "they go on")
    killer.next_kill = 0.0
    killer.strike()
    killer.trees.append(start_tree("-p", "2", lease=lease))
    until(lambda: depth().history == len(calls.paused) + len(calls.others), "everything is done")

    since = calls.started(calls.paused)[before:]
    assert since[:10] == line[:10]
    assert set(line) <= set(since)
    calls.check(killer.killed)
