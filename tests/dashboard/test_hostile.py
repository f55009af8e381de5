"""Whatever a task or its fields say, on every page it is text."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest
from starlette.testclient import TestClient

from pyxqueue import TaskQueue
from pyxqueue.dashboard import Access, Dashboard
from pyxqueue.dashboard.site import link
from pyxqueue.model.message import Done, Fail, Failure, Message, Progress, Record, Settlement, TaskStatus

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>\x00\u202e{{7*7}}${7}<!--"
LONG = "<script>" * 131_072


def message(task_id: str, text: str) -> Message:
    body = msgspec.json.encode([[text, {text: text}], {text: text}])
    return Message(task_id, "send", body, headers={"trace": text, text: "x"}, tenant=text[:100], flow="f")


def record(task_id: str, text: str, status: TaskStatus) -> Record:
    failure = Failure(text, text, text) if status is TaskStatus.FAILURE else None
    return Record(
        task_id,
        status,
        msgspec.json.encode({text: text}),
        error=failure,
        worker="w" + text,
        progress=Progress(1, 2, text),
    )


@pytest.fixture(params=[HOSTILE, LONG], ids=["hostile", "1 MiB"])
def pages(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """All pages of a queue in which every field is hostile."""
    text: str = request.param
    queue = TaskQueue("memory://hostile", stream_key="mail")
    backend = queue.stores.backend
    backend.enqueue([message(f"t{number}", text) for number in range(4)])
    for number, status in ((0, TaskStatus.SUCCESS), (1, TaskStatus.FAILURE)):
        (delivery,) = backend.claim(f"w{text[:200]}", 1, 0)
        done = record(delivery.message.id, text, status)
        backend.settle([Settlement(delivery.receipt, Fail(text) if number else Done(), done)])
    backend.claim(f"w{text[:200]}", 1, 0)
    app = Dashboard(
        queue, access=Access.ALL, title=text[:100], badge=text[:100], base_links=[(text[:100], "/x" + text[:100])]
    )
    client = TestClient(app)
    names = {"queue": "mail", "group": "cg"}
    paths = ["/", "/workers", "/find?id=" + "%3Cscript%3E"]
    paths += [link("", route, **names) for route in ("group", "failures", "statistics", "schedules", "limits", "flows")]
    paths += [link("", "tasks", place=place, **names) for place in ("ready", "in_flight", "failed", "history")]
    paths += [link("", "task", id=f"t{number}", **names) for number in range(4)]
    paths += [link("", "tasks", place="failed", name=HOSTILE, error=HOSTILE, text=HOSTILE, older="1", **names)]
    paths += [link("", "flow", id="t2", **names), link("", "task", id=HOSTILE, **names), "/q/%3Cscript%3E/x"]
    yield {path: client.get(path).text for path in paths}
    queue.close()


def test_nothing_is_markup(pages: dict[str, str]) -> None:
    """Neither an element, nor the end of an attribute, nor a template."""
    for path, html in pages.items():
        assert "<script>" not in html, path
        assert "<img src=x" not in html, path
        assert "onerror=alert(2)>" not in html, path
        assert "49" not in html or "{{7*7}}" in html or "{{" not in html, path


def test_pages_stay_small(pages: dict[str, str]) -> None:
    """A page is bounded however large its values are: 64 KiB of each at most."""
    assert {path: len(html) for path, html in pages.items() if len(html) > 6 * 1024 * 1024} == {}
