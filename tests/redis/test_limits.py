"""What limits are on a Redis server beyond the laws: who admits if a process dies, what others write, what it costs."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest

from pyxqueue.backends.redis import ConnectionConfig, RedisBackend, commands, steps
from pyxqueue.backends.redis.scripts import script
from pyxqueue.errors import BrokerError
from pyxqueue.model.locks import LockTerms
from pyxqueue.model.message import (
    FLOW_VERSION,
    Defer,
    Fail,
    Message,
    Retry,
    Settlement,
    TaskStatus,
    Verdict,
)
from pyxqueue.protocols import StoreOptions
from pyxqueue.testing.contract.steps import tokens
from tests.support.redis_counts import calls
from tests.support.settlements import done
from tests.support.until import until

GATE = "api/k"


def gated(*ids: str) -> list[Message]:
    return [Message(task_id, "job", gates=(GATE,), v=FLOW_VERSION) for task_id in ids]


def key(stream: str, name: str) -> str:
    return f"{{{stream}}}:cg:{name}"


def test_a_supervisor_admits_what_a_dead_process_left(backend: RedisBackend, client: Any, stream_key: str) -> None:
    """The process dies after its settlement, before it admits the next: supervisors are told, `maintain` does it."""
    backend.limits().set("api", 1)
    backend.enqueue(gated("a", "b"))
    (held,) = backend.claim("w", 1, 0)
    with client.pubsub() as listener:
        listener.subscribe(key(stream_key, "delayed"))
        listener.get_message(timeout=5)
        registration = backend._registration
        command = commands.settle(registration.keys, 10, [done(held.receipt, "a")])
        given = (len(command.keys), *command.keys, *command.args)
        sent = script("settle").text
        assert client.execute_command("EVAL", sent, *given)[0] == 1
        heard = [listener.get_message(timeout=5) for _ in range(2)]
    assert {"type": "message", "pattern": None, "channel": key(stream_key, "delayed").encode(), "data": b"0"} in heard
    assert tokens(backend.limits()) == {GATE: (0, 1)}
    assert backend.depth().delayed == 0
    assert backend.maintain(256) in {-1, 0}

    assert tokens(backend.limits()) == {GATE: (1, 0)}
    assert backend.maintain(256) == -1
    assert client.exists(key(stream_key, "delayed"), key(stream_key, "turns"), key(stream_key, "lines")) == 0


@pytest.mark.parametrize("name", ["gates", "lines", "turns"])
def test_something_else_at_a_key_of_limits(backend: RedisBackend, client: Any, stream_key: str, name: str) -> None:
    """It is replaced; what is ready or in flight is settled all the same, and what comes later is limited again."""
    backend.limits().set("api", 1)
    backend.enqueue(gated("a"))
    client.delete(key(stream_key, name))
    client.set(key(stream_key, name), "x")
    (held,) = backend.claim("w", 1, 0)

    assert list(backend.settle([done(held.receipt, "a")])) == [True]
    backend.limits().set("api", 1)
    assert list(backend.enqueue(gated("b", "c"))) == [True, True]

    assert [one.message.id for one in backend.claim("w", 5, 0)] == ["b"]


def test_a_line_that_another_program_has_written(backend: RedisBackend, client: Any, stream_key: str) -> None:
    """Who does not wait there is passed over, and nobody waits behind it for ever."""
    backend.limits().set("api", 1)
    backend.enqueue(gated("a", "b"))
    (held,) = backend.claim("w", 1, 0)
    for junk in (f"{GATE}\0\0nobody", f"{GATE}\0" + "0" * 16 + "\0a", f"{GATE}\0\xff"):
        client.zadd(key(stream_key, "lines"), {junk: 0})

    backend.settle([done(held.receipt, "a")])
    backend.maintain(256)

    (next_one,) = backend.claim("w", 5, 0)
    assert next_one.message.id == "b"
    backend.settle([done(next_one.receipt, "b")])
    backend.maintain(256)
    assert client.exists(key(stream_key, "lines")) == 0


def test_a_release_that_does_not_know_limits_gives_back_no_token(
    backend: RedisBackend, client: Any, stream_key: str
) -> None:
    """It defers the message with its fields as they are: it keeps its token, and asks for none when it is due."""
    backend.limits().set("api", 1)
    backend.enqueue(gated("a", "b"))
    (held,) = backend.claim("w", 1, 0)
    entry = held.receipt.partition("|")[0][1:]
    ((_, fields),) = client.xrange(stream_key, entry, entry)
    client.xack(stream_key, "cg", entry)
    client.xdel(stream_key, entry)
    parked = client.xadd(key(stream_key, "parked"), fields)
    client.zadd(key(stream_key, "delayed"), {"a": 1})
    client.set(key(stream_key, "task:a"), b"d" + parked)
    assert tokens(backend.limits()) == {GATE: (1, 1)}
    backend.maintain(256)

    (again,) = backend.claim("w", 5, 0)
    assert again.message.id == "a"
    assert again.message == held.message
    assert tokens(backend.limits()) == {GATE: (1, 1)}
    backend.settle([done(again.receipt, "a")])
    assert [one.message.id for one in backend.claim("w", 5, 0)] == ["b"]


def test_a_hand_written_message_with_gates(backend: RedisBackend, client: Any, stream_key: str) -> None:
    """It has no token at first, gives none back, and asks when it comes back."""
    backend.limits().set("api", 1)
    client.xadd(stream_key, {"name": "job", "id": "x", "gates": GATE, "v": "2"})
    (held,) = backend.claim("w", 1, 0)
    assert tokens(backend.limits()) == {}
    backend.enqueue(gated("a"))

    assert list(backend.settle([Settlement(held.receipt, Retry())])) == [True]

    assert tokens(backend.limits()) == {GATE: (1, 1)}


def test_admission_costs_the_same_however_many_wait(redis_url: str, client: Any, stream_key: str) -> None:
    """The commands of a settlement that admits the next do not grow with the line."""
    config = ConnectionConfig.from_url(redis_url)
    spent = []
    for number, waiting in enumerate((40, 400)):
        with closing(RedisBackend(config, StoreOptions(f"{stream_key}:{number}"))) as backend:
            backend.limits().set("api", 1)
            backend.enqueue(gated(*(f"t{one}" for one in range(waiting))))
            for _ in range(2):  # the first one sends the scripts
                (held,) = backend.claim("w", 1, 0)
                before = calls(client)
                backend.settle([done(held.receipt, held.message.id)])
                after = calls(client)
            spent.append(sum(after[name] - before[name] for name in after if name != "info"))
        for found in client.scan_iter(match=f"*{stream_key}:{number}*"):
            client.delete(found)
    assert spent[0] == spent[1]


@pytest.mark.parametrize("verdict", [Retry(), Defer()])
def test_a_task_without_limits_costs_no_command_more(
    backend: RedisBackend, client: Any, verdict: Retry | Defer
) -> None:
    """Neither at its end nor when it comes back, also where other tasks wait for limits."""

    def spent() -> dict[str, int]:
        before = calls(client)
        backend.enqueue([Message("plain", "job")])
        (held,) = backend.claim("w", 1, 0)
        backend.settle([Settlement(held.receipt, verdict)])
        (held,) = backend.claim("w", 1, 0)
        backend.settle([done(held.receipt, "plain")])
        after = calls(client)
        backend.delete(["plain"])
        return {name: after[name] - before[name] for name in after if after[name] != before[name] and name != "info"}

    spent()
    before = spent()
    backend.limits().set("api", 0)
    backend.enqueue(gated("a", "b"))

    assert spent() == before


def test_a_handle_that_does_not_know_a_class_admits_into_it(
    backend: RedisBackend, client: Any, stream_key: str, redis_url: str
) -> None:
    """It learns of a new class within five seconds; a task that it admits meanwhile is ready in its own class."""
    backend.limits().set("api", 1)
    backend.enqueue(gated("a"))
    (held,) = backend.claim("w", 1, 0)
    with closing(RedisBackend(ConnectionConfig.from_url(redis_url), StoreOptions(stream_key))) as other:
        other.enqueue([Message("b", "job", gates=(GATE,), priority=50, v=FLOW_VERSION)])
        assert backend.settle([done(held.receipt, "a")]) == [True]
        assert client.get(key(stream_key, "task:b")).startswith(b"P")
        (found,) = other.claim("w", 1, 0)
        assert other.settle([done(found.receipt, "b")]) == [True]
    assert tokens(backend.limits()) == {}


LAST = "18446744073709551615-18446744073709551615"
"""The largest id of an entry: a stream that has had it takes no more."""


def test_a_message_that_is_refused_takes_no_token(backend: RedisBackend, client: Any, stream_key: str) -> None:
    backend.limits().set("api", 2)
    client.xadd(stream_key, {"name": "job"}, id=LAST)
    for _ in range(2):
        with pytest.raises(BrokerError):
            backend.enqueue(gated("a"))
    assert tokens(backend.limits()) == {}


@pytest.mark.parametrize(
    ("verdict", "place"),
    [(Fail("broken"), "failed"), (Retry(60_000), "parked"), (Retry(), "again")],
    ids=str,
)
def test_a_settlement_that_redis_refuses_gives_nothing_back(
    backend: RedisBackend, client: Any, stream_key: str, *, verdict: Verdict, place: str
) -> None:
    """The task stays in flight, so it keeps its token and its lock (L3, L7), also if the worker tries again."""
    name = "0" * 32
    backend.limits().set("api", 2)
    backend.enqueue(gated("b"))
    unique = Message("a", "job", gates=(GATE,), lock=f"f{name}", v=FLOW_VERSION)
    backend.enqueue_unique([unique], LockTerms())
    _, held = backend.claim("w", 2, 0)
    stream = key(stream_key, place)
    if client.exists(stream):
        client.rename(stream, f"{stream}:kept")
    client.xadd(stream, {"name": "job"}, id=LAST)
    for _ in range(2):
        with pytest.raises(BrokerError):
            backend.settle([Settlement(held.receipt, verdict)])
        assert tokens(backend.limits()) == {GATE: (2, 0)}
        assert backend.lock_holders([name]) == ["a"]
    assert backend.settle([done(held.receipt, "a")]) == [True]
    assert tokens(backend.limits()) == {GATE: (1, 0)}
    assert backend.lock_holders([name]) == [""]


def test_a_task_that_cannot_be_admitted_stays_in_its_line(backend: RedisBackend, client: Any, stream_key: str) -> None:
    backend.limits().set("api", 0)
    backend.enqueue(gated("a"))
    again = key(stream_key, "again")
    client.rename(again, f"{again}:kept")
    client.xadd(again, {"name": "job"}, id=LAST)
    backend.limits().set("api", 1)
    assert tokens(backend.limits()) == {GATE: (0, 1)}
    client.rename(f"{again}:kept", again)
    backend.maintain(256)
    assert tokens(backend.limits()) == {GATE: (1, 0)}
    (held,) = backend.claim("w", 1, 0)
    assert backend.settle([done(held.receipt, "a")]) == [True]


def test_a_raise_of_which_the_process_dies_admits_all_the_same(
    backend: RedisBackend, client: Any, stream_key: str
) -> None:
    """One call notes the turns of 256 gates. If the process dies before it makes the next, supervisors go on (L4)."""
    limits = backend.limits()
    limits.declare({"api": 0}, replace=True)
    backend.enqueue([Message(f"t{n}", "job", gates=(f"api/{n}",), v=FLOW_VERSION) for n in range(600)])
    backend._registration.do(lambda keys: commands.limit(keys, "default", "api", 1, True))
    for _ in range(3):
        backend.maintain(256)
    assert (backend.depth().blocked, backend.depth().ready) == (0, 600)
    backend.maintain(256)
    assert client.exists(key(stream_key, "turns"), key(stream_key, "lines"), key(stream_key, "delayed")) == 0


def test_an_interrupted_raise_goes_on_at_once(backend: RedisBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process dies after the first request. As long as there is room for tasks that wait, `maintain` returns 0."""
    limits = backend.limits()
    limits.declare({"api": 0}, replace=True)
    backend.enqueue([Message(f"t{n}", "job", gates=(f"api/{n}",), v=FLOW_VERSION) for n in range(1_100)])
    with monkeypatch.context() as dying:
        dying.setattr(commands, "_admission", lambda _: lambda _: None)
        backend._registration.do(lambda keys: commands.limit(keys, "default", "api", 1, True))
    assert backend.depth().blocked == 1_100
    for _ in range(10):
        left = backend.maintain(256)
        assert left == 0 or not backend.depth().blocked
    assert backend.depth().blocked == 0
    assert backend.maintain(256) == backend.maintain(256) == -1


