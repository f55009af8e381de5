"""What travels: serializers, seals and sizes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pyxqueue import (
    ConfigurationError,
    JSONSerializer,
    MsgpackSerializer,
    PayloadTooLargeError,
    PickleSerializer,
    Seal,
    SealError,
    SerializationError,
    TaskError,
    TaskQueue,
)
from pyxqueue.backends.memory import MemoryBackend, MemoryStore
from pyxqueue.model.message import Done, Fail, Failure, Message, Settlement, TaskStatus, evolve
from pyxqueue.protocols import StoreOptions
from pyxqueue.testing import drain
from tests.support.tasks import task_of

KEY, OTHER_KEY = "k" * 16, "o" * 16
Side = Callable[..., TaskQueue]


class Reversed:
    """A serializer from somebody else: texts, backwards."""

    name = "reversed"
    trusted = True

    def dumps(self, value: Any) -> bytes:
        return repr(value)[::-1].encode()

    def loads(self, data: bytes) -> Any:
        if not data:
            raise SerializationError("nothing")
        return eval(data.decode()[::-1])


@pytest.fixture
def side() -> Side:
    """Makes queues that share one store, as a producer and a worker do, each with settings of its own."""
    store = MemoryStore()

    def make(**settings: Any) -> TaskQueue:
        queue = TaskQueue(stream_key="q", broker=MemoryBackend(store, StoreOptions("q")), **settings)
        queue.task(name="echo")(echo)
        queue.task(name="divide")(divide)
        return queue

    return make


def echo(value: Any = None) -> Any:
    return value


def divide(value: int) -> float:
    return 1 / value


def send(queue: TaskQueue, value: Any, name: str = "echo") -> str:
    return str(task_of(queue, name)(value).task_id)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"serializer": "json"},
        {"serializer": "msgpack"},
        {"serializer": MsgpackSerializer()},
        {"serializer": "pickle", "seal": Seal(KEY)},
        {"serializer": "json", "seal": Seal(KEY)},
        {"serializer": Reversed()},
    ],
)
def test_values_come_back_as_what_they_were(side: Side, settings: dict[str, Any]) -> None:
    """Every serializer, with and without a seal, returns an equal value."""
    queue = side(**settings)
    task_id = send(queue, (1, {2: b"three"}))
    drain(queue)

    assert queue.result(task_id).get(timeout=0) == (1, {2: b"three"})


def test_an_unknown_serializer_is_refused() -> None:
    """A serializer is found by its name; the error lists the installed ones."""
    with pytest.raises(
        ConfigurationError, match=r"the serializer 'yaml' is not installed: .* one of json, msgpack, pickle"
    ):
        TaskQueue("q", serializer="yaml")


@pytest.mark.parametrize("settings", [{"serializer": "pickle"}, {"accept": [PickleSerializer()]}])
def test_pickle_needs_a_seal(settings: dict[str, Any]) -> None:
    """Pickle is refused without a seal, both for writing and for reading."""
    with pytest.raises(
        ConfigurationError, match="'pickle' can run code from the bytes it reads: give the queue a seal"
    ):
        TaskQueue("q", **settings)


def test_a_worker_decodes_only_what_it_was_given(side: Side) -> None:
    """A body of another serializer is left for a worker that has it."""
    task_id = send(side(serializer="msgpack"), 1)
    plain, both = side(), side(accept=["msgpack"])
    drain(plain)

    assert plain.result(task_id).state.name == "PENDING"
    info = plain.stores.backend.show([task_id])[0]
    assert info is not None
    assert isinstance(info.message, Message)
    assert info.message.deferrals == 1
    assert side(serializer="msgpack").stores.backend.cancel([task_id])

    accepted = send(side(serializer="msgpack"), 2)
    drain(both)
    assert both.result(accepted).get(timeout=0) == 2


def test_a_result_of_another_serializer_is_not_read(side: Side) -> None:
    """The error says which serializer the reader lacks; `get_task` shows that in place of the value."""
    writer, reader = side(serializer="msgpack"), side()
    task_id = send(writer, 1)
    drain(writer)

    with pytest.raises(
        SerializationError, match=r"was written by the serializer 'msgpack'; this queue reads \['json'\]"
    ):
        reader.result(task_id).get(timeout=0)
    assert "cannot be decoded here" in reader.get_task(task_id)["info"]["value"]


def plant(queue: TaskQueue, task_id: str, **changes: Any) -> None:
    """Put a message that was sealed elsewhere into the store, as somebody would who can write to it."""
    scratch = TaskQueue("memory://", stream_key="q", seal=queue.core.codec.seal)
    scratch.task(name="echo")(echo).with_options(task_id=task_id)(1)
    info = scratch.stores.backend.show([task_id])[0]
    assert info is not None
    assert isinstance(info.message, Message)
    queue.stores.backend.enqueue([evolve(info.message, **changes)])


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"body": b"[[2],{}]"}, "does not fit"),
        ({"seal": ""}, "is not sealed"),
        ({"seal": "v2:unknown:00"}, "is sealed with the key unknown"),
        ({"id": "moved"}, "does not fit"),
        ({"headers": {"tenant": "another"}}, "does not fit"),
    ],
)
def test_what_was_tampered_with_fails(side: Side, changes: dict[str, Any], why: str) -> None:
    """The message fails without being decoded, and is kept with its bytes and the reason."""
    queue = side(seal=Seal(KEY))
    plant(queue, "one", **changes)
    task_id = changes.get("id", "one")
    drain(queue)

    with pytest.raises(TaskError, match=why) as caught:
        queue.result(task_id).get(timeout=0)
    assert caught.value.type == "SealError"
    info = queue.stores.backend.show([task_id])[0]
    assert info is not None
    assert isinstance(info.message, Message)
    assert info.message.body == changes.get("body", b"[[1],{}]")


def test_another_key_is_not_believed(side: Side) -> None:
    """A call and a result under another key are refused."""
    ours, theirs = side(seal=Seal(KEY)), side(seal=Seal(OTHER_KEY))
    call, result = send(theirs, 1), None
    drain(ours)
    with pytest.raises(TaskError, match="SealError"):
        ours.result(call).get(timeout=0)

    result = send(ours, 1)
    drain(ours)
    with pytest.raises(SealError, match="is sealed with the key"):
        theirs.result(result).get(timeout=0)
    assert ours.result(result).get(timeout=0) == 1


def test_keys_can_be_changed_without_a_gap(side: Side) -> None:
    """A worker that has both keys reads messages of both."""
    both = side(seal=Seal([OTHER_KEY, KEY]))
    old = send(side(seal=Seal(KEY)), 1)
    new = send(side(seal=Seal(OTHER_KEY)), 2)
    drain(both)

    assert [both.result(task_id).get(timeout=0) for task_id in (old, new)] == [1, 2]


def test_keys_from_the_environment(side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys are separated by commas; the first one signs, and a seal given in code comes before them."""
    monkeypatch.setenv("PYXQUEUE_SEAL_KEYS", f" {KEY} , {OTHER_KEY} ")
    queue = side(serializer="pickle", accept=["json"])
    task_id = send(side(seal=Seal(OTHER_KEY)), 1)
    drain(queue)

    with pytest.raises(SealError):  # the answer is sealed with the first key, which that side does not have
        side(seal=Seal(OTHER_KEY)).result(task_id).get(timeout=0)
    assert queue.result(task_id).get(timeout=0) == 1


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ("short", "key 1 of the seal has 5 bytes"),
        (",", "needs at least one key"),
        (" ", "needs at"),
        ("", "needs at"),
    ],
)
def test_bad_keys_in_the_environment(monkeypatch: pytest.MonkeyPatch, keys: str, why: str) -> None:
    """An error names the variable; the queue is never left without a seal."""
    monkeypatch.setenv("PYXQUEUE_SEAL_KEYS", keys)

    with pytest.raises(ConfigurationError, match=f"^PYXQUEUE_SEAL_KEYS: .*{why}"):
        TaskQueue("q")


