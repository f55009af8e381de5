"""Requests that are refused, whoever sends them, and what an action leaves in the log."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import pytest
from starlette.requests import Request
from starlette.testclient import TestClient

from pyxqueue import ConfigurationError, TaskQueue, TaskStatus
from pyxqueue.dashboard import Access, Dashboard
from pyxqueue.dashboard.access import same_site_path
from pyxqueue.dashboard.actions import ACTIONS

from .conftest import Visitor

HERE = "http://testserver"
FROM_ELSEWHERE: Mapping[str, Mapping[str, str]] = {
    "another site": {"sec-fetch-site": "cross-site"},
    "a sibling": {"sec-fetch-site": "same-site"},
    "nowhere": {"sec-fetch-site": "none"},
    "another site, whatever Origin says": {"sec-fetch-site": "cross-site", "origin": HERE},
    "another site with a token": {"sec-fetch-site": "cross-site", "authorization": "Bearer x"},
    "another origin": {"origin": "http://evil.example"},
    "another scheme": {"origin": "https://testserver"},
    "another port": {"origin": "http://testserver:81"},
    "a sandbox": {"origin": "null"},
    "an empty origin": {"origin": ""},
    "no browser, and no token": {},
    "a password alone": {"authorization": "Basic eDp5"},
}
FROM_HERE: Mapping[str, Mapping[str, str]] = {
    "the same origin": {"sec-fetch-site": "same-origin"},
    "the same origin, over http": {"origin": HERE},
    "a program with a token": {"authorization": "Bearer x"},
}


@pytest.fixture
def plain(queue: TaskQueue) -> TestClient:
    """A visitor that may do everything, and says nothing about where it comes from."""
    return TestClient(Dashboard(queue, access=Access.ALL), follow_redirects=False)


@pytest.fixture
def task_id(queue: TaskQueue) -> str:
    def send() -> None: ...

    return queue.task(name="send")(send)().task_id


def state(queue: TaskQueue, task_id: str) -> TaskStatus:
    return queue.admin.task(task_id).state


@pytest.mark.parametrize("sender", FROM_ELSEWHERE)
def test_a_change_that_another_site_asks_for_is_refused(
    queue: TaskQueue, plain: TestClient, task_id: str, sender: str
) -> None:
    """It is refused by every action, and changes nothing."""
    headers = FROM_ELSEWHERE[sender]

    answers = {
        plain.post(
            f"{start}/mail/cg/do/{action}", data={"id": task_id, "sure": "1", "what": "waiting"}, headers=headers
        ).status_code
        for start in ("/q", "/api/v1/queues")
        for action in ACTIONS
    }

    assert answers == {403}
    assert state(queue, task_id) is TaskStatus.PENDING


@pytest.mark.parametrize("sender", FROM_HERE)
def test_a_change_that_this_site_asks_for_is_made(
    queue: TaskQueue, plain: TestClient, task_id: str, sender: str
) -> None:
    """A browser says that it comes from here; a program sends a token, which no other site can make a browser do."""
    answer = plain.post("/q/mail/cg/do/cancel", data={"id": task_id}, headers=FROM_HERE[sender])

    assert answer.status_code == 303
    assert state(queue, task_id) is TaskStatus.CANCELLED


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_only_post_changes_something(queue: TaskQueue, visitor: Visitor, task_id: str, method: str) -> None:
    """A link, an image or a prefetch changes nothing."""
    answer = visitor().request(method, f"/q/mail/cg/do/cancel?id={task_id}")

    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"
    assert state(queue, task_id) is TaskStatus.PENDING


def test_a_page_takes_no_post(visitor: Visitor) -> None:
    """What shows something is read with GET."""
    assert visitor().post("/q/mail/cg").status_code == 405


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"id=" + b"x" * 70_000, "application/x-www-form-urlencoded", 413),
        (b"&".join([b"a=1"] * 1_101), "application/x-www-form-urlencoded", 400),
        (b"id=\xff", "application/x-www-form-urlencoded", 400),
        (b"id=x", "text/plain", 415),
        (b"id=x", "multipart/form-data; boundary=b", 415),
        (b"[" * 60_000, "application/json", 400),
        (b'{"id": {"a": 1}}', "application/json", 400),
        (b"[1]", "application/json", 400),
    ],
)
def test_a_form_that_cannot_be_read_is_refused(visitor: Visitor, content: bytes, kind: str, status: int) -> None:
    """It is refused without being read to its end, and without a traceback."""
    answer = visitor().post("/q/mail/cg/do/cancel", content=content, headers={"content-type": kind})

    assert answer.status_code == status


@pytest.mark.parametrize(
    ("action", "form"),
    [
        ("cancel", {}),
        ("retry", {"all": "1", "place": "failed"}),
        ("retry", {"all": "1", "place": "ready", "sure": "1"}),
        ("delete", {"all": "1", "place": "nowhere", "sure": "1"}),
        ("delete", {"all": "1", "place": "failed", "sure": "1", "older": "soon"}),
        ("purge", {"what": "waiting"}),
        ("purge", {"what": "everything", "sure": "1"}),
        ("limit", {"name": "a", "concurrency": "many"}),
        ("limit", {"name": "a", "concurrency": "1.5"}),
        ("limit", {"name": "a/b", "concurrency": "1"}),
        ("limit", {"name": "a", "rate": "1"}),
        ("limit", {"name": "a", "rate": "1e400", "per": "1"}),
        ("limit", {"name": "a", "concurrency": ""}),
        ("limit", {"name": "a", "rate": "", "per": "1"}),
        ("pause", {"key": "a"}),
        ("pause", {"task": " "}),
        ("pause", {"limit": ""}),
        ("resume", {"task": ""}),
        ("pause", {"task": "not a name"}),
        ("schedule_run", {}),
    ],
)
def test_an_action_that_makes_no_sense_is_refused(visitor: Visitor, action: str, form: Mapping[str, str]) -> None:
    """The answer says what is wrong, as a page and as JSON."""
    page = visitor().post(f"/q/mail/cg/do/{action}", data=form)
    api = visitor().post(f"/api/v1/queues/mail/cg/do/{action}", json=form)

    assert page.status_code == api.status_code == 400
    assert api.json()["error"]


def test_a_limit_is_set_and_reset(queue: TaskQueue, visitor: Visitor) -> None:
    """The page says which of both was done, and has a button to reset what was set."""
    client, path = visitor(), "/q/mail/cg/do/limit"
    client.post(path, data={"name": "gpu", "concurrency": "3"})
    shown, numbers = client.get("/q/mail/cg/limits").text, queue.limits.list()

    answer = client.post(path, data={"name": "gpu", "concurrency": "", "reset": "1"})

    assert ">Reset<" in shown
    assert [one.number for one in numbers] == [3]
    assert queue.limits.list() == []
    assert "did=reset" in answer.headers["location"]


def test_the_api_answers_with_json(visitor: Visitor, task_id: str) -> None:
    """Also where there is nothing; and a state has its name."""
    client = visitor()

    listed = client.get("/api/v1/queues/mail/cg/ready").json()["tasks"]

    assert client.get("/api/v1/nothing").json() == {"error": "There is no such page."}
    assert [(one["id"], one["status"]) for one in listed] == [(task_id, "PENDING")]
    assert client.get(f"/api/v1/queues/mail/cg/tasks/{task_id}").json()["row"]["status"] == "PENDING"


def test_a_chosen_thing_that_is_not_there_is_said(visitor: Visitor) -> None:
    """An unknown schedule is 404; a task that has gone is 409, with the reason."""
    assert visitor().post("/q/mail/cg/do/schedule_run", data={"schedule": "nightly"}).status_code == 404
    gone = visitor().post("/q/mail/cg/do/cancel", data={"id": "gone"})
    assert gone.status_code == 409
    assert "no task has the id" in gone.text


@pytest.mark.parametrize(
    "back",
    [
        "//evil.example",
        "https://evil.example/",
        "/\\evil.example",
        "\\\\evil",
        "javascript:alert(1)",
        "",
        "/a\r\nb: c",
        "/é",
    ],
)
def test_an_action_leads_back_into_the_dashboard(visitor: Visitor, task_id: str, back: str) -> None:
    """A form cannot lead elsewhere."""
    answer = visitor().post("/q/mail/cg/do/cancel", data={"id": task_id, "back": back})

    assert answer.headers["location"] == "/?did=cancelled&n=1"
    assert same_site_path(back) == "/"


def test_an_action_keeps_the_filter_of_the_page(visitor: Visitor, task_id: str) -> None:
    """The page that it leads to says what was done; no text of it comes from the URL."""
    client = visitor()
    answer = client.post("/q/mail/cg/do/cancel", data={"id": task_id, "back": "/q/mail/cg/failed?name=a%20b"})

    assert answer.headers["location"] == "/q/mail/cg/failed?name=a%20b&did=cancelled&n=1"
    assert "cancelled: 1" in client.get(answer.headers["location"]).text
    assert "wonderful" not in client.get("/?did=wonderful&n=1").text


def test_each_action_is_in_the_log(visitor: Visitor, task_id: str, caplog: pytest.LogCaptureFixture) -> None:
    """With who did it, from where, to what; also one that was refused."""
    caplog.set_level(logging.INFO, "pyxqueue.dashboard.audit")

    visitor().post("/q/mail/cg/do/cancel", data={"id": task_id})
    visitor(Access.READ).post("/q/mail/cg/do/delete", data={"id": task_id})

    done, refused = [record.getMessage() for record in caplog.records if record.name.endswith("audit")]
    assert done == f"cancel by - from testclient on mail/cg: cancelled 1 [{task_id}]"
    assert refused == "delete by - from testclient on mail/cg: refused [the visitor may not delete]"


def test_the_log_has_one_line_for_a_hostile_name(visitor: Visitor, caplog: pytest.LogCaptureFixture) -> None:
    """A field cannot write a line of its own into the log."""
    caplog.set_level(logging.INFO, "pyxqueue.dashboard.audit")

    visitor().post("/q/mail/cg/do/cancel", data={"id": "x\nroot: all is well\x1b[2J"})

    assert not [record for record in caplog.records if "\n" in record.getMessage() or "\x1b" in record.getMessage()]


@pytest.mark.parametrize("given", ["all", None, 1, {"fly"}, ["read", "write"]])
def test_an_access_that_is_none_is_refused_at_once(queue: TaskQueue, given: object) -> None:
    """The error names the actions that there are."""
    with pytest.raises(ConfigurationError, match="action"):
        Dashboard(queue, access=given)  # type: ignore[arg-type] # as a user may


def test_an_access_must_be_stated(queue: TaskQueue) -> None:
    """There is no default."""
    with pytest.raises(TypeError, match="access"):
        Dashboard(queue)  # type: ignore[call-arg] # what is missing is the point


async def by_header(request: Request) -> frozenset[str]:
    return frozenset({"read"}) if request.headers.get("x-user") == "ann" else frozenset()


@pytest.mark.parametrize("asynchronous", [True, False])
def test_a_function_of_the_request_decides(visitor: Visitor, asynchronous: bool) -> None:
    """It may be a coroutine function."""
    client = visitor(by_header if asynchronous else lambda request: {"read"} if "x-user" in request.headers else set())

    assert client.get("/").status_code == 403
    assert client.get("/", headers={"x-user": "ann"}).status_code == 200


def test_a_function_that_fails_lets_nobody_in(visitor: Visitor) -> None:
    """Its error is not shown."""

    def fails(request: Request) -> frozenset[str]:
        raise RuntimeError("hunter22")

    answer = visitor(fails).get("/")

    assert answer.status_code == 500
    assert "hunter22" not in answer.text
