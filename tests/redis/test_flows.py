"""Flows on a Redis server beyond the laws: who promotes if a process dies, what others write, and what is left."""

from __future__ import annotations

from typing import Any

import pytest

from pyxqueue.backends.redis import RedisBackend, commands
from pyxqueue.backends.redis.scripts import SCRIPTS
from pyxqueue.model.message import FLOW_VERSION, Done, Message, Record, Settlement, TaskStatus

DONE = Done()


def flow(count: int = 1) -> list[Message]:
    """A task that waits for some others, and these."""
    ids = [f"a{number}" for number in range(count)]
    first = [Message(one, "job", flow="the-flow", successors=("f:last",), v=FLOW_VERSION) for one in ids]
    return [Message("last", "job", flow="the-flow", after=tuple(ids), v=FLOW_VERSION), *first]


def done(receipt: str, task_id: str) -> Settlement:
    return Settlement(receipt, DONE, Record(task_id, TaskStatus.SUCCESS, b"null"))


def key(stream: str, name: str) -> str:
    return f"{{{stream}}}:cg:{name}"


def test_a_supervisor_promotes_what_a_dead_process_left(backend: RedisBackend, client: Any, stream_key: str) -> None:
    """The process dies after its settlement, before it promotes the successor: supervisors are told, `maintain` does
    it."""
    backend.enqueue(flow())
    (held,) = backend.claim("w", 1, 0)
    with client.pubsub() as listener:
        listener.subscribe(key(stream_key, "delayed"))
        listener.get_message(timeout=5)
        command = commands.settle(backend._registration.keys, 10, [done(held.receipt, "a0")])
        script = (len(command.keys), *command.keys, *command.args)
        assert client.execute_command("EVAL", SCRIPTS["settle"].text, *script) == [1, b"\1last"]
        heard = listener.get_message(timeout=5)
    assert heard["data"] == b"0"
    (info,) = backend.show(["last"])
    assert info is not None
    assert (info.waits_for, backend.claim("w", 1, 0)) == (0, [])

    backend.maintain(256)

    assert [one.message.id for one in backend.claim("w", 1, 0)] == ["last"]


def test_nothing_is_left_of_a_flow(backend: RedisBackend, client: Any, stream_key: str) -> None:
    """The hash of what waits is gone with the last successor that ended, was cancelled, or was deleted."""
    for end in ("done", "cancel", "delete"):
        backend.enqueue(flow(3))
        dependents = client.hgetall(key(stream_key, "dependents"))
        assert dependents == {b"last": b"3 0 0 0 the-flow"}
        if end == "done":
            backend.settle([done(one.receipt, one.message.id) for one in backend.claim("w", 9, 0)])
            dependents = client.hgetall(key(stream_key, "dependents"))
            assert dependents == {b"last": b"-0 0 0 0 the-flow", b":started": b"1"}
            assert backend.depth().dependent == 0
            backend.settle([done(one.receipt, one.message.id) for one in backend.claim("w", 9, 0)])
        else:
            getattr(backend, end)(["last"])
        assert client.exists(key(stream_key, "dependents"), key(stream_key, "delayed")) == 0
        backend.settle([done(one.receipt, one.message.id) for one in backend.claim("w", 9, 0)])
        backend.delete(["last", "a0", "a1", "a2"])


def test_a_flow_whose_creator_died_is_due_later(backend: RedisBackend, client: Any, stream_key: str) -> None:
    """As long as not all of it was stored, its last task stands among what is due at some time; then not any more."""
    last, *first = flow(2)
    backend.enqueue([last, first[0]])
    assert client.zcard(key(stream_key, "delayed")) == 1
    assert (backend.depth().dependent, backend.depth().delayed) == (1, 0)

    backend.enqueue(first[1:])

    assert client.exists(key(stream_key, "delayed")) == 0
    assert backend.depth().dependent == 1


@pytest.mark.parametrize("planted", ["string", "nonsense", "other flow"])
def test_what_others_write_stops_nothing(backend: RedisBackend, client: Any, stream_key: str, planted: str) -> None:
    """The end of a task is stored, whatever stands where its successor is noted."""
    backend.enqueue(flow())
    dependents = key(stream_key, "dependents")
    if planted == "string":
        client.delete(dependents)
        client.set(dependents, "x")
    else:
        client.hset(dependents, "last", {"nonsense": "9 x", "other flow": "1 0 0 0 another"}[planted])
    (held,) = backend.claim("w", 1, 0)

    assert list(backend.settle([done(held.receipt, "a0")])) == [True]
    assert list(backend.cancel(["last"])) == [True]
    (info,) = backend.show(["last"])
    assert info is not None
    assert info.status is TaskStatus.CANCELLED


def test_a_successor_of_a_new_class(backend: RedisBackend, client: Any, stream_key: str) -> None:
    """It is made ready in its priority class by a handle that did not know that class."""
    last, first = flow()
    backend.enqueue([last, first])
    (held,) = backend.claim("w", 1, 0)
    backend.delete(["last"])
    other = RedisBackend(backend._session.config, backend.options, reclaim_after=0)
    other.enqueue([Message("last", "job", flow="the-flow", after=("a0",), priority=60, v=FLOW_VERSION)])

    assert list(backend.settle([done(held.receipt, "a0")])) == [True]
    other.maintain(256)

    assert [one.message.id for one in other.claim("w", 1, 0)] == ["last"]
    other.close()
