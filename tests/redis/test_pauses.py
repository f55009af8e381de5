"""A paused group stands at the end of all ids: what looks at its position uses the saved one, and repairs keep it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from redis import Redis

from pyxqueue.backends.redis import ConnectionConfig, RedisBackend, commands
from pyxqueue.backends.redis import claiming as claiming_room
from pyxqueue.backends.redis.keys import GroupKeys
from pyxqueue.backends.redis.reading import LAST_ENTRY
from pyxqueue.errors import BrokerUnavailableError
from pyxqueue.model.limits import task_gate
from pyxqueue.model.message import Message, Retry, Settlement, StartStatus
from pyxqueue.protocols import StoreOptions
from pyxqueue.testing.contract import steps as s
from pyxqueue.testing.servers import Server
from tests.conftest import kinds_to_test

from .test_idle import calls


@pytest.fixture
def backend(redis_url: str, stream_key: str) -> Iterator[RedisBackend]:
    options = StoreOptions(stream_key, lease_ms=60_000)
    with closing(RedisBackend(ConnectionConfig.from_url(redis_url), options, reclaim_after=0)) as backend:
        yield backend


@pytest.fixture
def keys(stream_key: str) -> GroupKeys:
    return GroupKeys.of(stream_key, "cg", stream_key)


def fill(backend: RedisBackend, number: int = 4) -> list[str]:
    """Tasks in both lines; returns their order."""
    backend.enqueue([Message(f"a{one}", "job") for one in range(2 * number)])
    held = backend.claim("one", number, 0)
    backend.settle([Settlement(one.receipt, Retry()) for one in held])
    return [f"a{one + lane * number}" for one in range(number) for lane in (0, 1)]


def positions(client: Any, keys: GroupKeys) -> list[bytes]:
    found = []
    for place in ("n", "a"):
        (row,) = client.execute_command("XINFO", "GROUPS", keys.places[place])
        flat = row if isinstance(row, dict) else dict(zip(row[::2], row[1::2], strict=True))
        found.append(flat[b"last-delivered-id"])
    return found


def test_a_lost_group_is_made_again_paused(backend: RedisBackend, client: Any, keys: GroupKeys) -> None:
    """Another program destroys the groups of both streams; nothing is handed out, and nothing is lost."""
    wanted = fill(backend)
    backend.pause()
    for place in ("n", "a"):
        client.xgroup_destroy(keys.places[place], "cg")
    backend._broker._reclaimer._next_scan = float("inf")  # which would repair it too, seconds later
    assert backend.claim("one", 100, 0) == []
    assert positions(client, keys) == [LAST_ENTRY.encode()] * 2
    assert backend.is_paused()
    assert backend.resume()
    assert s.ids_of(s.take(backend)) == wanted


def test_a_lost_stream_is_made_again_paused(backend: RedisBackend, client: Any, keys: GroupKeys) -> None:
    """What comes after that waits too."""
    fill(backend)
    backend.pause()
    client.delete(keys.again, keys.new)
    backend.maintain(256)
    backend.enqueue([Message("b", "job")])
    assert s.ids_of(s.take(backend)) == []
    assert backend.resume()
    assert s.ids_of(s.take(backend)) == ["b"]


def test_a_group_that_was_moved_is_paused_again(backend: RedisBackend, client: Any, keys: GroupKeys) -> None:
    """`XGROUP SETID` by another program ends a pause until the next look at the leases; what was read then runs."""
    wanted = fill(backend)
    backend.pause()
    client.execute_command("XGROUP", "SETID", keys.new, "cg", "0")
    backend.maintain(256)
    assert positions(client, keys) == [LAST_ENTRY.encode()] * 2
    assert s.ids_of(s.take(backend)) == []
    assert backend.resume()
    assert s.ids_of(s.take(backend)) == wanted


def test_the_search_for_stranded_entries_leaves_what_waits(backend: RedisBackend, client: Any, keys: GroupKeys) -> None:
    """Only what was handed out before the pause and has no holder is made ready: it comes back, the rest keeps its
    place."""
    fill(backend)
    (stranded,) = backend.claim("one", 1, 0)
    backend.pause()
    before = client.xrange(keys.new)
    client.xack(keys.again, "cg", stranded.receipt.split("|")[0][1:])
    for _ in range(3):
        backend.maintain(256)
        assert positions(client, keys) == [LAST_ENTRY.encode()] * 2
    assert client.xrange(keys.new) == before
    backend.resume()
    found = s.ids_of(s.take(backend))
    assert found[:2] == ["a4", "a1"]
    assert sorted(found) == sorted(f"a{number}" for number in range(8))


def test_a_surplus_that_is_put_back_in_a_pause_keeps_its_place(
    backend: RedisBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pause comes between the read and the return of what was read beyond the limit."""
    wanted = fill(backend)
    unread = claiming_room.Lines._unread

    def paused_before(lines: Any, consumer: str, surplus: Any) -> None:
        backend.pause()
        unread(lines, consumer, surplus)

    monkeypatch.setattr(claiming_room.Lines, "_unread", paused_before)
    assert s.ids_of(backend.claim("one", 2, 0)) == wanted[:2]
    monkeypatch.undo()
    backend._broker._reclaimer._next_scan = float("inf")  # which would pause it again
    assert backend.claim("one", 100, 0) == []
    assert backend.depth().ready == len(wanted) - 2
    backend.resume()
    assert s.ids_of(s.take(backend)) == wanted[2:]


