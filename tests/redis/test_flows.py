"""Flows on a Redis server beyond the laws: who promotes if a process dies, what others write, and what is left."""

from __future__ import annotations

from typing import Any

import pytest

from pyxqueue.backends.redis import RedisBackend, commands
from pyxqueue.backends.redis.scripts import script
from pyxqueue.backends.redis.steps import call
from pyxqueue.errors import BrokerError
from pyxqueue.model.flows import many
from pyxqueue.model.message import (
    FLOW_VERSION,
    Done,
    Fail,
    Message,
    Settlement,
    Suspend,
    TaskInfo,
    TaskStatus,
)
from tests.support.settlements import done

DONE = Done()


def flow(count: int = 1) -> list[Message]:
    """A task that waits for some others, and these."""
    ids = [f"a{number}" for number in range(count)]
    first = [Message(one, "job", flow="the-flow", successors=("f:last",), v=FLOW_VERSION) for one in ids]
    return [Message("last", "job", flow="the-flow", after=tuple(ids), v=FLOW_VERSION), *first]


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
        given = (len(command.keys), *command.keys, *command.args)
        assert client.execute_command("EVAL", script("settle").text, *given) == [1, b"\1last"]
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
            assert client.exists(key(stream_key, "delayed")) == 0
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
    assert client.zrange(key(stream_key, "delayed"), 0, -1) == [b":dependents", b"last"]
    assert (backend.depth().dependent, backend.depth().delayed) == (1, 0)

    backend.enqueue(first[1:])

    assert client.zrange(key(stream_key, "delayed"), 0, -1) == [b":dependents"]
    assert (backend.depth().dependent, backend.depth().delayed) == (1, 0)


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


def look(backend: RedisBackend, client: Any, stream_key: str) -> None:
    """Have a supervisor look after what waits, as it does once a minute."""
    assert client.zadd(key(stream_key, "delayed"), {":dependents": 0}, xx=True, ch=True) == 1
    backend.maintain(256)


def shown(backend: RedisBackend, task_id: str) -> TaskInfo:
    (info,) = backend.show([task_id])
    assert info is not None
    return info


def take_out(client: Any, stream: str) -> None:
    """Take the only entry out of a stream by hand."""
    ((entry, _),) = client.xrange(stream)
    assert client.xdel(stream, entry) == 1


@pytest.mark.parametrize("place", ["ready", "delayed", "failed"])
def test_a_predecessor_was_taken_out_by_hand(backend: RedisBackend, client: Any, stream_key: str, place: str) -> None:
    """Its successor does not wait for ever: it fails, as after any other bad end."""
    last, first = flow()
    if place == "delayed":
        first = Message("a0", "job", flow="the-flow", successors=("f:last",), delay_ms=3_600_000, v=FLOW_VERSION)
    elif place == "failed":
        first = Message("a0", "job", flow="the-flow", successors=("w:last",), v=FLOW_VERSION)
    backend.enqueue([last, first])
    if place == "failed":
        backend.settle([Settlement(one.receipt, Fail("broken")) for one in backend.claim("w", 1, 0)])
    look(backend, client, stream_key)
    assert shown(backend, "last").waits_for == 1

    if place == "delayed":
        (entry, _), *_ = [one for one in client.xrange(key(stream_key, "parked")) if one[1][b"id"] == b"a0"]
        client.xdel(key(stream_key, "parked"), entry)
    else:
        take_out(client, stream_key if place == "ready" else key(stream_key, "failed"))
    look(backend, client, stream_key)

    (held,) = backend.claim("w", 9, 0)
    assert isinstance(held.message, Message)
    assert (held.message.id, held.message.doomed) == ("last", "a0")
    assert shown(backend, "a0").status is TaskStatus.FAILURE
    backend.settle([Settlement(held.receipt, Fail("doomed"))])
    backend.delete(["last"])
    assert client.exists(key(stream_key, "dependents"), key(stream_key, "delayed")) == 0


def test_a_message_that_was_taken_out_while_it_was_in_flight(
    backend: RedisBackend, client: Any, stream_key: str
) -> None:
    """The task succeeds; so its successor starts."""
    backend.enqueue(flow())
    (held,) = backend.claim("w", 1, 0)
    take_out(client, stream_key)
    look(backend, client, stream_key)
    assert shown(backend, "last").waits_for == 1

    assert list(backend.settle([done(held.receipt, "a0")])) == [True]
    look(backend, client, stream_key)

    (held,) = backend.claim("w", 9, 0)
    assert isinstance(held.message, Message)
    assert (held.message.id, held.message.doomed) == ("last", "")