@pytest.mark.parametrize(
    ("value", "changes"),
    [
        (1, {"value": b"7"}),
        (1, {"attempt": 2}),
        (1, {"status": TaskStatus.FAILURE, "error": Failure("ValueError", "no such user")}),
        (0, {"error": Failure("ValueError", "no such user")}),
        (0, {"status": TaskStatus.SUCCESS}),
        (0, {"seal": ""}),
    ],
)
def test_a_forged_end_is_not_believed(side: Side, value: int, changes: dict[str, Any]) -> None:
    """A forged value, a forged failure and the end of another attempt are refused."""
    # Given
    queue = side(seal=Seal(KEY))
    task_id = send(queue, value, "divide")
    drain(queue)
    (record,) = queue.stores.backend.wait([task_id], 0)
    assert record is not None
    # When
    backend = queue.stores.backend
    backend.requeue([task_id])
    (delivery,) = backend.claim("forger", 1, 0)
    verdict = Done() if record.status is TaskStatus.SUCCESS else Fail("no use")
    assert backend.settle([Settlement(delivery.receipt, verdict, evolve(record, **changes))]) == [True]
    # Then
    with pytest.raises(SealError):
        queue.result(task_id).get(timeout=0)
    assert "seal" in str(queue.get_task(task_id)["info"]["value"])