def test_a_pause_with_an_old_list_of_groups_is_one_of_the_new_group(backend: RedisBackend, redis_url: str) -> None:
    """The group was removed meanwhile: it is registered again, and paused then."""
    backend.enqueue([Message("a", "job")])
    with closing(RedisBackend(ConnectionConfig.from_url(redis_url), backend.options, reclaim_after=0)) as other:
        other.remove_group("cg")
    assert backend.pause()
    assert backend.is_paused()
    backend.enqueue([Message("b", "job")])
    assert s.ids_of(s.take(backend)) == []
    backend.resume()
    assert s.ids_of(s.take(backend)) == ["b"]


def test_the_maintenance_of_a_paused_group_costs_what_an_idle_one_costs() -> None:
    """Not one command more."""
    options = StoreOptions("idle", lease_ms=60_000)
    with Server(kinds_to_test()[0]) as server, Redis.from_url(server.url, protocol=2) as client:
        backend = RedisBackend(ConnectionConfig.from_url(server.url), options, 0)
        backend.claim("one", 1, 1)
        spent = []
        for paused in (False, True):
            if paused:
                backend.pause()
                backend.enqueue([Message("a", "job"), Message("b", "job")])
            backend.maintain(256)
            before = calls(client)
            backend.maintain(256)
            backend.claim("one", 1, 1)
            after = calls(client)
            spent.append({name: number - before.get(name, 0) for name, number in after.items()})
        changed = [{name: number for name, number in one.items() if number} for one in spent]
        assert changed[1] == changed[0]
        backend.close()


def test_what_waits_is_not_taken_for_stranded(backend: RedisBackend, client: Any, keys: GroupKeys) -> None:
    """A look that began before the pause names an entry that waits: it was not handed out, and stays where it is."""
    backend.enqueue([Message("a", "job")])
    ((entry, _),) = client.xrange(keys.new)
    backend.pause()
    waiting = commands.Orphan("n", entry.decode(), "a", "", "", "expired")
    found = backend._registration.do(lambda keys: commands.restore(keys, "cg", 100, 0, [waiting]))
    assert found == 0
    assert client.xlen(keys.again) == 0


def test_every_class_of_priority_has_a_saved_position(backend: RedisBackend) -> None:
    """Also one that was first used in the pause; what waits in it is not looked at as if it were stranded."""
    backend.enqueue([Message("high", "job", priority=60), Message("low", "job", priority=-60)])
    backend.pause()
    backend.enqueue([Message("new", "job", priority=20)])
    backend.maintain(256)
    registration = backend._registration
    assert registration.paused_at is not None
    assert set(registration.paused_at) >= {"n", "a"}
    assert {one.upper() == one for one in registration.paused_at} == {True, False}
    assert len(registration.paused_at) == 2 + 2 * 3
    assert s.ids_of(s.take(backend)) == []
    backend.resume()
    assert s.ids_of(s.take(backend)) == ["high", "new", "low"]


GATE = task_gate("shop.render")


def named(task_id: str) -> Message:
    return Message(task_id, "shop.render")


