"""A queue that is paused under real workers, and tasks that expire meanwhile."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter

import pytest

from pyxqueue import TaskExpiredError
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
