"""Keys and fields that another program has put in place of ours: nothing accepted is lost, and no call hangs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing, suppress
from typing import Any, TypeAlias

import pytest

from pyxqueue import TaskQueue
from pyxqueue.backends.redis import ConnectionConfig, RedisBackend
from pyxqueue.backends.redis.commands import delivery as delivery_of
from pyxqueue.backends.redis.reading import pairs
from pyxqueue.errors import BrokerError, SerializationError
from pyxqueue.model.message import (
    FLOW_VERSION,
    Defer,
    Delivery,
    Done,
    Extension,
    Fail,
    LeaseStatus,
    Message,
    Progress,
    Record,
    Retry,
    Settlement,
    Suspend,
    TaskStatus,
    Unreadable,
    Verdict,
)
from pyxqueue.model.steps import EventStatus
from pyxqueue.protocols import DEFAULT_LEASE_MS, StoreOptions
from pyxqueue.testing import drain
from pyxqueue.testing.contract.steps import tokens
from tests.support.settlements import done
from tests.support.until import until

LAST = "18446744073709551615"
"""The largest number in an entry's id."""


Plant: TypeAlias = Callable[[Any, str], object]


def plant_text(client: Any, key: str) -> None:
    client.set(key, "x")


def plant_hash(client: Any, key: str) -> None:
    client.delete(key)
    client.hset(key, mapping={"at": "live", "e": "1-1", "state": "5"})


PLANTS = pytest.mark.parametrize("plant", [plant_text, plant_hash])


def lend(backend: RedisBackend, task_id: str = "one") -> Delivery:
    backend.enqueue([Message(task_id, "job")])
    (delivery,) = backend.claim("w", 5, 0)
    return delivery


@pytest.mark.parametrize(
    "text",
    ["-3:", "-3:abc", "0x10:a", "1e9:a", "5:abc", "99999999999:a", "3", ":", "1:a", "a:1", "1:a2:b", " 1:a1:b"],
)
def test_a_wrong_length_makes_an_unreadable_message(redis_url: str, stream_key: str, client: Any, text: str) -> None:
    """The server goes on, the entry is kept as it is, and the next message runs."""
    queue = TaskQueue(redis_url, stream_key=stream_key)
    queue.task(name="job")(lambda: "done")
    client.xadd(stream_key, {"packed": text})
    good = client.xadd(stream_key, {"name": "job", "body": "[[],{}]"}).decode()

    with closing(queue):
        drain(queue)

        assert queue.result(good).get(5) == "done"
        (failed,), _ = queue.stores.backend.tasks(TaskStatus.FAILURE)
        assert isinstance(failed.message, Unreadable)
        assert failed.message.fields[b"packed"] == text.encode()


def test_too_many_packed_values_are_not_unpacked() -> None:
    """A field of empty values would take more memory than it has bytes."""
    assert list(pairs([b"packed", b"0:" * 200_000])) == [b""]
    assert list(pairs([b"packed", b"0:" * 200_002])) == [b"packed"]


def test_any_id_of_an_entry_has_a_fencing_token(redis_url: str, stream_key: str, client: Any) -> None:
    """Also the largest that Redis allows: a worker claims, runs and settles it."""
    queue = TaskQueue(redis_url, stream_key=stream_key)
    queue.task(name="job")(lambda: "done")
    entry = f"{int(LAST) - 1}-{LAST}"
    with closing(queue):
        queue.stores.backend.lease_ms()
        client.xadd(stream_key, {"name": "job", "body": "[[],{}]"}, id="18446744073710-0")
        client.xadd(stream_key, {"name": "job", "body": "[[],{}]"}, id=entry)

        drain(queue)

        assert queue.result("18446744073710-0").get(5) == "done"
        assert queue.result(entry).get(5) == "done"


def test_fencing_tokens_grow_as_entries_do() -> None:
    """Both numbers of the id count."""
    ids = ["1-0", "1-1", "1-1000001", f"1-{LAST}", "2-0", f"{LAST}-0", f"{LAST}-{LAST}"]

    fences = [delivery_of("n", entry.encode(), [b"name", b"job"], "w", 0).fence for entry in ids]

    assert fences == sorted(set(fences))
    assert fences[-1] < 2**128