def held(backend: RedisBackend, *ids: str) -> None:
    """Have tasks wait for their name."""
    backend.limits().pause(GATE)
    backend.enqueue([named(task_id) for task_id in ids])
    receipts = [one.receipt for one in s.take(backend)]
    assert set(backend.begin(receipts)) == {StartStatus.LATER}


def test_a_read_that_has_waited_is_followed_by_a_look_at_the_pauses(redis_url: str, stream_key: str) -> None:
    """So that what it returns long after the last look does not start in a pause; else no command is spent on that."""
    options = StoreOptions(stream_key, lease_ms=60_000)
    with closing(RedisBackend(ConnectionConfig.from_url(redis_url), options)) as backend:
        names = backend._broker.lines.registration.names
        backend.enqueue([named("a"), named("b"), named("c")])
        seen = [one.must_begin for one in backend.claim("one", 1, 0)]
        with closing(RedisBackend(ConnectionConfig.from_url(redis_url), options)) as other:
            other.limits().pause(GATE)
        seen += [one.must_begin for one in backend.claim("one", 1, 0)]  # it has read the leases a moment ago
        names.known_until = 0.0
        seen += [one.must_begin for one in backend.claim("one", 1, 0)]
        assert seen == [False, False, True]
        assert names.known_until > 0.0


def test_where_the_pauses_cannot_be_read_each_start_is_asked_about(
    backend: RedisBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The messages are handed out all the same."""
    backend.enqueue([named("a")])
    backend.lease_ms()
    names = backend._broker.lines.registration.names
    execute = names._session.execute

    def failing(*args: Any) -> Any:
        if args[0] == "HEXISTS":
            raise BrokerUnavailableError("no reply")
        return execute(*args)

    monkeypatch.setattr(backend._broker._reclaimer, "reclaim", lambda: None)
    monkeypatch.setattr(names._session, "execute", failing)
    names.known_until = 0.0
    assert [one.must_begin for one in backend.claim("one", 1, 0)] == [True]


def test_nothing_is_left_of_a_pause_of_a_name(backend: RedisBackend, client: Any, keys: GroupKeys) -> None:
    """Neither in the meta hash nor in the lines; an entry that goes on has no tokens, and its history no gate."""
    held(backend, "a", "b")
    assert client.hget(keys.meta, "paused_tasks:cg") == b"shop.render"
    backend.limits().pause(task_gate("other"))
    assert client.hget(keys.meta, "paused_tasks:cg") == b"shop.render other"
    backend.limits().resume(task_gate("other"))
    assert backend.limits().resume(GATE)
    assert not client.hexists(keys.meta, "paused_tasks:cg")
    assert not client.exists(keys.lines, keys.turns)
    found = s.take(backend)
    assert s.ids_of(found) == ["a", "b"]
    for _, fields in client.xrange(keys.again):
        assert b"_order" in fields
        assert {b"_tokens", b"_gate"}.isdisjoint(fields)
    assert set(backend.settle([s.done(one) for one in found])) == {True}
    backend.requeue(["a"])
    ((_, fields),) = client.xrange(keys.again)
    assert b"_order" not in fields
    assert client.hgetall(keys.gates) == {b"order": b"2"}


def test_a_pause_that_only_one_key_tells_of_can_be_ended(backend: RedisBackend, client: Any, keys: GroupKeys) -> None:
    """Another program has deleted the other one: a pause and a resume set both right."""
    held(backend, "a")
    client.delete(keys.gates)
    assert not backend.limits().resume(GATE)
    assert not client.hexists(keys.meta, "paused_tasks:cg")
    assert s.ids_of(s.take(backend)) == ["a"]
    backend.limits().pause(GATE)
    client.hdel(keys.meta, "paused_tasks:cg")
    assert not backend.limits().pause(GATE)
    assert client.hget(keys.meta, "paused_tasks:cg") == b"shop.render"


def test_who_admits_late_finds_the_name_paused_again(backend: RedisBackend, client: Any, keys: GroupKeys) -> None:
    """It was told of a task in the line when the name was not paused; the task stays in the line."""
    held(backend, "a")
    standing = client.zrange(keys.lines, 0, -1)
    backend._registration.do(lambda keys: commands.admit(keys, standing))
    assert s.ids_of(s.take(backend)) == []
    assert client.zrange(keys.lines, 0, -1) == standing
    assert backend.limits().resume(GATE)
    assert s.ids_of(s.take(backend)) == ["a"]
