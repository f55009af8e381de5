"""What fair lines are on a Redis server beyond the laws: who draws if a process dies, foreign writes, the cost."""

from __future__ import annotations

from typing import Any

import pytest

from pyxqueue.backends.redis import RedisBackend, commands
from pyxqueue.backends.redis.scripts import script
from pyxqueue.model.message import FLOW_VERSION, Done, Message, Record, Settlement, TaskStatus
from tests.support.redis_counts import calls

JUNK = [b"", b"-1", b"1.5", b"9" * 30, b"nan", b"3", b"3 x", b"\xff\x00"]


def key(stream: str, name: str) -> str:
    return f"{{{stream}}}:cg:{name}"


def shared(*ids: str, tenant: str = "a") -> list[Message]:
    return [Message(task_id, "job", share=1_000, tenant=tenant, v=FLOW_VERSION) for task_id in ids]


def claimed(backend: RedisBackend, limit: int = 1) -> list[str]:
    return [one.message.id for one in backend.claim("w", limit, 0)]


def dies_before_it_draws(backend: RedisBackend, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a claim returned whose process died right after it."""
    with monkeypatch.context() as patch:
        patch.setattr(backend._broker.lines, "_draw", lambda _taken: None)
        return claimed(backend)


def test_a_supervisor_draws_what_a_dead_claimer_left(
    backend: RedisBackend, monkeypatch: pytest.MonkeyPatch, client: Any
) -> None:
    """Nothing is drawn and not claimed; the regular look of a supervisor draws the first, whose claimer draws on."""
    backend.enqueue(shared("a", "b", "c", "d"))
    assert dies_before_it_draws(backend, monkeypatch) == ["a"]
    assert claimed(backend) == []
    assert backend.depth().ready == 3

    backend.maintain(256)

    assert [claimed(backend), claimed(backend), claimed(backend), claimed(backend)] == [["b"], ["c"], ["d"], []]


def test_a_call_tells_the_supervisors(
    backend: RedisBackend, monkeypatch: pytest.MonkeyPatch, client: Any, stream_key: str
) -> None:
    """If the line has stalled, the next message that joins it does not wait for the regular look."""
    backend.enqueue(shared("a", "b"))
    dies_before_it_draws(backend, monkeypatch)
    channel = key(stream_key, "delayed")
    with client.pubsub() as listener:
        listener.subscribe(channel)
        listener.get_message(timeout=5)
        backend.enqueue(shared("c"))
        heard = listener.get_message(timeout=5)
    assert heard == {"type": "message", "pattern": None, "channel": channel.encode(), "data": b"0"}
    backend.maintain(256)
    assert claimed(backend) == ["b"]
    assert backend.depth().delayed == 0


def test_a_faster_worker_gets_more_at_once(backend: RedisBackend) -> None:
    """Twice as many are drawn as the last claim has taken, so a slow one leaves the order open."""
    backend.enqueue(shared(*(f"t{number}" for number in range(9))))
    assert claimed(backend) == ["t0"]
    assert claimed(backend, 9) == ["t1", "t2"]
    assert claimed(backend, 9) == ["t3", "t4", "t5", "t6"]
    assert claimed(backend, 9) == ["t7", "t8"]


def test_nothing_is_left_when_the_line_is_empty(backend: RedisBackend, client: Any, stream_key: str) -> None:
    """Neither in the hash of the gates nor in the lines."""
    for tenant in ("a", "", "%C3%A9"):
        backend.enqueue(shared(*(f"{tenant.strip('%')}-{number}" for number in range(5)), tenant=tenant))
    assert client.exists(key(stream_key, "gates"), key(stream_key, "lines")) == 2
    while found := backend.claim("w", 2, 0):
        records = [Record(one.message.id, TaskStatus.SUCCESS, b"null") for one in found]
        backend.settle([
            Settlement(one.receipt, Done(), record) for one, record in zip(found, records, strict=True)
        ])  # fmt: skip
    assert client.exists(key(stream_key, "gates"), key(stream_key, "lines")) == 0


@pytest.mark.parametrize("junk", JUNK)
def test_what_another_program_has_written(backend: RedisBackend, client: Any, stream_key: str, junk: bytes) -> None:
    """Tags, counts and lines that nobody of ours has written keep no task from being claimed."""
    backend.enqueue(shared("a", "b", "c", "d"))
    gates, lines = key(stream_key, "gates"), key(stream_key, "lines")
    for name in ("flow:a:n:a", "drawn:a", "joined:a", "flow:a:n:"):
        client.hset(gates, name, junk)
    for standing in (b"fair:a\0" + junk + b"\0x", b"fair:a\0" + junk, b"fair:z\0" + junk + b"\0b"):
        client.zadd(lines, {standing: 0})
    backend.enqueue(shared("e", "f"))
    found: list[str] = []
    for _ in range(12):
        backend.maintain(256)
        found += claimed(backend, 2)
    assert sorted(found) == ["a", "b", "c", "d", "e", "f"]
    backend.fair_lines().tenants(9)
    backend.depth()


def test_a_wrong_type_at_the_keys(backend: RedisBackend, client: Any, stream_key: str) -> None:
    """It is replaced, and what is ready is claimed all the same."""
    for name in ("gates", "lines"):
        client.set(key(stream_key, name), "x")
    backend.enqueue(shared("a", "b", "c"))
    found = [*claimed(backend), *claimed(backend), *claimed(backend)]
    assert found == ["a", "b", "c"]


def test_what_a_claim_costs(backend: RedisBackend, client: Any) -> None:
    """One script call more while the line is empty, and two while tasks wait; a plain queue has none."""

    def scripts(limit: int) -> int:
        before = calls(client)
        backend.claim("w", limit, 0)
        return (calls(client) - before)["evalsha"]

    backend.enqueue(shared("warm", "up"))
    assert [claimed(backend), claimed(backend)] == [["warm"], ["up"]]
    backend.enqueue([Message("plain2", "job")])
    assert scripts(1) == 0
    backend.enqueue(shared("a"))
    assert scripts(1) == 1
    backend.enqueue(shared("b", "c", "d", "e", "f"))
    assert scripts(1) == 2


def test_two_claimers_draw_each_task_once(backend: RedisBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both have looked at the same heads of the line before one of them draws."""
    backend.enqueue(shared(*(f"t{number}" for number in range(6))))
    registration = backend._registration
    monkeypatch.setattr(backend._broker.lines, "_draw", lambda _taken: None)
    assert claimed(backend) == ["t0"]
    looks = [commands.draws(registration.keys, {"a": 1}) for _ in range(2)]
    found = [
        registration.session.execute("EVAL", script("draws").text, len(one.keys), *one.keys, *one.args) for one in looks
    ]
    assert found[0] == found[1]
    for standing in found:
        registration.do(lambda keys: commands.admit(keys, standing))  # noqa: B023 - runs before the next
    assert [claimed(backend, 9), claimed(backend, 9)] == [["t1", "t2"], []]
    assert backend.depth().ready == 3
