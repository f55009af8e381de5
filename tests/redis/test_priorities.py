"""The streams of the priority classes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from pyxqueue.backends.redis import ConnectionConfig, RedisBackend
from pyxqueue.backends.redis.reading import LAST_ENTRY
from pyxqueue.model.locks import LockKind, LockTerms, Placement, lock_text
from pyxqueue.model.message import Done, Message, Settlement, TaskStatus, evolve
from pyxqueue.protocols import StoreOptions


@contextmanager
def opened(redis_url: str, stream_key: str, group: str = "cg") -> Iterator[RedisBackend]:
    options = StoreOptions(stream_key, group)
    with closing(RedisBackend(ConnectionConfig.from_url(redis_url), options, reclaim_after=0)) as backend:
        backend.lease_ms()
        yield backend


def urgent(*ids: str, priority: int = 60) -> list[Message]:
    return [Message(task_id, "job", priority=priority) for task_id in ids]


def position(client: Any, stream: str) -> str:
    """Where the group stands in a stream."""
    (group,) = client.xinfo_groups(stream)
    return str(group["last-delivered-id"], "ascii")


def test_a_queue_without_priorities_has_no_key_of_them(redis_url: str, stream_key: str, client: Any) -> None:
    """Nor is anything noted; the first task of a class makes the streams of this class alone."""
    with opened(redis_url, stream_key) as backend:
        backend.enqueue([Message("plain", "job")])
        backend.settle([Settlement(backend.claim("w", 1, 0)[0].receipt, Done())])
        prefix = f"{{{stream_key}}}:cg"
        assert client.hget(f"{{{stream_key}}}:meta", "classes") is None
        assert client.exists(f"{prefix}:new:2", f"{prefix}:again:2") == 0

        backend.enqueue(urgent("a"))

        assert client.hget(f"{{{stream_key}}}:meta", "classes") == b"2"
        assert client.exists(f"{prefix}:new:2", f"{prefix}:again:2") == 2
        assert client.exists(f"{prefix}:new:1", f"{prefix}:again:1", f"{prefix}:new:-1", f"{prefix}:new:-2") == 0


def test_a_stream_of_a_class_that_was_deleted(redis_url: str, stream_key: str, client: Any) -> None:
    """A claim hands out what it has read from the other streams, and the next one makes the stream again."""
    with closing(RedisBackend(ConnectionConfig.from_url(redis_url), StoreOptions(stream_key))) as backend:
        backend.enqueue([*urgent("first", "a", "b"), *urgent("low", priority=-60), Message("usual", "job")])
        assert [one.message.id for one in backend.claim("w", 1, 0)] == ["first"]  # the next one does not reclaim
        lowest = f"{{{stream_key}}}:cg:new:-2"
        client.delete(lowest)

        found = backend.claim("w", 9, 0)
        assert [one.message.id for one in found] == ["a", "b", "usual"]
        assert backend.settle([Settlement(one.receipt, Done()) for one in found]) == [True] * 3

        assert backend.claim("w", 9, 0) == []
        backend.enqueue(urgent("next", priority=-60))
        assert [one.message.id for one in backend.claim("w", 9, 0)] == ["next"]
        assert backend.show(["low"])[0].status is TaskStatus.FAILURE  # type: ignore[union-attr] # its message is gone


def test_a_handle_that_does_not_know_the_class(redis_url: str, stream_key: str) -> None:
    """What changes and shows tasks goes on with the keys of the classes where it meets the first task of one."""
    with opened(redis_url, stream_key) as backend, opened(redis_url, stream_key) as stale:
        for way, wanted in (("cancel", True), ("delete", True), ("requeue", False)):
            ids = [f"{way}-{name}" for name in "abcd"]
            with opened(redis_url, stream_key) as late:
                backend.enqueue([Message(ids[0], "job"), *urgent(*ids[1:3]), Message(ids[3], "job")])
                late._registration._groups = stale._registration._groups
                assert [info and info.id for info in late.show(ids)] == ids
                late._registration._groups = stale._registration._groups
                assert late.wait(ids, 0) == [None] * 4
                late._registration._groups = stale._registration._groups
                assert list(getattr(late, way)(ids)) == [wanted] * 4
        assert not stale._registration.groups.classes


def test_a_class_that_another_group_has_not_read_yet(redis_url: str, stream_key: str) -> None:
    """A unique task of it is live there: the group has its entry, and makes its readers later."""
    message = Message("a", "job", priority=60, lock=lock_text(LockKind.FINISHED, b"x"), v=2)
    with opened(redis_url, stream_key) as backend, opened(redis_url, stream_key, "other") as other:
        assert backend.enqueue_unique([message], LockTerms()) == [(Placement.NEW, "a")]
        assert backend.enqueue_unique([evolve(message, id="b")], LockTerms()) == [(Placement.HELD, "a")]
        (delivery,) = backend.claim("w", 9, 0)
        assert backend.settle([Settlement(delivery.receipt, Done())]) == [True]
        assert backend.enqueue_unique([evolve(message, id="c")], LockTerms()) == [(Placement.HELD, "a")]

        with opened(redis_url, stream_key, "other") as late:
            assert [one.message.id for one in late.claim("w", 9, 0)] == ["a"]
        assert other.depth().in_flight == 1


def test_a_handle_that_does_not_know_the_class_requeues(redis_url: str, stream_key: str) -> None:
    """The task comes back in its class."""
    with opened(redis_url, stream_key) as backend, opened(redis_url, stream_key) as stale:
        backend.enqueue([Message("plain", "job"), *urgent("a", "b")])
        backend.cancel(["a", "b"])

        assert list(stale.requeue(["a", "b"])) == [True, True]
        assert [one.message.id for one in stale.claim("w", 9, 0)] == ["a", "b", "plain"]


def test_a_class_comes_into_use_during_a_pause(redis_url: str, stream_key: str, client: Any) -> None:
    """The group stands at the end of its streams from the step on that makes them."""
    with opened(redis_url, stream_key) as backend, opened(redis_url, stream_key) as other:
        backend.pause()

        other.enqueue(urgent("a"))

        for kind in ("new", "again"):
            assert position(client, f"{{{stream_key}}}:cg:{kind}:2") == LAST_ENTRY
        backend.resume()
        assert [one.message.id for one in backend.claim("w", 9, 0)] == ["a"]


def test_a_delayed_task_of_a_class_that_a_supervisor_does_not_know(redis_url: str, stream_key: str) -> None:
    """It comes back in its class at the supervisor's next look."""
    with opened(redis_url, stream_key) as backend, opened(redis_url, stream_key) as supervisor:
        backend.enqueue([Message("plain", "job"), Message("late", "job", priority=60, delay_ms=1)])
        while backend.depth().delayed:
            supervisor.maintain(9)
        assert backend.show(["late"])[0].status is TaskStatus.PENDING  # type: ignore[union-attr]
        assert [one.message.id for one in supervisor.claim("w", 9, 0)] == ["late", "plain"]
