"""Cancelling, progress, delays and groups, with worker processes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import evolve
from redis import Redis

from pyxqueue import Cancellation, ResultTimeoutError, TaskCancelledError, TaskStatus
from pyxqueue.model.message import Message
from pyxqueue.testing.servers import Server
from tests.support.until import until

from .app import App, Site
from .conftest import StartTree, on_every_store


@on_every_store
def test_a_waiting_task_is_cancelled(site: Site, app: App, start_tree: StartTree) -> None:
    """It ends at once and never runs."""
    waiting, delayed = app["work"](0), app["work"].with_options(delay=3600)(0)

    assert waiting.cancel()
    assert delayed.cancel()

    for handle in (waiting, delayed):
        with pytest.raises(TaskCancelledError):
            handle.get(5)
    start_tree("-p", "1")
    assert app["work"](0, 1).get(10) == 1
    assert len(site.of("start")) == 1


@on_every_store
@pytest.mark.parametrize(
    ("options", "name"), [([], "patient"), (["-t", "2"], "patient"), ([], "apatient")], ids=["inline", "thread", "loop"]
)
def test_a_running_task_is_cancelled(
    site: Site, app: App, start_tree: StartTree, options: list[str], name: str
) -> None:
    """It is interrupted once, may clean up, and ends as cancelled; the next task is not interrupted."""
    start_tree("-p", "1", *options, loop=name == "apatient")
    handle = app[name]()
    until(lambda: site.of("start"), "it runs")

    assert handle.cancel()

    with pytest.raises(TaskCancelledError):
        handle.get(10)
    assert len(site.of("cleaned")) == 1
    assert app["work"](0.5, "untouched").get(10) == "untouched"
    assert not handle.cancel()


def test_a_loop_that_swallows_exceptions_is_cancelled(site: Site, app: App, start_tree: StartTree) -> None:
    """An `except Exception` around each step does not catch the interruption."""
    start_tree("-p", "1")
    handle = app["careless"]()
    until(lambda: site.of("start"), "it runs")

    assert handle.cancel() is Cancellation.REQUESTED

    with pytest.raises(TaskCancelledError):
        handle.get(20)
    assert not site.of("caught")


@pytest.mark.parametrize(
    ("name", "told"), [("stubborn", "CancelRequested"), ("astubborn", "CancelledError")], ids=["plain", "async"]
)
def test_a_task_that_swallows_its_cancellation(
    site: Site, app: App, start_tree: StartTree, name: str, told: str
) -> None:
    """A second request interrupts it again. With `force` its process is killed and it ends as cancelled."""
    start_tree("-p", "1", loop=name == "astubborn")
    handle = app[name]()
    until(lambda: site.of("start", handle.task_id), "it runs")

    assert handle.cancel() is Cancellation.REQUESTED
    until(lambda: len(site.of("caught")) == 1, "it was told")
    assert handle.cancel() is Cancellation.REQUESTED
    until(lambda: len(site.of("caught")) == 2, "it was told again")
    assert handle.cancel(force=True) is Cancellation.REQUESTED

    with pytest.raises(TaskCancelledError):
        handle.get(20)
    assert [line.more for line in site.of("caught")] == [[told]] * 2
    assert app["work"](0, "goes on").get(20) == "goes on"
    assert len(site.of("start", handle.task_id)) == 1


def test_the_other_tasks_of_a_process_that_is_killed_by_force(
    site: Site, app: App, start_tree: StartTree, gate: Path
) -> None:
    """They run again, uncharged."""
    start_tree("-p", "1", "-t", "2")
    neighbour, handle = app["gate"](str(gate)), app["stubborn"]()
    until(lambda: len(site.of("start")) == 2, "both run")

    handle.cancel(force=True)
    with pytest.raises(TaskCancelledError):
        handle.get(20)
    until(lambda: len(site.of("start", neighbour.task_id)) == 2, "the neighbour runs again")
    gate.touch()

    assert neighbour.get(20) == "through"
    (info,) = app.queue.stores.backend.show([neighbour.task_id])
    assert info is not None
    assert isinstance(info.message, Message)
    assert (info.message.crashes, info.message.attempt, info.message.redelivered) == (0, 1, False)


@pytest.fixture
def own_server() -> Iterator[Server]:
    with Server("valkey") as server:
        yield server


def test_progress_in_a_tight_loop(own_server: Server, site: Site, start_tree: StartTree, gate: Path) -> None:
    """A hundred thousand reports cost a few round trips; the newest one shows, and the last one stays."""
    site = evolve(site, url=own_server.url, lease=60)
    app = site.app()
    start_tree("-p", "1", url=site.url, lease=60)
    handle = app["counting"](100_000, str(gate))
    until(lambda: site.of("start"), "it runs")
    until(lambda: (shown := handle.progress) and shown.done == 99_999, "the newest shows while it runs")
    assert handle.state is TaskStatus.STARTED

    before = extend_calls(own_server.url)
    gate.touch()
    handle.get(10)

    shown = handle.progress
    assert shown is not None
    assert (shown.done, shown.total, shown.message) == (100_000, 100_000, "last")
    assert extend_calls(own_server.url) - before < 100
    app.queue.close()


def extend_calls(url: str) -> int:
    """Return how often leases were extended: each progress that is sent extends one."""
    with Redis.from_url(url) as client:
        stats = client.info("commandstats")
    return int(stats["cmdstat_xclaim"]["calls"])


@on_every_store
def test_progress_starts_again_on_a_retry(site: Site, app: App, start_tree: StartTree, gate: Path) -> None:
    """The progress of the first run does not show during the second."""
    start_tree("-p", "1")
    handle = app["fail_first"](str(gate))
    until(lambda: len(site.of("start")) == 2, "it runs again")

    assert handle.progress is None
    gate.touch()
    assert handle.get(10) == "done"


def test_what_a_process_starts_with_is_not_collected(app: App, start_tree: StartTree) -> None:
    """Modules and the like live as long as the process: no collection looks at them, or copies their memory."""
    start_tree("-p", "1")

    assert app["uncollected"]().get(20) > 10_000


@on_every_store
def test_a_thousand_due_at_one_moment(site: Site, start_tree: StartTree) -> None:
    """Each runs once, and none early by the store's clock, with the supervisors of two trees."""
    site = evolve(site, lease=20)  # so that none ends on a busy machine
    app = site.app()
    for _ in range(2):
        start_tree("-p", "1", lease=20)
    handles = app["short"].with_options(delay=2).map([()] * 1000)
    inspector = app.queue.stores.backend
    until(lambda: inspector.depth().history == 1000, "all are done")

    assert Counter(line.task_id for line in site.of("start")).most_common(1)[0][1] == 1
    infos = inspector.show([handle.task_id for handle in handles])
    for info in infos:
        assert info is not None
        assert info.record is not None
        assert isinstance(info.message, Message)
        # One that was given back is ready, and has no due time any more.
        due_ms = info.message.due_ms or info.message.enqueued_ms + 2000
        assert info.record.ended_ms >= due_ms >= info.message.enqueued_ms + 2000
    app.queue.close()


@on_every_store
def test_two_groups(site: Site, start_tree: StartTree, gate: Path) -> None:
    """Each gets every task and has its own results; killing the workers of one does not affect the other."""
    one, two = site.app(), evolve(site, group="audit").app()
    assert two.queue.stores.backend.groups() is not None
    start_tree("-p", "1")
    other = start_tree("-p", "1", group="audit")
    handles = one["gate"].map([(str(gate),)] * 2)
    until(lambda: len(site.of("start")) == 2, "one runs in each group")

    other.__exit__()
    gate.touch()

    for handle in handles:
        assert handle.get(10) == "through"
    until(lambda: len(site.of("settled")) == 2, "both were settled in the first group")
    theirs = [two.queue.result(handle.task_id) for handle in handles]
    with pytest.raises(ResultTimeoutError):
        theirs[0].get(0)
    start_tree("-p", "1", group="audit")
    for handle in theirs:
        assert handle.get(10) == "through"
    one.queue.close()
    two.queue.close()