@pytest.mark.parametrize("verdict", [Done(), Retry(), Retry(60_000), Defer(), Fail("broken")], ids=str)
@PLANTS
def test_a_planted_task_key_loses_no_message(
    backend: RedisBackend, stream_key: str, client: Any, verdict: Verdict, plant: Plant
) -> None:
    """Something else in place of the task's value: the settlement takes effect as usual."""
    delivery = lend(backend)
    plant(client, f"{{{stream_key}}}:cg:task:one")

    assert backend.extend([Extension(delivery.receipt, Progress(1))]) == [LeaseStatus.HELD]
    plant(client, f"{{{stream_key}}}:cg:task:one")
    assert backend.settle([Settlement(delivery.receipt, verdict)]) == [True]

    (info,) = backend.show(["one"])
    assert info is not None
    assert isinstance(info.message, Message)
    assert info.message.name == "job"


@PLANTS
def test_a_planted_task_key_stops_no_administration(
    backend: RedisBackend, stream_key: str, client: Any, plant: Plant
) -> None:
    """It is not a task; the other tasks of the call are dealt with."""
    backend.enqueue([Message(name, "job") for name in ("one", "two")])
    key = f"{{{stream_key}}}:cg:task:zz"
    plant(client, key)

    assert [info and info.id for info in backend.show(["zz", "one"])] == [None, "one"]
    assert backend.wait(["zz", "one"], 0) == [None, None]
    plant(client, key)
    assert list(backend.cancel(["zz", "one"])) == [False, True]
    plant(client, key)
    assert list(backend.requeue(["zz", "one"])) == [False, True]
    plant(client, key)
    assert list(backend.delete(["zz", "two"])) == [False, True]
    plant(client, key)
    backend.forget(["zz"])


@PLANTS
def test_planted_notes_stop_no_call(backend: RedisBackend, stream_key: str, client: Any, plant: Plant) -> None:
    """What is not a hash is replaced; requests to cancel and progress that come afterwards are kept."""
    notes = f"{{{stream_key}}}:cg:notes"
    held = lend(backend)
    backend.extend([Extension(held.receipt, Progress(1))])
    plant(client, notes)

    assert backend.wait(["one"], 1) == [None]
    plant(client, notes)
    assert backend.show(["one"])[0] is not None
    plant(client, notes)
    assert backend.extend([Extension(held.receipt, Progress(2))]) == [LeaseStatus.HELD]
    plant(client, notes)
    assert list(backend.cancel(["one"])) == [True]
    assert backend.extend([Extension(held.receipt, Progress(3))]) == [LeaseStatus.CANCEL]
    info = backend.show(["one"])[0]
    assert info is not None
    assert info.progress == Progress(3)
    plant(client, notes)
    assert backend.settle([Settlement(held.receipt, Done())]) == [True]


@pytest.mark.parametrize(
    ("verdict", "place"),
    [
        (Fail("broken"), "failed"),
        (Retry(60_000), "parked"),
        (Retry(60_000), "delayed"),
        (Retry(), "again"),
        (Defer(), "again"),
    ],
    ids=str,
)
def test_a_planted_stream_loses_no_message(
    backend: RedisBackend, stream_key: str, client: Any, verdict: Verdict, place: str
) -> None:
    """The script stops before its first write and names the key; without that key it goes on."""
    delivery = lend(backend)
    client.set(f"{{{stream_key}}}:cg:{place}", "x")

    with pytest.raises(BrokerError, match=f":cg:{place} is a string, put there by another program"):
        backend.settle([Settlement(delivery.receipt, verdict)])
    client.delete(f"{{{stream_key}}}:cg:{place}")
    assert backend.settle([Settlement(delivery.receipt, verdict)]) == [True]


@pytest.mark.parametrize(
    ("verdict", "place"),
    [
        (Fail("broken"), "{%s}:cg:failed"),
        (Retry(60_000), "{%s}:cg:parked"),
        (Retry(), "%s"),
        (Defer(), "%s"),
        (Retry(), "{%s}:cg:again"),
        (Defer(), "{%s}:cg:again"),
    ],
    ids=str,
)
def test_a_stream_without_ids_loses_no_message(
    backend: RedisBackend, stream_key: str, client: Any, verdict: Verdict, place: str
) -> None:
    """After an entry with the largest id Redis accepts no other: what cannot be moved stays in flight."""
    delivery = lend(backend)
    client.xadd(place % stream_key, {"name": "job"}, id=f"{LAST}-{LAST}")

    with pytest.raises(BrokerError, match="ID"):
        backend.settle([Settlement(delivery.receipt, verdict)])

    (info,) = backend.show(["one"])
    assert info is not None
    assert info.worker == "w"
    assert isinstance(info.message, Message)
    assert backend.extend([Extension(delivery.receipt)]) == [LeaseStatus.HELD]


