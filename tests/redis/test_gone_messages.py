"""A message that another program removed from its stream: the task ends as a failure at the next look."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

import pytest
from attrs import frozen
from redis import Redis

from pyxqueue import TaskError, TaskQueue, TaskStateError, TaskStatus
from pyxqueue.backends.redis import RedisBackend
from pyxqueue.model.message import FLOW_VERSION, Defer, Done, Fail, Message, Record, Retry, Settlement, Verdict
from tests.support.until import PATIENCE, until

GONE = "its message is gone"


@frozen
class Site:
    """A queue, and a plain client of its server."""

    queue: TaskQueue
    client: Redis

    @property
    def backend(self) -> RedisBackend:
        broker = self.queue.stores.backend
        assert isinstance(broker, RedisBackend)
        return broker

    def enqueue(self, task_id: str, delay: int = 0) -> None:
        assert self.backend.enqueue([Message(task_id, "job", delay_ms=delay)]) == [True]

    def claim(self) -> str:
        return self.backend.claim("worker", 1, 0)[0].receipt

    def lifetime(self, task_id: str) -> int:
        """Seconds until the task's key expires; -1 if it does not, -2 if there is none."""
        key = self.backend._registration.keys.task(task_id)
        return int(self.client.ttl(key))

    def status(self, task_id: str) -> TaskStatus | None:
        info = self.backend.show([task_id])[0]
        return None if info is None else info.status


@pytest.fixture
def site(redis_url: str, stream_key: str) -> Iterator[Site]:
    queue = TaskQueue(redis_url, stream_key=stream_key)
    with Redis.from_url(redis_url) as client:
        yield Site(queue, client)
    queue.close()


def deleted(site: Site) -> None:
    site.enqueue("a")
    value = site.client.get(site.backend._registration.keys.task("a"))
    assert value is not None
    assert site.client.xdel(site.queue.stream_key, value[1:]) == 1


def deleted_after_it_came_back(site: Site) -> None:
    site.enqueue("a")
    site.backend.settle([Settlement(site.claim(), Retry())])
    assert site.client.xtrim(site.backend._registration.keys.again, maxlen=0, approximate=False) == 1


def trimmed(site: Site) -> None:
    site.enqueue("a")
    site.client.xtrim(site.queue.stream_key, maxlen=0, approximate=False)


def stream_deleted(site: Site) -> None:
    site.enqueue("a")
    site.client.delete(site.queue.stream_key)


def delayed_trimmed(site: Site) -> None:
    site.enqueue("a", delay=60_000)
    site.client.xtrim(site.backend._registration.keys.parked, maxlen=0, approximate=False)


def blocked_deleted(site: Site) -> None:
    """It waits for a limit, behind one that waits too, and before another."""
    site.backend.limits().set("api", 0)
    for task_id in ("before", "a", "behind"):
        site.backend.enqueue([Message(task_id, "job", gates=("api/k",), v=FLOW_VERSION)])
    parked = site.backend._registration.keys.parked
    entries: Any = site.client.xrange(parked)
    site.client.xdel(parked, entries[1][0])
    site.backend.cancel(["before"])
    site.backend.cancel(["behind"])
    site.backend.delete(["before", "behind"])


def deleted_while_held(site: Site) -> None:
    """Its message was deleted in flight, and then the worker died."""
    site.enqueue("a")
    site.claim()
    site.client.xtrim(site.queue.stream_key, maxlen=0, approximate=False)
    site.backend.release("worker", [])


def deleted_before_a_retry(site: Site) -> None:
    settled(site, Retry(0))


def deleted_before_a_return(site: Site) -> None:
    settled(site, Defer(100))


def settled(site: Site, verdict: Verdict, record: Record | None = None) -> None:
    """Claimed, deleted, settled."""
    site.enqueue("a")
    receipt = site.claim()
    site.client.xtrim(site.queue.stream_key, maxlen=0, approximate=False)
    assert site.backend.settle([Settlement(receipt, verdict, record)]) == [True]


Harm: TypeAlias = Callable[[Site], None]
any_harm = pytest.mark.parametrize(
    "harm",
    [deleted, trimmed, deleted_after_it_came_back, stream_deleted, delayed_trimmed, deleted_while_held,
     blocked_deleted,
     deleted_before_a_retry, deleted_before_a_return],
)  # fmt: skip


def get(site: Site) -> None:
    site.queue.result("a").get(timeout=PATIENCE)


def await_(site: Site) -> None:
    asyncio.run(site.queue.result("a").aget(PATIENCE))


def peek(site: Site) -> None:
    site.queue.result("a")(block=False)


def watch(site: Site) -> None:
    assert list(site.queue.result("a").watch(PATIENCE)) == []
    peek(site)


@pytest.mark.parametrize("look", [get, await_, peek, watch])
@any_harm
def test_each_look_finds_the_failure(site: Site, harm: Harm, look: Callable[[Site], None]) -> None:
    """It does at once, whichever operation looks."""
    harm(site)

    with pytest.raises(TaskError, match=GONE):
        look(site)

    assert site.status("a") is TaskStatus.FAILURE


