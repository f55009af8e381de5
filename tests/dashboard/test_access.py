"""Who may do what: each access with each route and each action; and requests that are refused whoever sends them."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from starlette.testclient import TestClient

from pyxqueue import TaskQueue
from pyxqueue.dashboard import Access, Dashboard
from pyxqueue.dashboard.access import HEADERS, Action, rights_of
from pyxqueue.dashboard.actions import ACTIONS, Done
from pyxqueue.dashboard.handlers import ENTRIES
from pyxqueue.dashboard.site import ROUTES

from .conftest import SAME_SITE

ACCESSES: Mapping[str, Any] = {
    "all": Access.ALL,
    "read": Access.READ,
    "none": Access.NONE,
    "retry only": {"retry"},
}
OPEN = {"static", "livez", "readyz", "missing"}
"""The routes that anybody may have."""
PARTS = {"queue": "mail", "group": "cg", "place": "ready", "id": "no-such", "action": "retry", "hash": "0", "name": "x"}
"""What stands in the paths of routes."""


@pytest.fixture(scope="module")
def visitors() -> Iterator[Mapping[str, TestClient]]:
    """For each access, a visitor of a dashboard. Its streams end at once."""
    queue = TaskQueue(f"memory://{uuid.uuid4().hex}", stream_key="mail")
    made = {}
    for name, access in ACCESSES.items():
        app = Dashboard(queue, access=access)
        app._services.hub.life = 0
        made[name] = TestClient(app, headers=SAME_SITE, follow_redirects=False)
    yield made
    queue.close()


def path_of(route: str, **parts: str) -> str:
    return re.sub(r"\{(\w+)\}", lambda found: {**PARTS, **parts}[found[1]], ROUTES.get(route, "/no/such/page"))


def test_each_route_has_an_entry() -> None:
    """There is no route without a decision about who may have it, and only these are for anybody."""
    assert set(ENTRIES) == {*ROUTES, "missing"}
    assert {name for name, entry in ENTRIES.items() if entry.needs is None} == OPEN


@pytest.mark.parametrize("access", ACCESSES)
@pytest.mark.parametrize("route", ENTRIES)
def test_a_route_is_answered_if_the_visitor_may_have_it(
    visitors: Mapping[str, TestClient], route: str, access: str
) -> None:
    """Any other visitor gets 403 and learns nothing; the headers are those of every answer."""
    entry, rights = ENTRIES[route], rights_of(ACCESSES[access])
    form = {"id": "x"} if entry.method == "POST" else None

    answer = visitors[access].request(entry.method, path_of(route), data=form)

    allowed = (entry.needs is None or entry.needs in rights) and (entry.method != "POST" or Action.RETRY in rights)
    assert (answer.status_code != 403) is allowed
    assert allowed or "mail" not in answer.text
    assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS


@pytest.mark.parametrize("access", ACCESSES)
@pytest.mark.parametrize("action", ACTIONS)
def test_an_action_is_done_if_the_visitor_may_do_it(
    visitors: Mapping[str, TestClient], monkeypatch: pytest.MonkeyPatch, action: str, access: str
) -> None:
    """The function of the action is called if the visitor has the right for it, by a form and by the API."""
    calls: list[str] = []
    needs, _ = ACTIONS[action]

    def act(*_: object) -> Done:
        calls.append(action)
        return Done(1, "retried")

    monkeypatch.setattr("pyxqueue.dashboard.handlers.ACTIONS", {action: (needs, act)})

    answers = [visitors[access].post(path_of(route, action=action), data={"id": "x"}) for route in ("do", "api_do")]

    allowed = needs in rights_of(ACCESSES[access])
    assert calls == [action, action] * allowed
    assert [answer.status_code for answer in answers] == ([303, 200] if allowed else [403, 403])
