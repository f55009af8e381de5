"""Messages that cannot be run here, and results that cannot be kept."""

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


def test_a_name_that_nobody_here_knows(site: Site, app: App, start_tree: StartTree) -> None:
    """It waits, uncharged, until a worker comes that knows it."""
    old = start_tree("-p", "1", leave_out="work")
    handle = app["work"](0, "known at last")
    until(lambda: site.of("settled", handle.task_id), "it was handed back")
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


def test_an_entry_that_is_no_message(site: Site, app: App, start_tree: StartTree) -> None:
    """It is kept with the failed tasks with its bytes, and harms nobody."""
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
    """It is left for a worker that can read it."""
    start_tree("-p", "1")
    assert app["work"](0, 1).get(10) == 1

    entry = _inject(site, {"v": "99", "id": "from-the-future", "name": "work", "body": "?"})

    settled = until(lambda: [line for line in site.of("settled") if line.more[0] == "Defer"], "it was handed back")
    assert settled[0].task_id in ("from-the-future", entry)
    depth = app.queue.stores.backend.depth()
    assert (depth.failed, depth.delayed + depth.ready) == (0, 1)


def test_a_body_that_cannot_be_decoded(site: Site, app: App, start_tree: StartTree) -> None:
    """It fails at once, saying why, and is kept whole."""
    start_tree("-p", "1")

    app.queue.stores.backend.enqueue([Message("broken", "work", b"[[1")])

    with pytest.raises(TaskError, match="SerializationError"):
        app.queue.result("broken").get(10)
    (info,) = app.queue.stores.backend.show(["broken"])
    assert info is not None
    assert info.message.body == b"[[1"  # type: ignore[union-attr]


def test_a_result_that_cannot_be_serialized(app: App, start_tree: StartTree) -> None:
    """The task fails with the reason; it is not run again."""
    start_tree("-p", "1")

    with pytest.raises(TaskError, match="a value of type lock cannot travel"):
        app["unserializable"]().get(10)


def test_a_result_that_is_too_large(app: App, start_tree: StartTree) -> None:
    """The failure says how large it is, what is allowed, and what to do."""
    start_tree("-p", "1")

    with pytest.raises(TaskError, match=r"the result of big needs [\d,]+ bytes, the limit is 100,000"):
        app["big"](200_000).get(10)
    assert len(app["big"](50_000).get(10)) == 50_000


def test_a_result_that_fails_to_pickle(site: Site, start_tree: StartTree, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the pickling raises is the task's failure."""
    monkeypatch.setenv("PYXQUEUE_SEAL_KEYS", "k" * 32)
    site = evolve(site, serializer="pickle")
    app = site.app()
    start_tree("-p", "1", serializer="pickle")

    with pytest.raises(TaskError, match="it does not want to travel"):
        app["bad_pickle"]().get(10)

    assert app["work"](0, {1, 2}).get(10) == {1, 2}
    app.queue.close()


@pytest.mark.parametrize("kind", ["nan", "huge", "text", "object"])
def test_progress_that_cannot_be_written(app: App, start_tree: StartTree, kind: str) -> None:
    """A task that reports nonsense ends one way or the other, and the worker goes on reporting for the next ones."""
    start_tree("-p", "1")
    handle = app["strange_progress"](kind)

    until(lambda: handle.done, "it ended", 10)

    assert app["work"](0, "fine").get(10) == "fine"


@pytest.mark.parametrize("kind", ["nan", "inf", "text", "negative"])
def test_a_retry_after_nonsense(app: App, start_tree: StartTree, kind: str) -> None:
    """A delay that is no delay ends the task one way or the other, and never the worker."""
    start_tree("-p", "1")
    handle = app["strange_retry"](kind)

    until(lambda: handle.done, "it ended", 10)

    assert app["work"](0, "fine").get(10) == "fine"
