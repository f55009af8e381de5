"""Failed tasks: one runs again with other arguments, and those beyond the limits are deleted by the supervisors."""

from __future__ import annotations

import pytest

from pyxqueue import TaskError
from pyxqueue.model.message import Message, TaskInfo, TaskStatus
from tests.support.until import until

from .app import App, Site
from .conftest import StartTree, on_every_store


def depth_of_failed(app: App) -> int:
    return app.queue.stores.backend.depth().failed


@on_every_store
def test_a_failed_task_runs_with_other_arguments(site: Site, app: App, start_tree: StartTree) -> None:
    """A worker runs it, once for the same edit twice; the old task is gone."""
    start_tree("-p", "1")
    failed = app["work"]("no number", 7)
    with pytest.raises(TaskError):
        failed.get(20)
    before = app.queue.stores.backend.show([failed.task_id])[0]
    assert before is not None

    handle = app.queue.admin.edit(failed.task_id, args=[0, 8])
    app.queue.stores.backend.adopt([before])  # as if the program had died before it deleted the old one
    again = app.queue.admin.edit(failed.task_id, args=[0, 8])

    assert handle.get(20) == again.get(20) == 8
    assert depth_of_failed(app) == 0
    assert len(site.of("start", handle.task_id)) == 1


@on_every_store
def test_the_newest_are_kept(site: Site, app: App, start_tree: StartTree) -> None:
    """Two supervisors delete the others, count each once, and log how many."""
    failed = [TaskInfo(f"f{n}", TaskStatus.FAILURE, Message(f"f{n}", "work"), reason="no") for n in range(300)]
    app.queue.stores.backend.adopt(failed)

    trees = [start_tree("-p", "1", max_failed=2) for _ in range(2)]
    until(lambda: depth_of_failed(app) == 2, "the others are deleted")
    codes = [tree.stop() for tree in trees]

    (counted,) = app.queue.admin.statistics().totals
    logs = "".join(tree.log.read_text() for tree in trees)
    assert codes == [0, 0]
    assert (counted.name, counted.dropped) == ("work", 298)
    assert [info.id for info in app.queue.admin.failed().tasks] == ["f299", "f298"]
    assert "beyond the newest 2 (max_failed); the oldest is f0, failed " in logs


@on_every_store
def test_old_ones_are_deleted(site: Site, app: App, start_tree: StartTree) -> None:
    """While the workers run; the handle then knows nothing of the task."""
    tree = start_tree("-p", "1", failed_ttl=1)
    app["die"]("other")

    until(lambda: "older than 1 s (failed_ttl)" in tree.log.read_text(), "it is too old")

    assert depth_of_failed(app) == 0
