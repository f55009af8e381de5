"""Failed tasks beyond a limit, where something happens between the look and the deletion, or was written by hand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from attrs import frozen
from redis import Redis

from pyxqueue.backends.redis import ConnectionConfig, RedisBackend, commands
from pyxqueue.backends.redis.keys import GroupKeys
from pyxqueue.model.failed import FailedLimits
from pyxqueue.model.message import Fail, Message, Settlement, TaskStatus
from pyxqueue.protocols import StoreOptions

NONE = FailedLimits(keep=0)


@frozen
class Site:
    backend: RedisBackend
    client: Redis

    @property
    def keys(self) -> GroupKeys:
        return self.backend._registration.keys

    def fail(self, *ids: str) -> None:
        self.backend.enqueue([Message(one, "job") for one in ids])
        self.fail_again()

    def fail_again(self) -> None:
        held = self.backend.claim("w", 100, 0)
        assert all(self.backend.settle([Settlement(one.receipt, Fail("no")) for one in held]))

    def failed(self) -> list[str]:
        return [info.id for info in self.backend.tasks(TaskStatus.FAILURE)[0]]


@pytest.fixture
def site(redis_url: str, stream_key: str) -> Iterator[Site]:
    backend = RedisBackend(ConnectionConfig.from_url(redis_url), StoreOptions(stream_key), reclaim_after=0)
    with Redis.from_url(redis_url) as client:
        yield Site(backend, client)
    backend.close()


@pytest.mark.parametrize("how", ["ready", "in flight", "failed again", "deleted"])
def test_what_is_requeued_meanwhile_stays(how: str, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second step deletes a task only in the entry that the first has found."""
    site.fail("a", "b")
    drop = commands.drop_failed

    def later(*args: Any) -> Any:
        if how == "deleted":
            site.backend.delete(["a"])
        else:
            site.backend.requeue(["a"])
        if how == "in flight":
            assert site.backend.claim("w", 1, 0)
        if how == "failed again":
            site.fail_again()
        return drop(*args)

    monkeypatch.setattr(commands, "drop_failed", later)
    dropped = site.backend.drop_failed(NONE, 100)

    assert [one.id for one in dropped] == ["b"]
    assert site.backend.show(["a"])[0] is None if how == "deleted" else site.backend.show(["a"])[0] is not None


def test_entries_of_others_go_too(site: Site) -> None:
    """One that belongs to no failed task is deleted alone; a live task of the same id is left as it is."""
    site.backend.enqueue([Message("live", "job")])
    site.client.xadd(site.keys.failed, {"id": "live", "name": "job", "_reason": "forged"})
    site.client.xadd(site.keys.failed, {"id": "nobody", "name": "job"})
    site.client.xadd(site.keys.failed, {b"\xff": b"\x00" * 5_000})
    (before,) = site.backend.show(["live"])

    dropped = site.backend.drop_failed(NONE, 100)

    assert len(dropped) == 3
    assert site.backend.show(["live"]) == [before]
    assert site.client.xlen(site.keys.failed) == 0
    site.fail_again()
    assert site.failed() == ["live"]


def test_a_key_of_the_wrong_type(site: Site) -> None:
    """The error is a typed one, and nothing is deleted."""
    site.fail("a")
    site.client.delete(site.keys.failed)
    site.client.set(site.keys.failed, "text")

    with pytest.raises(Exception, match="WRONGTYPE") as raised:
        site.backend.drop_failed(NONE, 100)

    assert type(raised.value).__module__ == "pyxqueue.errors"
    site.client.delete(site.keys.failed)


def test_classes_that_are_new_to_the_caller(site: Site, redis_url: str, stream_key: str) -> None:
    """A task of a priority class that another program has just begun to use waits for it: it is doomed all the same."""
    site.fail("warm")
    other = RedisBackend(ConnectionConfig.from_url(redis_url), StoreOptions(stream_key), reclaim_after=0)
    other.enqueue(
        [
            Message("a", "job", flow="x", successors=("w:b",), priority=60, v=2),
            Message("b", "job", flow="x", after=("a",), priority=60, v=2),
        ]
    )
    (held,) = other.claim("w", 1, 0)
    assert other.settle([Settlement(held.receipt, Fail("no"))]) == [True]

    dropped = site.backend.drop_failed(NONE, 100)
    (doomed,) = other.claim("w", 1, 0)
    other.close()

    assert {one.id for one in dropped} == {"warm", "a"}
    assert doomed.message.id == "b"