@any_harm
def test_it_is_an_ended_task_like_others(site: Site, harm: Harm) -> None:
    """It is counted and listed, cannot be requeued, its key expires, and its id is free once it is deleted."""
    harm(site)
    assert site.status("a") is TaskStatus.FAILURE

    depth = site.backend.depth()
    assert (depth.ready, depth.in_flight, depth.delayed, depth.failed, depth.history) == (0, 0, 0, 0, 1)
    (listed,) = site.backend.tasks(TaskStatus.FAILURE)[0]
    assert listed == site.backend.show(["a"])[0]
    assert listed.message is None
    assert site.backend.statistics(1).gone == 1
    assert site.lifetime("a") > 3600
    with pytest.raises(TaskStateError, match="no longer in the history"):
        site.queue.retry_task("a")
    assert site.backend.maintain(9) == -1
    assert site.backend.delete(["a"]) == [True]
    site.enqueue("a")
    assert site.status("a") is TaskStatus.PENDING


def test_the_count_belongs_to_the_group(site: Site) -> None:
    """It goes with the group, and what another program has put in its place is left alone."""
    for number in range(1, 4):
        site.enqueue(f"t{number}")
        site.client.xtrim(site.queue.stream_key, maxlen=0, approximate=False)
        assert site.status(f"t{number}") is TaskStatus.FAILURE
        assert site.backend.statistics(1).gone == number
    meta = site.backend._registration.keys.meta
    site.client.hset(meta, "gone:cg", "many")
    deleted(site)
    assert site.status("a") is TaskStatus.FAILURE
    assert site.backend.statistics(1).gone == 0
    assert site.client.hget(meta, "gone:cg") == b"many"

    site.backend.remove_group("cg")

    assert not site.client.hexists(meta, "gone:cg")


def test_a_wait_finds_it_at_its_deadline(site: Site) -> None:
    """Nothing is published, but the wait looks once more."""
    site.enqueue("a")
    handle = site.queue.result("a")
    with ThreadPoolExecutor(1) as threads:
        waiter = threads.submit(handle.get, 1.0)
        until(lambda: site.client.exists(site.backend._registration.keys.notes), "it waits")
        site.client.xtrim(site.queue.stream_key, maxlen=0, approximate=False)
        with pytest.raises(TaskError, match=GONE):
            waiter.result(PATIENCE)


def test_a_look_wakes_those_who_wait(site: Site) -> None:
    """The end is published like any other."""
    site.enqueue("a")
    handle = site.queue.result("a")
    with ThreadPoolExecutor(1) as threads:
        waiter = threads.submit(handle.get)
        until(lambda: site.client.exists(site.backend._registration.keys.notes), "it waits")
        site.client.xtrim(site.queue.stream_key, maxlen=0, approximate=False)
        assert site.status("a") is TaskStatus.FAILURE
        with pytest.raises(TaskError, match=GONE):
            waiter.result(PATIENCE)


def test_a_message_in_flight_is_not_gone(site: Site) -> None:
    """Its holder has it, and its end counts."""
    site.enqueue("a")
    receipt = site.claim()
    site.client.xtrim(site.queue.stream_key, maxlen=0, approximate=False)
    assert site.status("a") is TaskStatus.STARTED
    assert site.backend.wait(["a"], 20) == [None]

    site.backend.settle([Settlement(receipt, Done(), Record("a", TaskStatus.SUCCESS, b"7"))])

    (record,) = site.backend.wait(["a"], 0)
    assert record is not None
    assert record.value == b"7"


def test_a_failure_without_a_message(site: Site) -> None:
    """Its record is kept; there is no message to keep with the failed tasks."""
    settled(site, Fail("no use"))

    (listed,) = site.backend.tasks(TaskStatus.FAILURE)[0]
    assert listed.record is not None
    assert listed.record.error is not None
    assert listed.record.error.message == "no use"
    assert (site.backend.depth().failed, site.backend.requeue(["a"])) == (0, [False])
    assert site.lifetime("a") > 3600


def test_a_failed_task_whose_message_was_trimmed(site: Site) -> None:
    """It has ended; its key expires."""
    site.enqueue("a")
    site.backend.settle([Settlement(site.claim(), Fail("no use"))])
    assert site.lifetime("a") == -1
    site.client.xtrim(site.backend._registration.keys.failed, maxlen=0, approximate=False)

    assert site.status("a") is TaskStatus.FAILURE

    assert site.lifetime("a") > 3600
    assert site.backend.requeue(["a"]) == [False]
    assert site.backend.delete(["a"]) == [True]
    site.enqueue("a")


def test_steps_go_with_the_message_of_a_failed_task(backend: RedisBackend, client: Any, stream_key: str) -> None:
    """A later task of the same id has none of them."""
    backend.enqueue([Message("a", "job")])
    (held,) = backend.claim("w", 1, 0)
    backend.save_steps(held.receipt, {"step:charge": b"json \n1"})
    backend.settle([Settlement(held.receipt, Fail("broken"))])
    assert client.xtrim(f"{{{stream_key}}}:cg:failed", maxlen=0, approximate=False) == 1

    assert backend.show(["a"])[0] is not None
    assert list(backend.delete(["a"])) == [True]
    backend.enqueue([Message("a", "job")])

    assert backend.load_steps("a").steps == {}
    assert client.exists(f"{{{stream_key}}}:cg:notes") == 0