def test_a_dependent_task_was_taken_out_by_hand(backend: RedisBackend, client: Any, stream_key: str) -> None:
    """It ends, and what waits for it fails, although nobody has asked for it."""
    names = [("c", ("b",), ()), ("b", ("a",), ("f:c",)), ("a", (), ("f:b",))]
    backend.enqueue(
        [
            Message(one, "job", flow="the-flow", after=after, successors=successors, v=FLOW_VERSION)
            for one, after, successors in names
        ]
    )
    (entry, _), *_ = [one for one in client.xrange(key(stream_key, "parked")) if one[1][b"id"] == b"b"]
    client.xdel(key(stream_key, "parked"), entry)

    look(backend, client, stream_key)

    assert {one.message.id: getattr(one.message, "doomed", None) for one in backend.claim("w", 9, 0)} == {
        "a": "",
        "c": "b",
    }


def test_one_of_many_was_taken_out_by_hand(backend: RedisBackend, client: Any, stream_key: str) -> None:
    """The last task of a chord waits while another one runs, and fails then."""
    count = 300
    backend.enqueue([Message("z", "job", flow="the-flow", after=(many("z", count),), v=FLOW_VERSION)])
    backend.enqueue(
        [Message(f"z.{number}", "job", flow="the-flow", successors=("f:z",), v=FLOW_VERSION) for number in range(count)]
    )
    (entry, _), *_ = [one for one in client.xrange(stream_key) if one[1][b"id"] == b"z.7"]
    client.xdel(stream_key, entry)
    *held, last = backend.claim("w", count, 0)
    backend.settle([done(one.receipt, one.message.id) for one in held])
    look(backend, client, stream_key)
    assert shown(backend, "z").waits_for == 2

    backend.settle([done(last.receipt, last.message.id)])
    look(backend, client, stream_key)

    (info,) = [one.message for one in backend.claim("w", 9, 0)]
    assert isinstance(info, Message)
    assert (info.id, info.doomed) == ("z", "z.7")


def test_a_look_that_was_overtaken_changes_nothing(backend: RedisBackend, client: Any, stream_key: str) -> None:
    """Something has happened to the task between the look and its end."""
    backend.enqueue(flow(2))
    command = commands.give_up(backend._registration.keys, "last", b"1 0 0 0 the-flow", "a0")
    assert backend._session.run(call(command)) is False
    assert shown(backend, "last").waits_for == 2


def test_nothing_is_left_of_a_dependent_task_without_a_message(
    backend: RedisBackend, client: Any, stream_key: str
) -> None:
    """Another program took it out of its stream; then it is deleted."""
    backend.enqueue(flow())
    parked = key(stream_key, "parked")
    ((entry, _),) = client.xrange(parked)
    client.xdel(parked, entry)
    assert backend.depth().dependent == 1

    assert list(backend.delete(["last"])) == [True]

    assert backend.depth().dependent == 0
    assert client.exists(key(stream_key, "dependents"), key(stream_key, "delayed")) == 0


@pytest.mark.parametrize("end", ["show", "delete"])
def test_nothing_is_left_of_a_suspended_task_without_a_message(
    backend: RedisBackend, client: Any, stream_key: str, end: str
) -> None:
    """Another program took it out of its stream; then somebody looks at it, or it is deleted."""
    backend.enqueue([Message("p", "job")])
    (held,) = backend.claim("w", 1, 0)
    assert list(backend.settle([Settlement(held.receipt, Suspend(event="e"))])) == [True]
    take_out(client, key(stream_key, "parked"))
    assert backend.depth().dependent == 1

    if end == "show":
        assert shown(backend, "p").status is TaskStatus.FAILURE
    else:
        assert list(backend.delete(["p"])) == [True]

    assert backend.depth().dependent == 0
    assert client.exists(key(stream_key, "dependents"), key(stream_key, "delayed")) == 0