def test_nothing_is_restored_into_a_stream_without_ids(backend: RedisBackend, stream_key: str, client: Any) -> None:
    """Each message stays where it was."""
    lend(backend)
    backend.enqueue([Message("waiting", "job"), Message("delayed", "job", delay_ms=60_000)])
    client.xadd(stream_key, {"name": "job"}, id=f"{LAST}-{LAST}")

    with pytest.raises(BrokerError, match="ID"):
        backend.release("w", [])

    found = backend.show(["one", "waiting", "delayed"])
    assert [info and (info.status, isinstance(info.message, Message)) for info in found] == [
        (TaskStatus.STARTED, True),
        (TaskStatus.PENDING, True),
        (TaskStatus.PENDING, True),
    ]
    assert client.zrange(f"{{{stream_key}}}:cg:delayed", 0, -1) == [b"delayed"]


@pytest.mark.parametrize("kind", ["used up", "a string"])
def test_a_history_that_takes_nothing_lets_tasks_end(
    backend: RedisBackend, stream_key: str, client: Any, kind: str
) -> None:
    """Otherwise they would run again after each lease; only their messages are not kept."""
    delivery = lend(backend)
    backend.enqueue([Message("waiting", "job"), Message("delayed", "job", delay_ms=60_000)])
    history = f"{{{stream_key}}}:cg:history"
    if kind == "used up":
        client.xadd(history, {"name": "job"}, id=f"{LAST}-{LAST}")
    else:
        client.set(history, "x")
    record = Record("one", TaskStatus.SUCCESS, b"1")

    assert backend.settle([Settlement(delivery.receipt, Done(), record)]) == [True]
    assert list(backend.cancel(["waiting", "delayed"])) == [True, True]

    found = backend.show(["one", "waiting", "delayed"])
    ends = [TaskStatus.SUCCESS, TaskStatus.CANCELLED, TaskStatus.CANCELLED]
    assert [info and info.status for info in found] == ends
    assert client.xlen(stream_key) == 0
    client.delete(history)


def test_a_message_goes_into_all_groups_or_none(
    redis_url: str, stream_key: str, client: Any, backend: RedisBackend
) -> None:
    """If one group cannot take it, the others do not get it either."""
    with closing(RedisBackend(ConnectionConfig.from_url(redis_url), StoreOptions(stream_key, "second"))) as second:
        second.lease_ms()
        backend.lease_ms()
        backend.enqueue([Message("before", "job")])
        client.set(f"{{{stream_key}}}:second:parked", "x")

        with pytest.raises(BrokerError, match="is a string"):
            backend.enqueue([Message("one", "job", delay_ms=1000)])
        assert backend.show(["one"]) == [None]
        client.delete(f"{{{stream_key}}}:second:parked")
        assert backend.enqueue([Message("one", "job", delay_ms=1000)]) == [True]


@pytest.mark.parametrize(
    "value",
    [
        "n",
        "n+",
        "nno entry",
        "z1-1",
        "d",
        "d1-1",
        "h",
        "f1-1",
        "h1-1 1 2 5",
        "h1-1 1 99999999999999 5 ",
        "h1-1 1 99999999999999 5 9:value",
        "h1-1 1 99999999999999 9 5:value1:1",
        f"h{LAST}-{LAST}1 {LAST}99 {LAST}99 5 5:value1:1",
        b"h+1-1 1 99999999999999 5 \xff",
        "f 1 99999999999999 4 5:error1:{8:progress1:{",
    ],
    ids=str,
)
def test_a_hostile_value_stops_no_call(backend: RedisBackend, stream_key: str, client: Any, value: str | bytes) -> None:
    """The calls return, and show the other tasks; a damaged result is an error of ours."""
    backend.enqueue([Message("one", "job")])
    key = f"{{{stream_key}}}:cg:task:zz"
    client.set(key, value)

    assert backend.show(["zz", "one"])[1] is not None
    with suppress(SerializationError):
        assert len(backend.wait(["zz", "one"], 0)) == 2
    for call in (backend.cancel, backend.requeue, backend.delete):
        client.set(key, value)
        assert len(call(["zz"])) == 1
    client.set(key, value)
    backend.forget(["zz"])


def test_reserved_fields_of_a_waiting_message_mean_nothing(
    redis_url: str, stream_key: str, client: Any, backend: RedisBackend
) -> None:
    """They are ours only in the streams of ended tasks."""
    fields = {"name": "job", "_state": "x", "_reason": "broken", "_ended": "soon"}
    entry = client.xadd(stream_key, fields).decode()

    page, _ = backend.tasks()

    assert [(info.id, info.status, info.reason) for info in page] == [(entry, TaskStatus.PENDING, "")]


