"""The two streams of what is ready: what a claim reads beyond its limit goes back, and fencing tokens grow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest

from pyxqueue.backends.redis import ConnectionConfig, RedisBackend
from pyxqueue.backends.redis.claiming import Reader
from pyxqueue.backends.redis.keys import live_of
from pyxqueue.backends.redis.scripts import script
from pyxqueue.backends.redis.session import Session
from pyxqueue.model import wire
from pyxqueue.model.message import Delivery, Done, Extension, LeaseStatus, Message, Progress, Retry, Settlement
from pyxqueue.protocols import StoreOptions
from tests.support.redis_counts import calls
from tests.support.until import until


def fill(backend: RedisBackend, came_back: int, new: int) -> None:
    """Messages `a0`… that came back, and `n0`… that are new."""
    backend.enqueue([Message(f"a{number}", "job") for number in range(came_back)])
    held = backend.claim("filler", came_back, 0) if came_back else []
    backend.settle([Settlement(one.receipt, Retry()) for one in held])
    backend.enqueue([Message(f"n{number}", "job") for number in range(new)])


def is_uncharged(one: Delivery) -> bool:
    return isinstance(one.message, Message) and one.message.crashes == 0 and not one.message.redelivered


def ids(found: list[Delivery]) -> list[str]:
    return [one.message.id for one in found]


def interleave(monkeypatch: pytest.MonkeyPatch, action: Callable[[], object]) -> None:
    """Run `action` once, right after the next read of a claim."""
    execute = Reader.execute

    def execute_and_act(reader: Reader, *args: Any) -> Any:
        reply = execute(reader, *args)
        monkeypatch.undo()
        action()
        return reply

    monkeypatch.setattr(Reader, "execute", execute_and_act)


@pytest.fixture
def second(redis_url: str, stream_key: str) -> Any:
    """Another handle of the same group, which has claimed nothing yet."""
    with closing(RedisBackend(ConnectionConfig.from_url(redis_url), StoreOptions(stream_key))) as backend:
        backend.lease_ms()
        yield backend


def test_what_is_read_beyond_the_limit_keeps_its_place(backend: RedisBackend, second: RedisBackend) -> None:
    """The same entry is handed out later, with its bytes and counters as they were."""
    fill(backend, 5, 5)

    first = second.claim("w", 4, 0)
    assert ids(list(first)) == ["a0", "n0", "a1", "n1"]
    assert second.depth().in_flight == 4
    assert {one.name: one.in_flight for one in second.consumers()}["w"] == ("a0", "a1", "n0", "n1")

    rest = backend.claim("other", 10, 0)
    assert ids(list(rest)) == ["a2", "n2", "a3", "n3", "a4", "n4"]
    assert all(is_uncharged(one) for one in rest)
    assert backend.settle([Settlement(one.receipt, Done()) for one in (*first, *rest)]) == [True] * 10


def test_what_cannot_keep_its_place_comes_back(
    backend: RedisBackend, second: RedisBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another consumer reads on before it is given back: nothing is lost, charged, or handed out twice."""
    fill(backend, 3, 6)
    others = list[Delivery]()

    interleave(monkeypatch, lambda: others.extend(backend.claim("other", 1, 0)))
    mine = second.claim("w", 4, 0)

    assert ids(list(mine)) == ["a0", "n0", "a1", "n1"]
    assert ids(others) == ["n4"]
    rest = second.claim("w", 10, 0)
    assert sorted(ids(list(rest))) == ["a2", "n2", "n3", "n5"]
    assert all(is_uncharged(one) for one in rest)
    assert backend.settle([Settlement(one.receipt, Done()) for one in (*mine, *others, *rest)]) == [True] * 9


