"""What is stored of an ended task: its record goes at its time, and what stays for its id is small."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from attrs import frozen
from redis import Redis

from pyxqueue.backends.redis import ConnectionConfig, RedisBackend, RedisResults
from pyxqueue.backends.redis.keys import GroupKeys
from pyxqueue.model.message import (
    Done,
    Fail,
    Failure,
    Message,
    Progress,
    Record,
    Settlement,
    TaskInfo,
    TaskStatus,
    Verdict,
)
from pyxqueue.protocols import StoreOptions
from tests.support.until import until

LARGE = b"x" * 100_000
SMALL = 400
"""Bytes, of all that is left of a task on any server."""
HOUR_MS = 3_600_000
WORKER = "worker-0-27451-0242ac110002-1e9gmXli"


@frozen
class Site:
    """A backend, and a plain client of its server."""

    backend: RedisBackend
    client: Redis

    @property
    def keys(self) -> GroupKeys:
        return self.backend._registration.keys

    def end(self, verdict: Verdict, ttl: int, value: bytes = LARGE) -> Record:
        """Run the task `a` to its end."""
        assert self.backend.enqueue([Message("a", "job")]) == [True]
        return self.end_again(verdict, ttl, value)

    def end_again(self, verdict: Verdict, ttl: int, value: bytes = LARGE) -> Record:
        (delivery,) = self.backend.claim(WORKER, 1, 0)
        failed = isinstance(verdict, Fail)
        record = Record(
            "a",
            TaskStatus.FAILURE if failed else TaskStatus.SUCCESS,
            value=b"" if failed else value,
            error=Failure("ValueError", "no", value.decode()) if failed else None,
            worker=WORKER,
            progress=Progress(1, 2),
            ttl_ms=ttl,
        )
        assert self.backend.settle([Settlement(delivery.receipt, verdict, record)]) == [True]
        return record

    def size(self) -> int:
        """Bytes of all keys of the task, also of those that are not known by name."""
        found = [key for key in self.client.scan_iter() if key.endswith(b":a")]
        return sum(self.client.memory_usage(key) or 0 for key in found)

    def record(self) -> Record | None:
        return self.backend.wait(["a"], 0)[0]

    def shown(self) -> TaskInfo:
        info = self.backend.show(["a"])[0]
        assert info is not None
        return info


@pytest.fixture
def site(redis_url: str, stream_key: str) -> Iterator[Site]:
    backend = RedisBackend(ConnectionConfig.from_url(redis_url), StoreOptions(stream_key), reclaim_after=0)
    with Redis.from_url(redis_url) as client:
        yield Site(backend, client)
    backend.close()


ENDS = pytest.mark.parametrize("verdict", [Done(), Fail("no use")])


@ENDS
def test_a_record_goes_at_its_time(site: Site, verdict: Verdict) -> None:
    """Its value, its error and its traceback go; the id stays known, and the task can be requeued."""
    site.end(verdict, 300)
    assert site.size() > len(LARGE)

    until(lambda: not site.client.exists(site.keys.record("a")), "the record goes")

    assert site.size() < SMALL
    assert site.record() is None
    assert site.shown().record is None
    assert site.shown().message == site.backend.tasks()[0][0].message
    assert site.backend.enqueue([Message("a", "job")]) == [False]
    assert site.backend.requeue(["a"]) == [True]


@ENDS
@pytest.mark.parametrize("ttl", [60_000, 2 * HOUR_MS])
def test_until_then_a_record_is_whole(site: Site, verdict: Verdict, ttl: int) -> None:
    """Whichever keys its parts are in."""
    record = site.end(verdict, ttl)

    found = site.record()

    assert found is not None
    assert (found.value, found.error, found.worker, found.progress) == (
        record.value,
        record.error,
        WORKER,
        Progress(1, 2),
    )
    assert (found.attempt, found.ttl_ms) == (1, ttl)
    assert site.shown().record == found
    assert site.backend.tasks()[0][0].record == found


def test_a_failed_task_keeps_its_message_only(site: Site) -> None:
    """The message stays until it is requeued or deleted; the record does not."""
    site.end(Fail("no use"), 24 * HOUR_MS)

    assert site.client.ttl(site.keys.task("a")) == -1
    assert HOUR_MS < site.client.pttl(site.keys.record("a")) <= 24 * HOUR_MS
    site.client.delete(site.keys.record("a"))
    assert site.shown().reason == "no use"
    assert site.backend.requeue(["a"]) == [True]


def test_the_id_is_free_after_an_hour(site: Site) -> None:
    """Until then it is known, however soon the record goes."""
    site.end(Done(), 1)

    assert HOUR_MS - 60_000 < site.client.pttl(site.keys.task("a")) <= HOUR_MS


@ENDS
@pytest.mark.parametrize("name", ["delete", "forget", "requeue", "remove_group"])
def test_nothing_of_the_value_stays(site: Site, verdict: Verdict, name: str) -> None:
    """A delete, a forget and a requeue remove all of it."""
    operations: dict[str, Callable[[], object]] = {
        "delete": lambda: site.backend.delete(["a"]),
        "forget": lambda: site.backend.forget(["a"]),
        "requeue": lambda: site.backend.requeue(["a"]),
        "remove_group": lambda: site.backend.remove_group("cg"),
    }
    site.end(verdict, 60_000)

    operations[name]()

    assert site.size() < SMALL
    if name != "remove_group":
        assert site.record() is None


def test_the_second_end_counts(site: Site) -> None:
    """Nothing of an earlier record shows in that of the next run."""
    site.end(Fail("no use"), 60_000)
    for ttl in (60_000, 2 * HOUR_MS, 60_000):
        assert site.backend.requeue(["a"]) == [True]
        site.end_again(Done(), ttl, b"7")
        found = site.record()
        assert found is not None
        assert (found.status, found.value, found.error, found.ttl_ms) == (TaskStatus.SUCCESS, b"7", None, ttl)


def test_a_store_of_results_keeps_no_ids(redis_url: str, stream_key: str) -> None:
    """Nothing is enqueued there: a record's key goes with it, also after a repeat."""
    results = RedisResults(ConnectionConfig.from_url(redis_url), StoreOptions(stream_key))
    with Redis.from_url(redis_url) as client:
        for _ in range(2):
            results.put([Record("a", TaskStatus.SUCCESS, LARGE, ttl_ms=60_000, fence=3)])
            (key,) = client.scan_iter()
            assert key.endswith(b":result:a")
            assert 0 < client.pttl(key) <= 60_000
    results.close()


def test_an_ended_task_is_one_small_key(site: Site) -> None:
    """With the usual time to live; see "Memory" in how-to/workers.md."""
    (message,) = [Message("5X50t04rUxU2ZpeOBc", "job")]
    site.backend.enqueue([message])
    (delivery,) = site.backend.claim(WORKER, 1, 0)
    record = Record(message.id, TaskStatus.SUCCESS, b"\xc0", worker=WORKER)
    site.backend.settle([Settlement(delivery.receipt, Done(), record)])

    (key,) = [key for key in site.client.scan_iter() if key.endswith(message.id.encode())]

    assert 0 < (site.client.memory_usage(key) or 0) <= 232