def test_a_blocked_task_whose_message_was_deleted(backend: RedisBackend, client: Any, stream_key: str) -> None:
    """It holds up nobody when it is its turn, ends as a failure, and leaves nothing behind."""
    backend.limits().set("api", 1)
    backend.enqueue(gated("a", "b", "c"))
    parked = key(stream_key, "parked")
    client.xdel(parked, client.xrange(parked)[0][0])
    (held,) = backend.claim("w", 9, 0)

    assert backend.settle([done(held.receipt, "a")]) == [True]

    (held,) = backend.claim("w", 9, 0)
    assert held.message.id == "c"
    assert backend.settle([done(held.receipt, "c")]) == [True]
    (gone,) = backend.show(["b"])
    assert gone is not None
    assert gone.record is not None
    assert gone.record.error is not None
    assert (gone.status, gone.record.error.type) == (TaskStatus.FAILURE, "MessageGone")
    assert (tokens(backend.limits()), backend.depth().blocked) == ({}, 0)


def test_many_that_wait_are_admitted_in_parts(backend: RedisBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever frees them makes a bounded number of calls, and supervisors the next, as soon as they look again."""
    monkeypatch.setattr(steps, "MAX_FOLLOWING", 2)
    backend.limits().set("api", 0)
    backend.enqueue(gated(*(f"t{number}" for number in range(2_000))))

    backend.limits().set("api", None)
    assert backend.depth().ready == 2 * 256
    assert backend.maintain(256) == 0
    assert backend.depth().ready == 2 * 256 + 2 * 256

    until(lambda: backend.maintain(256) == -1, "all are ready")
    assert backend.depth().ready == 2_000


def test_calls_that_follow_do_not_nest(backend: RedisBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many they are, they need no more of the stack than one."""
    monkeypatch.setattr(steps, "MAX_FOLLOWING", 10_000)
    generator = steps.call(commands.admit(backend._registration.keys))
    next(generator)

    for _ in range(10_000):
        generator.send([b"api/k\0000\0t"])
    with pytest.raises(StopIteration) as end:
        generator.send([])

    assert end.value.value == 1
