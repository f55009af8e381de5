"""Locks on Redis: a holder that was removed by hand, what is left, and what a conflict costs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
import redis

from pyxqueue.backends.redis import RedisBackend
from pyxqueue.model.locks import LockKind, LockTerms, Placed, Placement, lock_text
from pyxqueue.model.message import Done, Message, Record, Settlement, TaskStatus
from pyxqueue.testing.servers import Server

from ..support.redis_counts import calls
from ..support.redis_harness import RedisHarness

PLAIN = LockTerms()
DEBOUNCE = LockTerms(max_wait_ms=60_000)


@pytest.fixture
def harness(redis_server: Server) -> Iterator[RedisHarness]:
    with closing(RedisHarness(redis.Redis.from_url(redis_server.url))) as harness:
        yield harness


@pytest.fixture
def backend(harness: RedisHarness) -> RedisBackend:
    backend = harness.open()
    backend.lease_ms()
    return backend


def locked(task_id: str, kind: LockKind = LockKind.FINISHED, what: bytes = b"one") -> Message:
    return Message(task_id, "job", lock=lock_text(kind, what), delay_ms=60_000 if kind is LockKind.DEBOUNCE else 0)


def keys(harness: RedisHarness) -> Any:
    ((_, found),) = harness.groups()
    return found


@pytest.mark.parametrize("kind", [LockKind.FINISHED, LockKind.STARTED, LockKind.DEBOUNCE])
@pytest.mark.parametrize("what", ["task key", "entry", "both"])
def test_a_holder_that_was_removed_by_hand_does_not_hold_for_ever(
    harness: RedisHarness, backend: RedisBackend, kind: LockKind, what: str
) -> None:
    """The next call finds that nobody gives back the lock, and takes it."""
    backend.enqueue_unique([locked("a", kind)], PLAIN)
    places, raw = keys(harness), harness.raw.execute_command
    stream = places.parked if kind is LockKind.DEBOUNCE else places.new
    ((entry, _),) = raw("XRANGE", stream, "-", "+")
    if what != "entry":
        raw("DEL", places.task("a"))
    if what != "task key":
        raw("XDEL", stream, entry)

    terms = LockTerms(keep_first=kind is LockKind.DEBOUNCE)
    assert backend.enqueue_unique([locked("b", kind), locked("c", kind)], terms) == [
        Placed(Placement.NEW, "b"),
        Placed(Placement.HELD, "b"),
    ]


def test_a_debounced_call_brings_back_a_holder_that_was_removed_by_hand(
    harness: RedisHarness, backend: RedisBackend
) -> None:
    """Under the id of the holder, which is not known any longer, it is a new task."""
    backend.enqueue_unique([locked("a", LockKind.DEBOUNCE)], DEBOUNCE)
    harness.raw.execute_command("DEL", keys(harness).task("a"))

    assert backend.enqueue_unique([locked("b", LockKind.DEBOUNCE)], DEBOUNCE) == [Placed(Placement.HELD, "a")]
    assert backend.enqueue_unique([locked("a", LockKind.DEBOUNCE)], DEBOUNCE) == [Placed(Placement.NEW, "a")]


@pytest.mark.parametrize("note", ["", "x", "a 5 x", "a b c", " ", "a  ", "a -5 0", "\xff 9 9", "9" * 400])
@pytest.mark.parametrize("kind", [LockKind.FINISHED, LockKind.DEBOUNCE])
def test_what_another_program_notes_stops_nothing(
    harness: RedisHarness, backend: RedisBackend, note: str, kind: LockKind
) -> None:
    """A note that cannot be read, or names no task, is no holder."""
    name = lock_text(kind, b"one")[1:]
    harness.raw.execute_command("HSET", keys(harness).notes, f"unique:{name}", note.encode("latin-1"))

    (placed,) = backend.enqueue_unique([locked("t", kind)], LockTerms(keep_first=True))

    assert placed == Placed(Placement.NEW, "t")
    assert backend.cancel(["t"]) == [True]
    assert backend.lock_holders([name]) == [""]


def test_notes_of_another_type_are_replaced(harness: RedisHarness, backend: RedisBackend) -> None:
    """As everywhere, what another program has put at the key of the notes is deleted."""
    harness.raw.execute_command("SET", keys(harness).notes, "x")

    assert backend.enqueue_unique([locked("a"), locked("b")], PLAIN) == [
        Placed(Placement.NEW, "a"),
        Placed(Placement.HELD, "a"),
    ]


def test_nothing_is_left_of_locks(harness: RedisHarness, backend: RedisBackend) -> None:
    """A lock is one note by its name and one by its task, which go with the task; a window is a key that expires."""
    messages = [locked(f"t{number}", what=b"%d" % number) for number in range(3)]
    backend.enqueue_unique(messages, PLAIN)
    raw, places = harness.raw.execute_command, keys(harness)
    assert raw("HLEN", places.notes) == 6
    for delivery in backend.claim("one", 9, 0):
        record = Record(delivery.message.id, TaskStatus.SUCCESS, fence=delivery.fence)
        assert backend.settle([Settlement(delivery.receipt, Done(), record)]) == [True]
    assert raw("HLEN", places.notes) == 0

    window = locked("w", LockKind.WINDOW)
    backend.enqueue_unique([window], LockTerms(window_ms=60_000))
    assert 0 < raw("PTTL", places.window(window.lock[1:])) <= 60_000
    backend.remove_group("cg")
    assert raw("EXISTS", places.window(window.lock[1:]), places.notes) == 0


def test_what_it_costs(backend: RedisBackend, redis_server: Server) -> None:
    """A call that is accepted is one script, one that meets a holder two; a batch needs as many."""
    backend.enqueue_unique([locked("warm", what=b"warm"), locked("warm 2", what=b"warm")], PLAIN)

    with redis.Redis.from_url(redis_server.url) as client:

        def scripts(*messages: Message) -> int:
            before = calls(client)["evalsha"]
            backend.enqueue_unique(messages, PLAIN)
            return calls(client)["evalsha"] - before

        assert scripts(locked("a")) == 1
        assert scripts(locked("b")) == 2
        assert scripts(*(locked(f"t{number}", what=b"%d" % (number // 2)) for number in range(40))) == 2
