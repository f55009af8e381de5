"""Statistics of worker processes: what ended there, and what crashed with them, is counted once."""

from __future__ import annotations

import pytest

from pyxqueue import TaskError
from pyxqueue.model.statistics import TaskCounts
from tests.support.until import until

from .app import App, Site
from .conftest import StartTree, on_every_store


def counted(app: App) -> dict[str, TaskCounts]:
    """By the last part of the task's name."""
    return {one.name.rpartition(".")[2]: one for one in app.queue.admin.statistics().totals}


def ended(app: App) -> dict[str, dict[str, int]]:
    """What was counted, without what was not."""
    return {name: {what: n for what, n in one.ended.items() if n} for name, one in counted(app).items()}


@on_every_store
def test_every_end_is_counted(site: Site, app: App, start_tree: StartTree) -> None:
    """Of tasks that run inline, and of crashes, which the supervisor finds; all are sent when the workers stop."""
    tree = start_tree("-p", "2", lease=30)
    with pytest.raises(TaskError, match="WorkerLost"):  # first, since a process that is killed takes its counts along
        app["die"]("kill").get(20)
    for handle in app["work"].map([(0, number) for number in range(20)]):
        handle.get(20)
    with pytest.raises(TaskError):
        app["die"]("other").get(20)
    tree.stop()

    assert ended(app) == {"work": {"success": 20}, "die": {"crashed": 2, "failure": 2}}
    assert counted(app)["work"].run.count == counted(app)["work"].wait.count == 20


@on_every_store
@pytest.mark.parametrize("options", [["-t", "2"], ["-c", "10"]], ids=["threads", "loop"])
def test_threads_and_coroutines_are_counted(site: Site, app: App, start_tree: StartTree, options: list[str]) -> None:
    """Functions in threads, and coroutines on the loop."""
    tree = start_tree("-p", "1", *options, loop=True)
    handles = [*app["work"].map([(0, 1)] * 10), *app["awork"].map([(0, 1)] * 10)]
    until(lambda: all(handle.done for handle in handles), "all have ended")
    tree.stop()

    assert ended(app) == {"work": {"success": 10}, "awork": {"success": 10}}


@on_every_store
def test_workers_without_statistics_send_none(
    site: Site, app: App, start_tree: StartTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With ``PYXQUEUE_STATISTICS=0``."""
    monkeypatch.setenv("PYXQUEUE_STATISTICS", "0")
    tree = start_tree("-p", "1")
    app["work"](0, 1).get(20)
    tree.stop()

    assert ended(app) == {}