def test_bytes_that_are_not_text_are_not_names(backend: RedisBackend, stream_key: str, client: Any) -> None:
    """In the delayed set, as a consumer, as a group: work goes on."""
    prefix = f"{{{stream_key}}}"
    client.zadd(f"{prefix}:cg:delayed", {b"\xff\xfe": 1, "no such task": 2})
    client.execute_command("XGROUP", "CREATECONSUMER", stream_key, "cg", b"\xff")
    client.hset(f"{prefix}:meta", mapping={b"group:\xff": stream_key, "group:bad name": "x", "group:x": "other-key"})
    backend.enqueue([Message("one", "job")])
    client.execute_command("XREADGROUP", "GROUP", "cg", b"\xff", "COUNT", 1, "STREAMS", stream_key, ">")

    assert backend.maintain(100) == -1
    assert client.zcard(f"{prefix}:cg:delayed") == 0
    assert [consumer.name for consumer in backend.consumers()] == ["\\xff"]
    assert list(backend.groups()) == ["cg"]
    backend.extend([])
    assert backend.tasks(TaskStatus.STARTED)[0][0].worker == "\\xff"


def test_a_planted_group_or_lease_is_not_used(
    redis_url: str, stream_key: str, client: Any, backend: RedisBackend
) -> None:
    """Producers write only to the queue's keys; the default replaces a lease that is not a number."""
    meta = f"{{{stream_key}}}:meta"
    client.hset(meta, mapping={"group:evil": f"{stream_key}-other", "lease:cg": "abc", "version": "new"})

    with closing(RedisBackend(ConnectionConfig.from_url(redis_url), StoreOptions(stream_key))) as fresh:
        assert fresh.lease_ms() == DEFAULT_LEASE_MS
        assert fresh.enqueue([Message("one", "job")]) == [True]
        assert fresh.maintain(1) == -1
    assert not client.exists(f"{stream_key}-other")


def test_a_planted_stream_of_our_own_group_is_replaced(redis_url: str, stream_key: str, client: Any) -> None:
    """`register` makes the group with its proper stream."""
    client.hset(f"{{{stream_key}}}:meta", "group:cg", f"{stream_key}-other")

    with closing(RedisBackend(ConnectionConfig.from_url(redis_url), StoreOptions(stream_key))) as fresh:
        assert fresh.enqueue([Message("one", "job")]) == [True]
    assert not client.exists(f"{stream_key}-other")
    assert client.xlen(stream_key) == 1


@pytest.mark.parametrize("end", [Done(), Fail("broken"), Retry(), Defer(60_000), "released"], ids=str)
@pytest.mark.parametrize("delay", [0, 1])
@pytest.mark.parametrize("name", ["id", "_id"])
def test_a_copy_in_the_stream_takes_no_task_away(
    backend: RedisBackend, stream_key: str, client: Any, *, end: Verdict | str, delay: int, name: str
) -> None:
    """An entry with the id of a waiting task: whatever becomes of the entry, the task runs."""
    client.xadd(stream_key, {name: "one", "name": "job"} if name == "id" else {name: "one"})
    backend.enqueue([Message("one", "job", b"accepted", delay_ms=delay)])
    (copy,) = backend.claim("w", 1, 0)
    assert copy.message.id == "one"

    if isinstance(end, str):
        backend.release("w", ["one"])
    else:
        assert backend.settle([Settlement(copy.receipt, end)]) == [False]

    until(lambda: backend.maintain(5) or client.zcard(f"{{{stream_key}}}:cg:delayed") == 0, "it is due")
    (delivery,) = backend.claim("w", 5, 0)
    assert isinstance(delivery.message, Message)
    assert delivery.message.body == b"accepted"
    assert backend.settle([Settlement(delivery.receipt, Done())]) == [True]
    assert client.xlen(stream_key) == 0


@pytest.mark.parametrize("name", [b"", b"x\x1b\n", b"\xff", b"a b", b"x" * 65], ids=repr)
def test_a_malformed_group_does_not_take_the_first_stream(
    redis_url: str, stream_key: str, client: Any, name: bytes
) -> None:
    """The first group reads from the queue's own key, to which messages are written by hand."""
    client.hset(f"{{{stream_key}}}:meta", b"group:" + name, stream_key)
    client.xadd(stream_key, {"name": "job"})

    with closing(RedisBackend(ConnectionConfig.from_url(redis_url), StoreOptions(stream_key))) as backend:
        assert len(backend.claim("w", 5, 0)) == 1