def test_a_call_has_a_size_limit(side: Side) -> None:
    """The limit is exact; the error names the task, both numbers and what to do."""
    body = JSONSerializer().dumps([["x" * 100], {}])
    why = r"cannot enqueue echo: its arguments need \d+ bytes, the limit is \d+; .*max_payload"

    assert send(side(max_payload=len(body)), "x" * 100)
    with pytest.raises(PayloadTooLargeError, match=why):
        send(side(max_payload=len(body) - 1), "x" * 100)


@pytest.mark.parametrize("changes", [{"body": b"[[%s],{}]" % (b" " * 100)}, {"headers": {"tenant": "x" * 100}}])
def test_a_call_that_is_too_large_is_not_read(side: Side, changes: dict[str, Any]) -> None:
    """Its producer has another limit, or none: the message is kept unread, and the reason says what to do."""
    queue = side(max_payload=100)
    queue.stores.backend.enqueue([evolve(Message("one", "echo"), **changes)])
    drain(queue)

    with pytest.raises(TaskError, match=r"have 1\d\d bytes, the limit here is 100; .*max_payload"):
        queue.result("one").get(timeout=0)


@pytest.mark.parametrize("depth", [900, 100_000])
def test_a_call_that_is_too_deep_can_be_looked_at(side: Side, depth: int) -> None:
    """Another program wrote the message: it is described instead of shown, and it fails."""
    queue = side()
    queue.stores.backend.enqueue([Message("one", "echo", b"[[" + b"[" * depth + b"]" * depth + b"],{}]")])

    assert queue.get_task("one")["data"][b"task"]
    drain(queue)
    assert queue.get_task("one")["info"]["state"] == TaskStatus.FAILURE
    assert queue.get_tasks()


def test_a_result_that_is_too_large_is_not_read(side: Side) -> None:
    """The limit of the reader counts, not that of the worker."""
    writer, reader = side(), side(max_result=100)
    task_id = send(writer, "x" * 100)
    drain(writer)

    with pytest.raises(PayloadTooLargeError, match=r"has 102 bytes, the limit here is 100; .*max_result"):
        reader.result(task_id).get(timeout=0)


def test_a_return_value_that_cannot_travel(side: Side) -> None:
    """The failure names the task and the place in the value, and says what to do."""
    queue = side()
    handle = queue.task(name="make")(lambda: {"lock": object()})()
    drain(queue)

    why = r"the return value of make cannot be stored: value\['lock'\]: .* object cannot travel: pass plain data"
    with pytest.raises(TaskError, match=why):
        handle.get(timeout=0)


def test_headers_count_for_the_size_of_a_call(queue: TaskQueue) -> None:
    """The size of a call is that of its arguments and headers together."""
    task = queue.task(name="echo")(lambda value: value).with_options(headers={"ä": "x" * queue.core.codec.max_payload})
    size = queue.core.codec.max_payload + len("ä".encode()) + len(b"[[1],{}]")

    with pytest.raises(PayloadTooLargeError, match=f"its arguments and headers need {size:,} bytes"):
        task(1)


def test_a_result_has_a_size_limit(side: Side) -> None:
    """A result that is too large fails the task, although it ran."""
    queue = side(max_result=101)
    task_id = send(queue, "x" * 100)
    drain(queue)

    with pytest.raises(TaskError, match=r"the result of echo needs 102 bytes, the limit is 101; .*max_result") as e:
        queue.result(task_id).get(timeout=0)
    assert e.value.type.endswith("PayloadTooLargeError")
    assert send(queue, "y" * 1000)
