"""Lists by place, with filters; groups of failures; and what acts on all that fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta

import pytest

from pyxqueue import ConfigurationError, TaskQueue, Where
from pyxqueue.model.message import Done, Fail, Failure, Message, Record, Settlement, TaskStatus
from pyxqueue.model.places import Place

Put = Callable[..., None]


@pytest.fixture
def fail(queue: TaskQueue) -> Put:
    """Puts a failed task into the queue."""
    backend = queue.stores.backend

    def put(task_id: str, error: str = "ValueError", name: str = "shop.pay", text: str = "no") -> None:
        backend.enqueue([Message(task_id, name, b'[["Ada"],{"card":"x"}]')])
        (delivery,) = backend.claim("w", 1, 0)
        record = Record(task_id, TaskStatus.FAILURE, error=Failure(error, text))
        backend.settle([Settlement(delivery.receipt, Fail(f"{error}: {text}"), record)])

    return put


def ids(queue: TaskQueue, place: str, **options: object) -> list[str]:
    return [one.info.id for one in queue.admin.list(place, **options).tasks]  # type: ignore[arg-type]


def test_a_page(queue: TaskQueue) -> None:
    """It has the tasks of one place, and the cursor of the next page."""
    task = queue.task(name="job")(lambda n: n)
    for number in range(5):
        task.with_options(task_id=f"r{number}")(number)
    task.with_options(task_id="later", delay=60)(9)

    page = queue.admin.list("ready", limit=3)

    assert [one.info.id for one in page.tasks] == ["r0", "r1", "r2"]
    assert ids(queue, "ready", after=page.next) == ["r3", "r4"]
    assert ids(queue, Place.DELAYED) == ["later"]
    assert page.scanned == 3


def test_each_part_of_a_filter(queue: TaskQueue, fail: Put) -> None:
    """By name, type of the failure, text, and age; all parts must fit."""
    fail("a")
    fail("b", error="KeyError", text="Grace")
    fail("c", name="mail.send", error="KeyError")

    for where, wanted in (
        (Where(), ["c", "b", "a"]),
        (Where(name="shop.pay"), ["b", "a"]),
        (Where(name="*.send"), ["c"]),
        (Where(error="KeyError"), ["c", "b"]),
        (Where(name="shop.*", error="KeyError"), ["b"]),
        (Where(text="GRACE"), ["b"]),
        (Where(text="ada"), ["c", "b", "a"]),
        (Where(text='"card"'), ["c", "b", "a"]),
        (Where(text="nobody"), []),
        (Where(newer=timedelta(minutes=1)), ["c", "b", "a"]),
        (Where(older=60), []),
    ):
        assert ids(queue, "failed", where=where) == wanted, where


def test_a_filter_on_the_way(queue: TaskQueue, fail: Put) -> None:
    """Pages of what fits follow each other without a gap, whatever stands between."""
    for number in range(20):
        fail(f"f{number:02}", error="KeyError" if number % 3 else "ValueError")
    found, cursor = list[str](), ""
    while True:
        page = queue.admin.list("failed", where=Where(error="ValueError"), limit=2, after=cursor)
        assert len(page.tasks) <= 2
        found += [one.info.id for one in page.tasks]
        if not (cursor := page.next):
            break

    assert found == [f"f{number:02}" for number in range(18, -1, -3)]


def test_one_call_looks_at_few(queue: TaskQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then it returns what it has, with a cursor to go on."""
    monkeypatch.setattr("pyxqueue.client.finding.SCAN_LIMIT", 100)
    queue.stores.backend.enqueue([Message(f"t{number:03}", "job") for number in range(250)])

    page = queue.admin.list("ready", where=Where(text="t249"))

    assert (page.tasks, page.scanned) == ([], 100)
    page = queue.admin.list("ready", where=Where(text="t249"), after=page.next, scan=120)
    assert (page.tasks, page.scanned) == ([], 120)
    page = queue.admin.list("ready", where=Where(text="t249"), after=page.next)
    assert [one.info.id for one in page.tasks] == ["t249"]


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda admin: admin.list("running"), "'running' is not a place; the places are ready, in_flight"),
        (lambda admin: admin.list("ready", after="x"), "is not a cursor"),
        (lambda admin: admin.list("ready", limit=0), "limit=0 must be 1 or more"),
        (lambda admin: admin.list("ready", scan=0), "scan=0 must be 1 or more"),
        (lambda _: Where(older=-1), "older=-1 is not a time"),
        (lambda _: Where(name=5), "name=5 is not a text"),  # type: ignore[arg-type]  # as a mistake would be
        (lambda admin: admin.cancel(), "give either ids, or place="),
        (lambda admin: admin.delete(["a"], place="ready"), "give either ids, or place="),
        (lambda admin: admin.retry(where=Where(), limit=0), "limit=0 must be 1 or more"),
    ],
)
def test_what_is_refused(queue: TaskQueue, make: Callable[[object], object], what: str) -> None:
    """Each error says what to give."""
    with pytest.raises(ConfigurationError, match=what):
        make(queue.admin)