def test_only_channels_of_the_queue_are_told(backend: RedisBackend, stream_key: str, client: Any) -> None:
    """A program that writes into the notes cannot make workers publish elsewhere."""
    delivery = lend(backend)
    ours = f"{{{stream_key}}}:wake:me"
    key = f"{{{stream_key}}}:cg:task:one"
    client.set(key, b"n+" + client.get(key)[1:])
    client.hset(f"{{{stream_key}}}:cg:notes", "waiters:one", f"victim,{ours},{{other}}:wake:me")
    with client.pubsub() as ears:
        ears.subscribe("victim", ours, "{other}:wake:me")
        while len(ears.channels) > sum(1 for _ in range(3) if ears.get_message(timeout=5)):
            pass

        backend.settle([Settlement(delivery.receipt, Done())])
        client.publish("victim", "end")

        heard = [ears.get_message(timeout=5) for _ in range(2)]
        assert [one and one["channel"] for one in heard] == [ours.encode(), b"victim"]
        assert heard[1]
        assert heard[1]["data"] == b"end"


def test_a_queue_with_the_name_of_a_key_of_priorities(redis_url: str, stream_key: str) -> None:
    """Two groups of it take in tasks, whichever was there first."""
    name = f"{stream_key}:again:2"
    with (
        closing(TaskQueue(redis_url, name, consumer_group="b")) as first,
        closing(TaskQueue(redis_url, name, consumer_group="a")) as second,
    ):
        jobs = [queue.task(name="job")(lambda: "done") for queue in (first, second)]
        handles = [job() for job in jobs * 2]
        drain(first)
        drain(second)

        assert [handle.get(5) for handle in handles] == ["done"] * 4


def test_a_hand_written_member_in_the_line_of_a_limit(backend: RedisBackend, client: Any, stream_key: str) -> None:
    """A task that needs two limits runs once the member is removed from the line of the second one."""
    for name in ("a", "b"):
        backend.limits().set(name, 1)
    backend.enqueue([Message(one, "job", gates=gates, v=FLOW_VERSION) for one, gates in _NEEDED.items()])
    (held,) = backend.claim("w", 5, 0)
    client.zadd(f"{{{stream_key}}}:cg:lines", {b"b/\0x": 0})
    assert backend.settle([done(held.receipt, "holds")]) == [True]

    def claimed() -> list[Delivery]:
        backend.maintain(256)
        return list(backend.claim("w", 5, 0))

    (found,) = until(claimed, "it may run")
    assert found.message.id == "both"


_NEEDED = {"holds": ("a/",), "both": ("a/", "b/")}


@pytest.mark.parametrize("field", [":started", ":unfinished"])
def test_a_count_of_dependents_that_is_no_number(
    backend: RedisBackend, client: Any, stream_key: str, field: str
) -> None:
    """A flow is stored, its tasks end once, and their tokens come back once."""
    backend.limits().set("a", 1)
    client.hset(f"{{{stream_key}}}:cg:dependents", field, "abc")
    last = Message("last", "job", flow="f", after=("first",), gates=("a/",), v=FLOW_VERSION)
    backend.enqueue([last])
    backend.enqueue([Message("first", "job", flow="f", successors=("f:last",), v=FLOW_VERSION)])
    for task_id in ("first", "last"):
        client.hset(f"{{{stream_key}}}:cg:dependents", field, "abc")
        (held,) = backend.claim("w", 5, 0)
        assert held.message.id == task_id
        assert backend.settle([done(held.receipt, task_id)]) == [True]

    assert client.xlen(f"{{{stream_key}}}:cg:history") == 2
    assert not any(used for used, _ in tokens(backend.limits()).values())


def test_a_task_suspends_whatever_is_at_the_key_of_dependents(
    backend: RedisBackend, client: Any, stream_key: str
) -> None:
    """The key is made again, and the task waits in one place."""
    held = lend(backend)
    client.set(f"{{{stream_key}}}:cg:dependents", "x")

    assert backend.settle([Settlement(held.receipt, Suspend(event="paid"))]) == [True]

    assert client.xlen(f"{{{stream_key}}}:cg:parked") == 1
    assert backend.send_event("one", "paid", b"1") is EventStatus.STORED
    (again,) = backend.claim("w", 5, 0)
    assert again.message.id == "one"