def gather(backend: RedisBackend, ids: list[str]) -> None:
    """Run a task that starts others and waits for them."""
    children = [Message(one, "job", flow="F", successors=("c:p",), v=FLOW_VERSION) for one in ids]
    backend.enqueue([Message("p", "job")])
    (held,) = backend.claim("w", 1, 0)
    assert list(backend.settle([Settlement(held.receipt, Suspend(flow="F"), then=children)])) == [True]


def take_out_task(client: Any, stream: str, task_id: str) -> None:
    (entry,) = [entry for entry, fields in client.xrange(stream) if fields[b"id"] == task_id.encode()]
    assert client.xdel(stream, entry) == 1


@pytest.mark.parametrize("is_deleted", [False, True])
@pytest.mark.parametrize("count", [3, 300])
def test_children_were_taken_out_by_hand(
    backend: RedisBackend, client: Any, stream_key: str, count: int, is_deleted: bool
) -> None:
    """The task that waits for them comes back when the others have ended, and finds that these have failed."""
    ids = [f"F.{number}" for number in range(5, 5 + count)]
    gather(backend, ids)
    assert client.hgetall(key(stream_key, "dependents")) == {b"+p": b"%d F 5 %d" % (count, 4 + count)}
    lost = [ids[0], ids[-1]]
    for one in lost:
        take_out_task(client, stream_key, one)
    if is_deleted:
        assert list(backend.delete(lost)) == [True, True]
    last, *held = backend.claim("w", count, 0)
    backend.settle([done(one.receipt, one.message.id) for one in held])
    look(backend, client, stream_key)
    assert shown(backend, "p").waits_for == 3

    backend.settle([done(last.receipt, last.message.id)])
    look(backend, client, stream_key)

    assert [one.message.id for one in backend.claim("w", 9, 0)] == ["p"]
    records = [record and record.status for record in backend.wait(lost, 0)]
    assert records == [None if is_deleted else TaskStatus.FAILURE] * 2
    assert client.exists(key(stream_key, "dependents"), key(stream_key, "delayed")) == 0


@pytest.mark.parametrize("other", ["other", "F.x", "G.2", "F.9999999", "F.10000000"])
def test_children_of_other_names_are_not_looked_at(
    backend: RedisBackend, client: Any, stream_key: str, other: str
) -> None:
    """What they are called is not noted, so nobody knows what has become of them."""
    gather(backend, ["F.1", other])
    assert client.hgetall(key(stream_key, "dependents")) == {b"+p": b"2 F"}
    look(backend, client, stream_key)
    assert shown(backend, "p").waits_for == 2


def test_a_suspended_task_was_taken_out_by_hand(backend: RedisBackend, client: Any, stream_key: str) -> None:
    """It ends, although nobody has asked for it."""
    gather(backend, ["F.0"])
    take_out(client, key(stream_key, "parked"))

    look(backend, client, stream_key)

    (record,) = backend.wait(["p"], 0)
    assert record is not None
    assert record.status is TaskStatus.FAILURE
    assert client.exists(key(stream_key, "dependents"), key(stream_key, "delayed")) == 0


def test_what_others_write_of_a_suspended_task_stops_no_look(
    backend: RedisBackend, client: Any, stream_key: str
) -> None:
    """It cannot be read, so the children are not looked at."""
    gather(backend, ["F.0"])
    client.hset(key(stream_key, "dependents"), "+p", b"1 \xff 0 0")
    look(backend, client, stream_key)
    assert shown(backend, "p").waits_for == 1


def test_something_else_among_what_is_delayed(backend: RedisBackend, client: Any, stream_key: str) -> None:
    """A settlement is refused before it has changed anything: the same one starts the successor later."""
    delayed = key(stream_key, "delayed")
    backend.enqueue(flow(2))
    first, second = backend.claim("w", 2, 0)
    backend.settle([done(first.receipt, "a0")])
    client.delete(delayed)
    client.set(delayed, "x")
    before = {one: client.dump(one) for one in client.scan_iter() if stream_key.encode() in one}

    with pytest.raises(BrokerError, match="delayed is a string"):
        backend.settle([done(second.receipt, "a1")])

    assert {one: client.dump(one) for one in client.scan_iter() if stream_key.encode() in one} == before
    client.delete(delayed)
    assert list(backend.settle([done(second.receipt, "a1")])) == [True]
    assert [one.message.id for one in backend.claim("w", 9, 0)] == ["last"]
