"""What a page asks of the store: at most twelve requests, and bytes for what it shows, however much is stored."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis.connection
from redis import Redis
from starlette.testclient import TestClient

from pyxqueue import TaskQueue
from pyxqueue.dashboard import Access, Dashboard
from pyxqueue.dashboard.site import link
from pyxqueue.model.message import Done, Fail, Failure, Message, Record, Settlement, TaskStatus
from pyxqueue.testing.servers import Server

from ..conftest import kinds_to_test

READY, FINISHED, WORKERS, LARGE, FAILED = 1_000_000, 10_000, 600, 60, 1_500
LARGE_BODY = b'[["' + b"x" * 1_048_000 + b'"],{}]'
MOST = 12
COPY = """
local fields = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1][2]
for number = 1, ARGV[1] do
  for place = 1, #fields, 2 do
    if fields[place] == 'id' then fields[place + 1] = ARGV[2] .. number end
  end
  redis.call('XADD', KEYS[1], '*', unpack(fields))
end
"""
"""Copies the last entry of a stream, so that a million of them take a second."""


class Site:
    """A visitor of a full queue, and what its requests cost."""

    def __init__(self, client: TestClient, server: Redis, backend: Any) -> None:
        self.client, self.server, self.requests = client, server, 0
        self._backend = backend

    def pass_by(self) -> None:
        """Let so much time pass that the backend looks again at what it may remember for a while."""
        self._backend._registration._looked = 0.0

    def sent(self) -> int:
        found: int = self.server.info("stats")["total_net_output_bytes"]
        return found


@pytest.fixture
def site() -> Iterator[Site]:
    with Server(kinds_to_test()[0]) as server, Redis.from_url(server.url) as client:
        queue = TaskQueue(server.url, stream_key="mail")
        fill(queue, client)
        app = Dashboard(queue, access=Access.ALL)
        yield Site(TestClient(app), client, queue.stores.backend)
        queue.close()


def fill(queue: TaskQueue, client: Redis) -> None:
    backend = queue.stores.backend
    for worker in range(WORKERS):
        backend.enqueue([Message(f"h{worker}", "send", b"[[1],{}]")])
        backend.claim(f"w{worker:03}", 1, 0)
    for start in range(0, FINISHED, 500):
        ids = [f"d{number}" for number in range(start, start + 500)]
        backend.enqueue([Message(one, "send", b"[[1],{}]") for one in ids])
        taken = backend.claim("w", 500, 0)
        backend.settle([Settlement(one.receipt, Done(), Record(one.message.id, TaskStatus.SUCCESS)) for one in taken])
    for start in range(0, FAILED, 500):
        backend.enqueue([Message(f"e{number}", "send", b"[[1],{}]") for number in range(start, start + 500)])
        backend.settle(
            [
                Settlement(one.receipt, Fail("x"), Record(one.message.id, TaskStatus.FAILURE))
                for one in backend.claim("w", 500, 0)
            ]
        )
    for number in range(LARGE):
        backend.enqueue([Message(f"f{number}", "send", LARGE_BODY)])
        (taken_one,) = backend.claim("w", 1, 0)
        error = Failure(f"Error{number % 3}", "x" * 1_000, "y" * 8_000)
        record = Record(f"f{number}", TaskStatus.FAILURE, error=error)
        backend.settle([Settlement(taken_one.receipt, Fail("x"), record)])
    backend.enqueue([Message(f"r{number}", "send", LARGE_BODY) for number in range(LARGE)])
    backend.enqueue([Message("last", "send", b"[[1],{}]")])
    for part in range(20):
        client.eval(COPY, 1, "mail", READY // 20, f"c{part}-")


@pytest.fixture
def counted(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """The visitor, whose requests to the store are counted: each time that something is sent."""
    site.requests = 0
    send = redis.connection.AbstractConnection.send_packed_command

    def sending(connection: redis.connection.AbstractConnection, *args: object, **options: object) -> None:
        site.requests += 1
        send(connection, *args, **options)  # type: ignore[no-untyped-call] # redis-py has no types here

    monkeypatch.setattr(redis.connection.AbstractConnection, "send_packed_command", sending)
    return site


NAMES = {"queue": "mail", "group": "cg"}
PAGES = {
    "overview": "/",
    "workers": "/workers",
    **{name: link("", name, **NAMES) for name in ("group", "failures", "statistics", "schedules", "limits", "flows")},
    **{place: link("", "tasks", place=place, **NAMES)
       for place in ("ready", "in_flight", "delayed", "blocked", "dependent", "failed", "history")},
    "the last of many rows": link("", "tasks", place="history", limit=200, **NAMES),
    "a task that is ready": link("", "task", id="r5", **NAMES),
    "a task in flight": link("", "task", id="h5", **NAMES),
    "a task that failed": link("", "task", id="f5", **NAMES),
    "a task that has gone": link("", "task", id="gone", **NAMES),
    "by name": link("", "tasks", place="failed", name="send", **NAMES),
    "a name of none": link("", "tasks", place="history", name="none", **NAMES),
    "a text in none": link("", "tasks", place="ready", text="none", **NAMES),
    "a text in many": link("", "tasks", place="failed", text="send", **NAMES),
    "queues as JSON": link("", "api_queues"),
}  # fmt: skip


@pytest.mark.timeout(300)  # it fills the store, which takes longer than all pages
def test_a_page_asks_the_store_a_few_times(counted: Site, subtests: pytest.Subtests) -> None:
    """With a million ready tasks, ten thousand finished ones, six hundred workers and arguments of a megabyte.

    All pages are one test: of several, each process of a run would fill a store of its own.
    """
    for page in PAGES:
        with subtests.test(page):
            check(counted, page)


def check(counted: Site, page: str) -> None:
    counted.client.get(PAGES[page])  # it connects, and the server learns the scripts
    counted.pass_by()
    before, counted.requests = counted.sent(), 0

    answer = counted.client.get(PAGES[page])

    assert answer.status_code in (200, 404)
    assert 0 < counted.requests <= MOST
    one_body = 2 * len(LARGE_BODY) if page.startswith("a task") else 0
    searched = 2_000_000 if page.startswith("a text") else 0  # the beginning of each, in which the text is looked for
    assert counted.sent() - before < 1_500_000 + one_body + searched  # a failure has a traceback of 8 KB
    assert len(answer.content) < 1_000_000
