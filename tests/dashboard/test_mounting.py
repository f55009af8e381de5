"""The dashboard inside of other applications: below any path, twice in one process, under ASGI and WSGI."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from wsgiref.types import WSGIApplication
from wsgiref.util import setup_testing_defaults

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from pyxqueue import ConfigurationError, TaskQueue
from pyxqueue.dashboard import Access, Dashboard
from pyxqueue.dashboard.site import decode, encode, link

from .conftest import SAME_SITE


def links(text: str) -> set[str]:
    return set(map(html.unescape, re.findall(r'(?:href|action|src)="([^"]*)"', text)))


@pytest.mark.parametrize("path", ["/a/b", "/a/b/", "/a/b/q/mail/cg", "/a/b/q/mail/cg/"])
def test_below_a_path(queue: TaskQueue, path: str) -> None:
    """With and without the last slash, all links lead below the path."""
    client = TestClient(Starlette(routes=[Mount("/a/b", Dashboard(queue, access=Access.ALL))]))

    answer = client.get(path)

    assert answer.status_code == 200
    inside = {one for one in links(answer.text) if not one.startswith("#")}
    assert inside
    assert [one for one in inside if not one.startswith("/a/b/")] == []
    pages = [one for one in inside if "/do/" not in one and not one.endswith("/find")]  # those are of forms
    assert {client.get(one).status_code for one in pages} == {200}


@pytest.mark.parametrize("root", ["/a/b", "/a/b/"])
def test_behind_a_proxy(queue: TaskQueue, root: str) -> None:
    """A server that is told its root path gives it with each request."""
    client = TestClient(Dashboard(queue, access=Access.ALL), root_path=root)

    for path in ("/a/b", "/a/b/", "/a/b/q/mail/cg"):
        answer = client.get(path)
        assert answer.status_code == 200
        assert [one for one in links(answer.text) if not one.startswith(("/a/b/", "#"))] == []


def test_an_action_below_a_path_leads_back_there(queue: TaskQueue) -> None:
    """The path of the form is one below the dashboard."""
    client = TestClient(Starlette(routes=[Mount("/a/b", Dashboard(queue, access=Access.ALL))]), headers=SAME_SITE)

    answer = client.post("/a/b/q/mail/cg/do/pause", data={"back": "/q/mail/cg"}, follow_redirects=False)

    assert answer.headers["location"] == "/a/b/q/mail/cg?did=paused&n=1"


def test_two_dashboards_in_one_process(queue: TaskQueue) -> None:
    """Each has queues, rights and a title of its own."""
    other = TaskQueue("memory://other-dashboard", stream_key="images")
    one = Dashboard(queue, access=Access.READ, title="Letters")
    two = Dashboard([other], access=Access.ALL, title="Pictures")
    client = TestClient(Starlette(routes=[Mount("/one", one), Mount("/two", two)]), headers=SAME_SITE)

    assert "Letters" in client.get("/one/").text
    assert "Pictures" in client.get("/two/").text
    assert client.get("/one/q/images/cg").status_code == client.get("/two/q/mail/cg").status_code == 404
    assert client.post("/one/q/mail/cg/do/pause").status_code == 403
    assert client.post("/two/q/images/cg/do/pause").status_code == 200
    other.close()


def get(app: WSGIApplication, path: str, script: str = "", **more: str) -> tuple[str, Mapping[str, str], str]:
    """Return the answer of a WSGI application."""
    environ: dict[str, object] = {"SCRIPT_NAME": script, "PATH_INFO": path, "QUERY_STRING": "", **more}
    setup_testing_defaults(environ)
    found: list[tuple[str, Mapping[str, str]]] = []
    body = b"".join(app(environ, lambda status, headers, *_: found.append((status, dict(headers)))))  # type: ignore[arg-type] # no write()
    return (*found[0], body.decode())


def test_under_wsgi(queue: TaskQueue) -> None:
    """It has the pages, the headers and the paths, and no streams."""
    app = Dashboard(queue, access=Access.READ).wsgi()

    status, headers, body = get(app, "/q/mail/cg", "/a")

    assert status == "200 OK"
    assert "content-security-policy" in headers
    assert [one for one in links(body) if not one.startswith(("/a/", "#"))] == []
    assert get(app, "/events")[0].startswith("404")
    assert get(app, "/q/mail/cg/do/pause", REQUEST_METHOD="POST")[0].startswith("403")


@pytest.mark.parametrize(
    "text", ["mail", "a/b", "..", ".", "", "é", "a b", "~", "~2F", "a?b#c", "%2F", "\x00", "📮", "a~2Fb"]
)
def test_names_survive_in_paths(text: str) -> None:
    """Whatever they contain, they are one segment that no browser or server changes."""
    segment = encode(text)

    assert re.fullmatch(r"[A-Za-z0-9_.:@~-]+", segment)
    assert set(segment) != {"."}
    assert decode(segment) == text


def test_a_queue_with_a_strange_name(queue: TaskQueue) -> None:
    """Its pages are reached by their links."""
    strange = TaskQueue("memory://strange", stream_key="a b/c?d")
    client = TestClient(Dashboard([queue, strange], access=Access.READ))

    assert client.get(link("", "group", queue="a b/c?d", group="cg")).status_code == 200
    strange.close()


@pytest.mark.parametrize("given", ["redis://localhost", None, 7, [], ["mail"]])
def test_what_is_not_a_queue_is_refused(given: object) -> None:
    """The error says what to give."""
    with pytest.raises(ConfigurationError, match="queue"):
        Dashboard(given, access=Access.ALL)  # type: ignore[arg-type] # as a user may


def test_two_queues_with_one_name_are_refused(queue: TaskQueue) -> None:
    """Their pages would have the same address."""
    other = TaskQueue("memory://elsewhere", stream_key="mail")

    with pytest.raises(ConfigurationError, match="dashboard of its own"):
        Dashboard([queue, other], access=Access.ALL)


@pytest.mark.parametrize(
    "options", [{"refresh": 0}, {"refresh": 61}, {"redact": "x"}, {"base_links": [("a", "javascript:b")]}]
)
def test_options_that_make_no_sense_are_refused(queue: TaskQueue, options: Mapping[str, object]) -> None:
    """At once, not at the first request."""
    with pytest.raises(ConfigurationError):
        Dashboard(queue, access=Access.ALL, **options)  # type: ignore[arg-type] # as a user may