def test_failures_in_groups(queue: TaskQueue, fail: Put) -> None:
    """By name and type, the largest first, with the newest as an example."""
    for number in range(3):
        fail(f"v{number}", text=f"no {number}")
    fail("k", error="KeyError")

    page = queue.admin.failures()

    (values, keys) = page.groups
    assert (values.name, values.error, values.count, values.example) == ("shop.pay", "ValueError", 3, "v2")
    assert values.text == "ValueError: no 2"
    assert values.first_ms <= values.last_ms
    assert (keys.error, keys.count, page.scanned, page.complete) == ("KeyError", 1, 4, True)
    assert queue.admin.failures(limit=2).complete is False


def test_a_retry_of_all_that_fit(queue: TaskQueue, fail: Put) -> None:
    """At most so many in one call, which says whether there may be more."""
    for number in range(5):
        fail(f"v{number}")
    fail("k", error="KeyError")

    result = queue.admin.retry(where=Where(error="ValueError"), limit=3)
    assert (result.done, result.left) == (3, True)
    result = queue.admin.retry(where=Where(error="ValueError"), limit=3)
    assert (result.done, result.left) == (2, False)
    assert ids(queue, "failed") == ["k"]


def test_a_retry_while_they_fail_again(queue: TaskQueue, fail: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is retried once by one call, which ends."""
    for number in range(4):
        fail(f"v{number}")
    backend = queue.stores.backend
    requeue, done = backend.requeue, list[str]()

    def failing(wanted: Sequence[str]) -> Sequence[bool]:
        done.extend(wanted)
        changed = requeue(wanted)
        for delivery in backend.claim("w", 100, 0):
            backend.settle([Settlement(delivery.receipt, Fail("ValueError: again"))])
        return changed

    monkeypatch.setattr(backend, "requeue", failing)
    assert queue.admin.retry(where=Where()).done == 4
    assert sorted(done) == ["v0", "v1", "v2", "v3"]


def test_cancel_and_delete_by_place(queue: TaskQueue) -> None:
    """Only what fits is changed."""
    backend = queue.stores.backend
    backend.enqueue([Message(f"a{number}", "job.a") for number in range(4)])
    backend.enqueue([Message(f"b{number}", "job.b") for number in range(4)])
    assert queue.admin.cancel(place="ready", where=Where(name="job.a")).done == 4
    assert sorted(ids(queue, "ready")) == ["b0", "b1", "b2", "b3"]
    assert queue.admin.delete(place="ready", where=Where(text="b1")).done == 1
    assert queue.admin.delete(place="history").done == 4
    (delivery, *_) = backend.claim("w", 1, 0)
    assert queue.admin.delete(place="in_flight").done == 0
    backend.settle([Settlement(delivery.receipt, Done())])
