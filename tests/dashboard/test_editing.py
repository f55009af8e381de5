"""The form on the page of a failed task that runs it again with other arguments."""

from __future__ import annotations

import html
import logging
import re
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from pyxqueue import TaskQueue, TaskStatus
from pyxqueue.dashboard import Access
from pyxqueue.model.message import Message, TaskInfo
from pyxqueue.model.message import TaskStatus as Status

from .conftest import Visitor

PAGE = "/t/mail/cg/f1"
DO = "/q/mail/cg/do/edit"
FORM = "do/edit"


def fail(queue: TaskQueue, *args: Any, body: bytes | None = None, **changes: Any) -> None:
    """Put a failed task with the id f1 into the queue."""
    message = Message("f1", "send", msgspec.json.encode([args, {}]) if body is None else body, **changes)
    queue.stores.backend.adopt([TaskInfo("f1", Status.FAILURE, message, reason="ValueError: no")])


def fields(page: str) -> Mapping[str, str]:
    """The texts in the form, as a browser sends them."""
    found = re.findall(r'<textarea name="(\w+)"[^>]*>(.*?)</textarea>', page, re.DOTALL)
    return {name: html.unescape(text) for name, text in found}


def test_a_failed_task_runs_with_other_arguments(queue: TaskQueue, visitor: Visitor) -> None:
    """The browser is led to the new task, which names the old one."""
    fail(queue, 1, body=b'[[1, 2.50, {"!set":["a"]}],{"name":"J\\u00f6rg </textarea>"}]')
    client = visitor()

    shown = fields(client.get(PAGE).text)
    answer = client.post(DO, data={"id": "f1", "args": "[7]", "kwargs": shown["kwargs"], "back": PAGE})
    (new,) = queue.admin.tasks(TaskStatus.PENDING).tasks
    page = client.get(answer.headers["location"]).text

    assert shown == {"args": '[1, 2.50, {"!set": ["a"]}]', "kwargs": '{"name": "J\\u00f6rg </textarea>"}'}
    assert answer.status_code == 303
    assert answer.headers["location"] == f"/t/mail/cg/{new.id}?did=enqueued&n=1"
    assert queue.admin.task(new.id).args == [7]
    assert queue.admin.task(new.id).kwargs == {"name": "Jörg </textarea>"}
    assert "Enqueued as a new task" in page
    assert "f1, with other arguments" in page
    assert client.get(PAGE).status_code == 404


@pytest.mark.parametrize(
    ("access", "options"),
    [(Access.READ, {}), ({"retry", "delete"}, {}), (Access.ALL, {"redact": lambda _name, given: given})],
    ids=["read", "retry", "redact"],
)
def test_who_may_not_change_it_sees_no_form(
    access: Any, options: Mapping[str, Any], queue: TaskQueue, visitor: Visitor
) -> None:
    """Nor where the application hides arguments, which it may do in place. Without the right, the server refuses."""
    fail(queue, 1)
    client = visitor(access, **options)

    assert FORM not in client.get(PAGE).text
    if not options:
        assert client.post(DO, data={"id": "f1", "args": "[7]"}).status_code == 403
        assert queue.admin.task("f1").state is TaskStatus.FAILURE


@pytest.mark.parametrize(
    "args",
    [
        [{"password": "geheim1"}],
        [{"api_key": 1234}],
        ["https://ada:geheim1@example.org"],
        ["token=geheim1"],
        [[{"deep": {"Authorization": "geheim1"}}]],
        [{"a": "x" * 9_990}, 10],
        [eval("[" * 60 + "'geheim1'" + "]" * 60)],
    ],
    ids=["password", "number", "login", "text", "deep", "too large", "too deep"],
)
def test_what_is_hidden_is_in_no_form(args: list[Any], queue: TaskQueue, visitor: Visitor) -> None:
    """Nor anywhere else on the page or in the answer of the API; nor is what would not fit."""
    fail(queue, *args)
    client = visitor()

    page, answer = client.get(PAGE).text, client.get("/api/v1/queues/mail/cg/tasks/f1")

    assert FORM not in page
    assert "geheim1" not in page
    assert answer.json()["editable"] is None
    assert "geheim1" not in answer.text


