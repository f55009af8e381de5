"""Stores that are down, tasks that go away, and stores that cannot do everything."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from pyxqueue import TaskQueue, TaskStatus
from pyxqueue.clock import wall_clock
from pyxqueue.dashboard import Access, Dashboard
from pyxqueue.dashboard.pages import drawn, timeline
from pyxqueue.dashboard.reading import Reading
from pyxqueue.dashboard.site import link
from pyxqueue.model.message import Done, Fail, Failure, Message, Record, Retry, Settlement, evolve
from pyxqueue.model.past import STOPPED, Attempt, line
from pyxqueue.model.presence import Announcement, Process
from pyxqueue.model.statistics import StatisticsBatch, TaskCounts
from pyxqueue.protocols import HasStatistics
from pyxqueue.testing.servers import Server

from ..conftest import kinds_to_test
from .conftest import SAME_SITE, Visitor

NAMES = {"queue": "mail", "group": "cg"}


def test_a_store_that_is_down_gives_a_calm_page() -> None:
    """It is 503 with a reason, no traceback and no password; and the page is back with the store."""
    with Server(kinds_to_test()[0]) as server:
        url = server.url.replace("redis://", "redis://:hunter22@") if server.url.startswith("redis") else server.url
        queue = TaskQueue(server.url, stream_key="mail")
        client = TestClient(Dashboard(queue, access=Access.READ))
        assert client.get("/").status_code == client.get("/readyz").status_code == 200
    for path in ("/", "/q/mail/cg", "/t/mail/cg/x", "/api/v1/queues", "/readyz", "/workers"):
        answer = client.get(path)
        assert answer.status_code == 503, path
        assert "Traceback" not in answer.text
        assert "hunter22" not in answer.text
        assert answer.headers["retry-after"]
    assert client.get("/livez").status_code == 200
    assert url
    queue.close()


def test_a_task_that_goes_between_the_list_and_the_click(queue: TaskQueue, visitor: Visitor) -> None:
    """Its page is 404 and says so."""
    handle = queue.task(name="send")(print)(1)
    client = visitor()
    listed = client.get(link("", "tasks", place="ready", **NAMES)).text
    queue.admin.delete(handle.task_id)

    answer = client.get(link("", "task", id=handle.task_id, **NAMES))

    assert handle.task_id in listed
    assert answer.status_code == 404
    assert "no longer there" in answer.text


def test_a_cursor_of_another_place_is_refused(visitor: Visitor) -> None:
    """Parameters come from anybody."""
    for query in ({"after": "nonsense"}, {"older": "soon"}, {"newer": "-1"}):
        assert visitor().get(link("", "tasks", place="history", **NAMES, **query)).status_code == 400
    for query in ({"limit": "1000000000000000000000"}, {"limit": "-5"}, {"limit": "x"}):
        assert visitor().get(link("", "tasks", place="history", **NAMES, **query)).status_code == 200
    assert visitor().get(link("", "statistics", period="100 years", **NAMES)).status_code == 200


def test_a_visitor_without_raw_cannot_guess_a_secret(queue: TaskQueue, visitor: Visitor) -> None:
    """A text is found in what the visitor can see, not in what is hidden."""

    def send(user: str, password: str) -> None: ...

    queue.task(name="send")(send)("ann", "hunter22")
    path = {text: link("", "tasks", place="ready", text=text, **NAMES) for text in ("ann", "hunter22")}

    reader, owner = visitor(Access.READ), visitor(Access.ALL)

    found = {text: (">send<" in reader.get(path[text]).text, ">send<" in owner.get(path[text]).text) for text in path}
    assert found == {"ann": (True, True), "hunter22": (False, True)}


@pytest.mark.parametrize("limit", ["", "1"])
def test_a_page_does_not_tell_whether_a_hidden_text_fits(queue: TaskQueue, visitor: Visitor, limit: str) -> None:
    """Neither by its rows nor by where it ends: it is the same for a secret and for any other text."""

    def send(user: str, password: str) -> None: ...

    task = queue.task(name="send")(send)
    for user in ("ann", "bob", "eve"):
        task(user, "hunter22")
    reader = visitor(Access.READ)

    right, wrong = (
        reader.get(link("", "tasks", place="ready", text=text, limit=limit, **NAMES)).text.replace(text, "TEXT")
        for text in ("hunter22", "hunter33")
    )

    assert right == wrong


def test_nothing_is_done_to_what_a_hidden_text_fits(queue: TaskQueue, visitor: Visitor) -> None:
    """How many were changed would tell; and they are others than those that are shown."""
    queue.task(name="send")(lambda password: None)("hunter22")
    form = {"all": "1", "sure": "1", "place": "ready", "text": "hunter22"}
    path = link("", "do", action="cancel", **NAMES)

    answers = [visitor(access).post(path, data=form).status_code for access in ({"cancel"}, {"cancel", "raw"})]

    assert answers == [403, 303]
    assert "that fit…" not in visitor({"cancel"}).get(link("", "tasks", place="ready", text="send", **NAMES)).text


def test_the_list_of_what_runs_says_where(queue: TaskQueue, visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """By host and process; and which tasks have not begun there."""
    monkeypatch.setattr("pyxqueue.client.views._JUST_NOW_MS", -1)
    backend, worker = queue.stores.backend, "worker-1-4242-0242ac120002-1e9gmXli"
    backend.enqueue([Message("runs", "send"), Message("waits", "send")])
    backend.claim(worker, 2, 0)
    process = Process(4242, 60_000, 8, None, [("runs", 500)])
    said = Announcement("web1", 1, "1", "3", ["send"], 0, False, {worker: process}).text()
    backend.announce("s", 60_000, said)  # type: ignore[attr-defined]  # the store of this test has it
    client, path = visitor(), link("", "tasks", place="in_flight", **NAMES)

    page = client.get(path).text
    told = {
        one["id"]: (one["where"], one["begun"])
        for one in client.get(f"/api/v1{path.replace('/q/', '/queues/')}").json()["tasks"]
    }

    assert page.count(">web1:4242<") == 2
    assert page.count("not begun") == 1
    assert told == {"runs": ("web1:4242", True), "waits": ("web1:4242", False)}
    assert ">serves 1 task name<" in client.get("/workers").text


def test_all_that_fit_are_retried(queue: TaskQueue, visitor: Visitor) -> None:
    """A filter selects them, and the visitor says to be sure."""
    backend = queue.stores.backend
    task = queue.task(name="send")(print)
    ids = [task(number).task_id for number in range(3)]
    for number, one in enumerate(backend.claim("w", 3, 0)):
        error = Failure("KeyError" if number else "ValueError", "no")
        backend.settle([Settlement(one.receipt, Fail("no"), Record(one.message.id, TaskStatus.FAILURE, error=error))])
    form = {"all": "1", "place": "failed", "error": "KeyError", "sure": "1"}

    answer = visitor().post("/api/v1/queues/mail/cg/do/retry", json=form)

    assert answer.json() == {"done": 2, "refused": 0, "reasons": [], "left": False}
    assert [queue.admin.task(one).state for one in ids] == [TaskStatus.FAILURE, TaskStatus.PENDING, TaskStatus.PENDING]


def test_an_eager_queue_has_pages(visitor: Visitor) -> None:
    """What its store cannot do is said on them."""
    queue = TaskQueue(stream_key="mail", eager=True)
    client = TestClient(Dashboard(queue, access=Access.ALL), headers=SAME_SITE)

    for route in ("group", "failures", "statistics", "schedules", "limits", "flows"):
        assert client.get(link("", route, **NAMES)).status_code == 200, route
    assert client.get(link("", "tasks", place="ready", **NAMES)).status_code == 200


def test_a_store_of_others_has_pages(tmp_path: object) -> None:
    """A backend without the optional protocols gets pages that say what is not available."""
    queue = TaskQueue(f"files://{tmp_path}", stream_key="mail")
    client = TestClient(Dashboard(queue, access=Access.ALL), headers=SAME_SITE)

    missing = {}
    for route in ("group", "failures", "statistics", "schedules", "limits", "flows"):
        answer = client.get(link("", route, **NAMES))
        assert answer.status_code == 200, route
        missing[route] = "does not" in answer.text or "cannot" in answer.text
    assert missing["statistics"]
    assert missing["limits"]
    assert "does not list" in client.get(link("", "tasks", place="ready", **NAMES)).text
    assert client.post("/q/mail/cg/do/pause", data={}, follow_redirects=False).status_code == 400
    queue.close()


def test_metrics_are_those_of_prometheus(queue: TaskQueue, visitor: Visitor) -> None:
    """For those who may read."""
    queue.task(name="send")(print)(1)

    answer = visitor(Access.READ).get("/metrics")

    assert answer.headers["content-type"].startswith("text/plain")
    assert 'pyxqueue_queue_tasks{group="cg",place="ready",queue="mail"} 1.0' in answer.text


def test_earlier_attempts_of_a_task(queue: TaskQueue, visitor: Visitor) -> None:
    """Its page says when each began and ended, where and with what, and draws them; secrets are hidden."""
    handle = queue.task(name="send")(print)(1)
    backend = queue.stores.backend
    now = wall_clock()
    for one in (
        Attempt(1, "KeyError", "password=hunter22", now - 7_000, "w1", "web1", 1_500),
        Attempt(2, STOPPED, "the worker stopped <b>", now - 5_000, "w2", "web2", 1_000),
    ):
        (delivery,) = backend.claim("w3", 1, 0)
        backend.settle([Settlement(delivery.receipt, Retry(0, line(one)))])
    (delivery,) = backend.claim("w3", 1, 0)
    backend.settle([Settlement(delivery.receipt, Done(), Record(handle.task_id, TaskStatus.SUCCESS, attempt=3))])

    html = visitor().get(link("", "task", id=handle.task_id, **NAMES)).text
    (info,) = backend.show([handle.task_id])
    assert info is not None
    assert info.record is not None
    message = evolve(info.readable, enqueued_ms=now - 10_000)
    record = evolve(info.record, worker="w3", ended_ms=now, ran_ms=3_000)
    view = Reading().task_of(queue, evolve(info, message=message, record=record))

    words = [(what, detail) for what, _, detail in timeline(view)]
    assert [what for what, _ in words] == [
        "enqueued",
        "attempt 1 began", "attempt 1 ended", "attempt 2 began", "attempt 2 ended", "attempt 3 began",
        "succeeded",
    ]  # fmt: skip
    assert words[1] == ("attempt 1 began", "w1 · web1")
    assert words[4] == ("attempt 2 ended", "WorkerStopped: the worker stopped <b> · w2 · web2")
    assert "hunter22" not in html
    assert "stopped &lt;b&gt;" in html
    chart = drawn(view)
    assert chart is not None
    assert chart.count('class="bad"') == 2
    assert "<title>attempt 2 ran for 1 s: WorkerStopped: the worker stopped &lt;b&gt;</title>" in chart


def test_the_store_says_how_full_it_is() -> None:
    """Once for each store, with the queues that it keeps; it is ready only if every queue can be read."""
    with Server(kinds_to_test()[0]) as server, Server(kinds_to_test()[0]) as other:
        queues = [TaskQueue(server.url, "mail"), TaskQueue(server.url, "shop"), TaskQueue(other.url, "files")]
        client = TestClient(Dashboard(queues, access=Access.READ))
        page = client.get("/").text
        assert client.get("/readyz").status_code == 200
        other.stop()
        assert client.get("/readyz").status_code == 503
        for queue in queues:
            queue.close()

    assert page.count("<dt>memory</dt>") == 2
    assert "of mail, shop</small>" in page
    assert "of files</small>" in page


@pytest.mark.parametrize("counts", [TaskCounts("a", dropped=1_204), TaskCounts("a", lost=31), TaskCounts("a")])
def test_what_was_not_kept_has_columns_if_there_is_any(queue: TaskQueue, visitor: Visitor, counts: TaskCounts) -> None:
    """Failed tasks that a limit has deleted, and tasks that a failover has lost: most queues have neither."""
    backend = queue.stores.backend
    assert backend.lease_ms()  # registers the group
    assert isinstance(backend, HasStatistics)
    backend.add_statistics(StatisticsBatch("s", 1, [counts]))

    page = visitor().get(link("", "statistics", **NAMES)).text
    told = visitor().get(link("", "api_statistics", **NAMES)).json()["totals"][0]

    assert (">Dropped</th>" in page, ">1,204</td>" in page) == (counts.dropped > 0, counts.dropped > 0)
    assert (">Lost</th>" in page, 'bad">31</td>' in page) == (counts.lost > 0, counts.lost > 0)
    assert (told["dropped"], told["lost"]) == (counts.dropped, counts.lost)
