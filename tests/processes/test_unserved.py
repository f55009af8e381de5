"""Messages that cannot run, and results that cannot be stored."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve
from redis import Redis

from pyxqueue import TaskError, TaskStatus
from pyxqueue.model.message import Message
from tests.support.until import until

from .app import App, Site
from .conftest import StartTree


def test_a_task_that_no_worker_knows(site: Site, app: App, start_tree: StartTree) -> None:
    """It is deferred, uncharged, until a worker knows it."""
    old = start_tree("-p", "1", leave_out="work")
    handle = app["work"](0, "known at last")
    until(lambda: site.of("settled", handle.task_id), "it was deferred")
    assert site.of("settled")[0].more == ["Defer", "1"]
    old.stop()

    start_tree("-p", "1")

    assert handle.get(30) == "known at last"
    (info,) = app.queue.stores.backend.show([handle.task_id])
    assert info is not None
    assert isinstance(info.message, Message)
    assert (info.message.attempt, info.message.crashes) == (1, 0)
    assert info.message.deferrals >= 1


def _inject(site: Site, fields: dict[Any, Any]) -> str:
    with Redis.from_url(site.url) as client:
        entry: bytes = client.xadd(site.stream, fields)
    return entry.decode()


def test_an_entry_that_is_not_a_message(site: Site, app: App, start_tree: StartTree) -> None:
    """It is kept with the failed tasks, byte for byte, and the worker goes on."""
    start_tree("-p", "1")
    assert app["work"](0, 1).get(10) == 1

    entry = _inject(site, {"what": b"\xff\x00", "is": "this"})

    until(lambda: site.of("settled", entry), "it was settled")
    assert app.queue.result(entry).state is TaskStatus.FAILURE
    (info,) = app.queue.stores.backend.show([entry])
    assert info is not None
    assert "Unreadable" in info.reason
    assert dict(info.message.fields) == {b"what": b"\xff\x00", b"is": b"this"}  # type: ignore[union-attr]
    assert app["work"](0, 2).get(10) == 2


def test_an_entry_of_a_newer_version(site: Site, app: App, start_tree: StartTree) -> None:
    """It is deferred for a worker that can read it."""
    start_tree("-p", "1")
    assert app["work"](0, 1).get(10) == 1

    entry = _inject(site, {"v": "99", "id": "from-the-future", "name": "work", "body": "?"})

    settled = until(lambda: [line for line in site.of("settled") if line.more[0] == "Defer"], "it was deferred")
    assert settled[0].task_id in ("from-the-future", entry)
    depth = app.queue.stores.backend.depth()
    assert (depth.failed, depth.delayed + depth.ready) == (0, 1)


def test_a_body_that_cannot_be_decoded(site: Site, app: App, start_tree: StartTree) -> None:
    """The task fails at once with the reason, and its body is kept."""
    start_tree("-p", "1")

    app.queue.stores.backend.enqueue([Message("broken", "work", b"[[1")])

    with pytest.raises(TaskError, match="SerializationError"):
        app.queue.result("broken").get(10)
    (info,) = app.queue.stores.backend.show(["broken"])
    assert info is not None
    assert info.message.body == b"[[1"  # type: ignore[union-attr]


def test_a_result_that_cannot_be_serialized(app: App, start_tree: StartTree) -> None:
    """The task fails with the reason and is not retried."""
    start_tree("-p", "1")

    with pytest.raises(TaskError, match="a value of type lock cannot travel"):
        app["unserializable"]().get(10)


def test_a_result_that_is_too_large(app: App, start_tree: StartTree) -> None:
    """The failure names its size and the limit."""
    start_tree("-p", "1")

    with pytest.raises(TaskError, match=r"the result of big needs [\d,]+ bytes, the limit is 100,000"):
        app["big"](200_000).get(10)
    assert len(app["big"](50_000).get(10)) == 50_000


def test_a_result_that_fails_to_pickle(site: Site, start_tree: StartTree, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the pickling raises fails the task."""
    monkeypatch.setenv("PYXQUEUE_SEAL_KEYS", "k" * 32)
    site = evolve(site, serializer="pickle")
    app = site.app()
    start_tree("-p", "1", serializer="pickle")

    with pytest.raises(TaskError, match="it does not want to travel"):
        app["bad_pickle"]().get(10)

    assert app["work"](0, {1, 2}).get(10) == {1, 2}
    app.queue.close()


@pytest.mark.parametrize("kind", ["nan", "huge", "text", "object"])
def test_progress_that_cannot_be_stored(app: App, start_tree: StartTree, kind: str) -> None:
    """A task that reports nonsense ends, and the worker goes on."""
    start_tree("-p", "1")
    handle = app["strange_progress"](kind)

    until(lambda: handle.done, "it ended", 10)

    assert app["work"](0, "fine").get(10) == "fine"


@pytest.mark.parametrize("kind", ["nan", "inf", "text", "negative"])
def test_a_retry_after_nonsense(app: App, start_tree: StartTree, kind: str) -> None:
    """A delay that is not valid ends the task, but not the worker."""
    start_tree("-p", "1")
    handle = app["strange_retry"](kind)

    until(lambda: handle.done, "it ended", 10)

    assert app["work"](0, "fine").get(10) == "fine"