@pytest.mark.parametrize(
    "changes",
    [
        {"serializer": "msgpack", "body": b"\x92\x90\x80"},
        {"serializer": "pickle"},
        {"body": b"[[1"},
        {"body": b"\xff"},
        {"body": b"[" * 5_000},
        {"flow": "x", "v": 2},
    ],
    ids=["msgpack", "pickle", "cut", "bytes", "nested", "flow"],
)
def test_what_cannot_be_changed_has_no_form(changes: dict[str, Any], queue: TaskQueue, visitor: Visitor) -> None:
    """The page is there all the same."""
    fail(queue, 1, **changes)

    answer = visitor().get(PAGE)

    assert answer.status_code == 200
    assert FORM not in answer.text


def test_a_task_that_has_not_failed_has_no_form(queue: TaskQueue, visitor: Visitor) -> None:
    """It cannot be edited by a request of one's own either."""
    queue.stores.backend.enqueue([Message("f1", "send", b"[[1],{}]")])
    client = visitor()

    assert FORM not in client.get(PAGE).text
    assert client.post(DO, data={"id": "f1", "args": "[7]"}).status_code == 409
    assert queue.admin.tasks().tasks[0].id == "f1"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({}, "the field id is missing"),
        ({"id": "f1"}, "needs something to change"),
        ({"id": "f1", "args": ""}, "args is not JSON that can be read"),
        ({"id": "f1", "args": "[1"}, "args is not JSON that can be read"),
        ({"id": "f1", "args": "[" * 20_000}, "args is not JSON that can be read"),
        ({"id": "f1", "args": '{"a": 1}'}, "args= must be a list"),
        ({"id": "f1", "args": "null"}, "args is null"),
        ({"id": "f1", "kwargs": "[]"}, "kwargs= must be a mapping"),
        ({"id": "f1", "kwargs": '{"!no such tag": 1}'}, "kwargs is not JSON that can be read"),
        ({"id": "f1", "args": "[<script>alert(1)</script>]"}, "args is not JSON that can be read"),
    ],
)
def test_what_is_not_a_call_is_refused(data: Mapping[str, str], said: str, queue: TaskQueue, visitor: Visitor) -> None:
    """With the reason, on a page and in the API; the failed task is kept."""
    fail(queue, 1)
    client = visitor()

    page, answer = client.post(DO, data=dict(data)), client.post(f"/api/v1/queues{DO[2:]}", data=dict(data))

    assert page.status_code == answer.status_code == 400
    assert said in html.unescape(page.text)
    assert said in answer.json()["error"]
    assert "<script>alert" not in page.text
    assert [info.id for info in queue.admin.tasks().tasks] == ["f1"]


def test_a_program_is_told_the_new_id(queue: TaskQueue, visitor: Visitor, caplog: pytest.LogCaptureFixture) -> None:
    """And the log names both."""
    fail(queue, 1)

    with caplog.at_level(logging.INFO, "pyxqueue.dashboard.audit"):
        answer = visitor().post(f"/api/v1/queues{DO[2:]}", json={"id": "f1", "args": "[7]"}).json()

    (new,) = queue.admin.tasks(TaskStatus.PENDING).tasks
    assert answer == {"done": 1, "refused": 0, "reasons": [], "left": False, "task": new.id}
    assert f"edit by - from testclient on mail/cg: enqueued 1 [f1, {new.id}]" in caplog.text


def test_a_task_that_is_gone(queue: TaskQueue, visitor: Visitor) -> None:
    """Somebody else was faster."""
    assert visitor().post(DO, data={"id": "f1", "args": "[7]"}).status_code == 404