def test_another_consumer_reads_on_between_two_reads(
    backend: RedisBackend, second: RedisBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it got stays its own, although the second read has a surplus behind that."""
    fill(backend, 7, 0)
    mine, others = [*second.claim("w", 1, 0)], list[Delivery]()

    def read_on() -> None:
        others.extend(backend.claim("other", 2, 0))
        backend.enqueue([Message("n0", "job"), Message("n1", "job")])

    interleave(monkeypatch, read_on)
    mine += second.claim("w", 4, 0)
    rest = backend.claim("third", 9, 0)

    assert (ids(mine), ids(others), ids(list(rest))) == (["a0", "n0", "a1", "n1", "a2"], ["a3", "a4"], ["a5", "a6"])
    assert all(is_uncharged(one) for one in rest)
    assert backend.settle([Settlement(one.receipt, Done()) for one in (*mine, *others, *rest)]) == [True] * 9


def test_a_repeat_takes_nothing_from_another_consumer(
    backend: RedisBackend, second: RedisBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read beyond the limit is given back, the reply is lost, another consumer claims it, and the command is
    sent again."""
    fill(backend, 2, 4)
    execute, unread, others = Session.execute, script("unread"), list[Delivery]()

    def execute_twice(session: Session, *args: Any, **options: Any) -> Any:
        reply = execute(session, *args, **options)
        if not {unread.sha, unread.text} & set(args[:2]):
            return reply
        monkeypatch.undo()
        others.extend(backend.claim("other", 9, 0))
        return execute(session, *args, **options)

    monkeypatch.setattr(Session, "execute", execute_twice)
    mine = second.claim("w", 2, 0)

    assert (ids(list(mine)), ids(others)) == (["a0", "n0"], ["a1", "n1", "n2", "n3"])
    assert backend.claim("third", 9, 0) == []
    assert backend.settle([Settlement(one.receipt, Done()) for one in (*mine, *others)]) == [True] * 6


def test_what_was_given_back_is_not_mistaken_for_lost(
    backend: RedisBackend, second: RedisBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scan for entries without a holder has begun when they had one: they keep their place and their counters."""
    fill(backend, 2, 4)
    registration, handed_out = backend._registration, dict[str, tuple[str, int]]()
    live = live_of(registration.keys.classes)

    interleave(monkeypatch, lambda: handed_out.update({place: registration.handed_out(place) for place in live}))
    second.claim("w", 2, 0)
    monkeypatch.setattr(registration, "handed_out", handed_out.__getitem__)
    backend.maintain(10)
    monkeypatch.undo()

    rest = backend.claim("other", 9, 0)
    assert ids(list(rest)) == ["a1", "n1", "n2", "n3"]
    assert all(is_uncharged(one) for one in rest)


def wait_for(pool: ThreadPoolExecutor, backend: RedisBackend, client: Any) -> Future[Sequence[Delivery]]:
    """A claim in another thread that waits for its first message."""
    waiting = pool.submit(backend.claim, "other", 4, 60_000)
    until(lambda: client.info("clients")["blocked_clients"] > 0, "the other consumer waits")
    return waiting


def test_what_is_given_back_ends_a_wait(
    backend: RedisBackend, second: RedisBackend, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A consumer that began to wait while another had the surplus gets it in that wait."""
    fill(backend, 2, 1)
    with ThreadPoolExecutor(1) as pool:
        waiting = list[Future[Sequence[Delivery]]]()
        interleave(monkeypatch, lambda: waiting.append(wait_for(pool, backend, client)))
        mine = second.claim("w", 2, 0)
        others = waiting[0].result()

    assert (ids(list(mine)), ids(list(others))) == (["a0", "n0"], ["a1"])


def test_what_comes_back_ends_a_wait(backend: RedisBackend, second: RedisBackend, client: Any) -> None:
    """Redis 6.2 and 7.0 end the wait with the entry from which it takes its id, which is gone by then."""
    backend.enqueue([Message("one", "job")])
    (held,) = second.claim("w", 1, 0)
    with ThreadPoolExecutor(1) as pool:
        waiting = wait_for(pool, backend, client)
        second.settle([Settlement(held.receipt, Retry())])
        assert ids(list(waiting.result())) == ["one"]


def test_more_is_given_back_than_lua_can_pass_on_at_once(backend: RedisBackend, second: RedisBackend) -> None:
    """The limit of a claim may be as large as that."""
    many = 16_400
    fill(backend, many, many)

    assert len(second.claim("w", many, 0)) == many

    assert ids(list(backend.claim("other", 2, 0))) == [f"a{many // 2}", f"n{many // 2}"]
    assert second.depth().in_flight == many + 2


def test_a_line_in_which_nothing_waits_costs_nothing(backend: RedisBackend, client: Any) -> None:
    """A claim reads both with one command, and needs no script."""
    fill(backend, 2, 8)
    backend.settle([Settlement(one.receipt, Done()) for one in backend.claim("w", 4, 0)])
    backend.settle([Settlement(one.receipt, Done()) for one in backend.claim("w", 1, 0)])
    before = calls(client)

    assert len(backend.claim("w", 4, 0)) == 4

    spent = calls(client) - before
    assert (spent["xreadgroup"], spent["evalsha"]) == (1, 0)


@pytest.mark.parametrize("delay", [0, 1])
def test_fencing_tokens_grow_across_both_streams(
    backend: RedisBackend, stream_key: str, client: Any, delay: int
) -> None:
    """Also if the server's clock was ahead when the message was new, and after a deletion."""
    ahead = 2_000_000_000_000
    client.xadd(stream_key, {"name": "job", "id": "early"}, id=f"{ahead}-5")
    backend.settle([Settlement(one.receipt, Done()) for one in backend.claim("w", 1, 0)])
    backend.enqueue([Message("one", "job")])
    (new,) = backend.claim("w", 1, 0)
    assert new.fence > ahead << 64
    fences = [new.fence]

    held = new
    for _ in range(2):
        backend.settle([Settlement(held.receipt, Retry(delay))])
        while not (found := backend.claim("w", 1, 0)):
            backend.maintain(10)
        (held,) = found
        fences.append(held.fence)
    backend.settle([Settlement(held.receipt, Done())])
    backend.delete(["one"])
    backend.enqueue([Message("one", "job")])
    fences.append(backend.claim("w", 1, 0)[0].fence)

    assert fences == sorted(set(fences))


def test_an_entry_that_is_ahead_in_the_stream_of_what_comes_back(
    backend: RedisBackend, stream_key: str, client: Any
) -> None:
    """Another program has added it: what comes back follows it."""
    client.xadd(f"{{{stream_key}}}:cg:again", {"name": "job", "id": "planted"}, id="3000000000000-0")
    fill(backend, 1, 0)
    found = backend.claim("w", 5, 0)

    assert sorted(ids(list(found))) == ["a0", "planted"]
    assert backend.settle([Settlement(one.receipt, Done()) for one in found]) == [True, True]


WAYS: dict[str, Callable[[RedisBackend, Any], object]] = {
    "retry": lambda backend, held: backend.settle([Settlement(held.receipt, Retry())]),
    "release": lambda backend, held: backend.release("w", [held.receipt]),
}


@pytest.mark.parametrize("way", WAYS)
def test_the_stream_of_new_messages_keeps_nothing_of_what_comes_back(
    backend: RedisBackend, stream_key: str, client: Any, way: str
) -> None:
    """The entry from which it takes its id is gone at once, and no worker gets it."""
    backend.enqueue([Message("one", "job")])
    for _ in range(3):
        (held,) = backend.claim("w", 5, 0)
        WAYS[way](backend, held)
        assert client.xlen(stream_key) == 0
        assert client.xlen(f"{{{stream_key}}}:cg:again") == 1


def test_two_long_lines_are_read_without_a_surplus(backend: RedisBackend, second: RedisBackend, client: Any) -> None:
    """After the first claim it asks each for its share; where one gives less, the other fills the places."""
    fill(backend, 6, 12)
    assert len(second.claim("w", 4, 0)) == 4
    before = calls(client)
    assert ids(list(second.claim("w", 4, 0))) == ["a2", "n2", "a3", "n3"]
    assert (calls(client) - before)["evalsha"] == 0
    assert ids(list(second.claim("w", 6, 0))) == ["a4", "n4", "a5", "n5", "n6", "n7"]
    assert ids(list(second.claim("w", 6, 0))) == ["n8", "n9", "n10", "n11"]


def test_notes_of_an_earlier_life_do_not_count(backend: RedisBackend, stream_key: str, client: Any) -> None:
    """Another program has deleted the task's key, and the id is used again."""
    backend.enqueue([Message("one", "job")])
    (held,) = backend.claim("w", 1, 0)
    backend.extend([Extension(held.receipt, Progress(1))])
    backend.cancel(["one"])
    client.delete(f"{{{stream_key}}}:cg:task:one")
    backend.release("w", [])
    (held,) = backend.claim("w", 1, 0)

    assert backend.wait(["one"], 1) == [None]
    assert backend.extend([Extension(held.receipt)]) == [LeaseStatus.HELD]
    info = backend.show(["one"])[0]
    assert info is not None
    assert info.progress is None


def test_a_first_run_is_read_the_short_way(
    redis_url: str, stream_key: str, backend: RedisBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one group or two, and as a follow-up."""
    monkeypatch.setattr(wire, "_any_message", None)
    backend.enqueue([Message("a", "job")])
    (one,) = backend.claim("w", 1, 0)
    backend.settle([Settlement(one.receipt, Done(), then=[Message("b", "job")])])
    with closing(RedisBackend(ConnectionConfig.from_url(redis_url), StoreOptions(stream_key, "second"))) as other:
        other.lease_ms()
        backend.enqueue([Message("c", "job")])
        assert ids(list(backend.claim("w", 5, 0))) == ["b", "c"]
        assert ids(list(other.claim("w", 5, 0))) == ["c"]


def test_depth_is_of_one_moment(backend: RedisBackend, second: RedisBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks end and come back between any two of its commands."""
    fill(backend, 0, 20)
    held = list(second.claim("w", 20, 0))
    execute = backend._session.execute

    def execute_among_others(*args: Any, **options: Any) -> Any:
        verdicts = (Done(), Retry())
        second.settle([Settlement(held.pop().receipt, verdict) for verdict in verdicts])
        return execute(*args, **options)

    monkeypatch.setattr(backend._session, "execute", execute_among_others)
    depth = backend.depth()

    assert (depth.ready + depth.in_flight + depth.history, depth.ready) == (20, depth.history)
