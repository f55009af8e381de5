"""Another program deletes what is noted of waiting tasks and of limits, or the server evicts it: they go on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from pyxqueue import AsyncResult, Concurrency, Task, TaskQueue, chain, current_task
from pyxqueue.backends.redis import RedisBackend, commands, unnoted
from pyxqueue.backends.redis.scripts import script
from pyxqueue.model.message import (
    FLOW_VERSION,
    Defer,
    Delivery,
    Done,
    Message,
    Record,
    Retry,
    Settlement,
    TaskStatus,
    evolve,
)
from pyxqueue.model.rates import Pace
from pyxqueue.testing import drain
from pyxqueue.testing.contract.steps import tokens
from tests.support.until import until

Job = Task[..., Any]


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is looked at with each maintenance."""
    monkeypatch.setattr(unnoted, "EVERY", 0.0)


@pytest.fixture
def queue(redis_url: str, stream_key: str) -> Iterator[TaskQueue]:
    with closing(TaskQueue(redis_url, stream_key)) as queue:
        yield queue


def backend_of(queue: TaskQueue) -> RedisBackend:
    found = queue.stores.backend
    assert isinstance(found, RedisBackend)
    return found


def delayed(queue: TaskQueue, job: Job) -> list[AsyncResult[Any]]:
    return [job.with_options(delay=0.05)(1), job.with_options(delay=0.1, priority=90)(2)]


def limited(queue: TaskQueue, job: Job) -> list[AsyncResult[Any]]:
    limited = queue.task(name="limited", limits=[Concurrency(1)])(same)
    return [limited(number) for number in range(3)]


def in_a_fair_line(queue: TaskQueue, job: Job) -> list[AsyncResult[Any]]:
    fair = TaskQueue(backend_of(queue)._registration.session.config.url, queue.stream_key, fair_by="value")
    with closing(fair):
        return [queue.result(fair.task(name="job")(same)(number).task_id) for number in range(3)]


def in_a_flow(queue: TaskQueue, job: Job) -> list[AsyncResult[Any]]:
    return [*chain(job.of(1), job.of(), job.of())()]


def suspended(queue: TaskQueue, job: Job) -> list[AsyncResult[Any]]:
    def parent() -> list[int]:
        later = job.with_options(delay=0.1)
        return list(current_task().gather("children", [later.of(1), later.of(2)]))

    handle = queue.task(name="parent")(parent)()
    drain(queue)  # until it waits for its children
    return [handle]


WAITING: dict[Callable[[TaskQueue, Job], list[AsyncResult[Any]]], str] = {
    delayed: "delayed", limited: "lines", in_a_fair_line: "lines", in_a_flow: "dependents", suspended: "dependents",
}  # fmt: skip


@pytest.mark.parametrize("wait", WAITING, ids=lambda wait: wait.__name__)
def test_what_is_noted_of_waiting_tasks_is_deleted(
    queue: TaskQueue, client: Any, wait: Callable[..., list[AsyncResult[Any]]], caplog: pytest.LogCaptureFixture
) -> None:
    """Each ends, once, and a warning says that something was lost."""
    runs: list[int] = []

    def run(value: int) -> int:
        runs.append(value)
        return value

    job = queue.task(name="job")(run)
    handles = wait(queue, job)
    assert client.delete(f"{{{queue.stream_key}}}:cg:{WAITING[wait]}") == 1

    until(lambda: ended(queue, handles), "all end")

    assert [handle.state.name for handle in handles] == ["SUCCESS"] * len(handles)
    assert len(runs) == len(set(runs)) or wait is in_a_flow
    assert caplog.text.count("They go on") == 1
    depth = backend_of(queue).depth()
    assert depth is not None
    assert (depth.ready, depth.delayed, depth.blocked, depth.dependent) == (0, 0, 0, 0)


def test_a_delayed_task_keeps_its_time(backend: RedisBackend, client: Any, stream_key: str) -> None:
    """It is due as before, whether its own key is still there or not."""
    key = f"{{{stream_key}}}:cg:delayed"
    backend.enqueue([Message("a", "job", delay_ms=500_000), Message("b", "job", delay_ms=900_000)])
    before = client.zrange(key, 0, -1, withscores=True)
    client.delete(key, backend._registration.keys.task("b"))

    backend.maintain(100)

    assert client.zrange(key, 0, -1, withscores=True) == before
    assert [one is not None and one.status for one in backend.show(["a", "b"])] == [TaskStatus.PENDING] * 2


def test_only_what_is_missing_is_noted_again(backend: RedisBackend, client: Any, stream_key: str) -> None:
    """Whatever else waits, and however much of it."""
    key = f"{{{stream_key}}}:cg:delayed"
    backend.enqueue([Message(f"n{number}", "job", delay_ms=900_000) for number in range(100)])
    client.zrem(key, "n7", "n70")
    client.zadd(key, {"n8": 1e15})

    backend.maintain(100)

    assert client.zcard(key) == 100
    assert client.zscore(key, "n8") == 1e15


GATE = "api/k"


def gated(*ids: str) -> list[Message]:
    return [Message(task_id, "job", gates=(GATE,), v=FLOW_VERSION) for task_id in ids]


def done(held: Delivery) -> Settlement:
    return Settlement(held.receipt, Done(), Record(held.message.id, TaskStatus.SUCCESS, b"null"))


@pytest.mark.parametrize("is_trimmed", [False, True], ids=["stream", "messages"])
def test_tokens_of_deleted_messages_come_back(
    backend: RedisBackend, client: Any, stream_key: str, is_trimmed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Those that wait for them go on, and a warning says that something was lost."""
    backend.limits().set("api", 2)
    backend.enqueue(gated("a", "b", "c", "d"))
    if is_trimmed:
        client.xtrim(stream_key, maxlen=0, approximate=False)
    else:
        client.delete(stream_key)
    backend.lease_ms()

    backend.maintain(100)

    assert tokens(backend.limits()) == {GATE: (2, 0)}
    assert [one.message.id for one in backend.claim("w", 9, 0)] == ["c", "d"]
    assert "had a wrong count of the tokens" in caplog.text


def test_a_message_in_flight_keeps_its_token(backend: RedisBackend, client: Any, stream_key: str) -> None:
    """Also one that was deleted, as long as a worker may be running it."""
    backend.limits().set("api", 1)
    backend.enqueue(gated("a", "b"))
    (held,) = backend.claim("w", 1, 0)
    client.xtrim(stream_key, maxlen=0, approximate=False)

    backend.maintain(100)
    assert tokens(backend.limits()) == {GATE: (1, 1)}
    backend.settle([done(held)])
    backend.maintain(100)

    assert [one.message.id for one in backend.claim("w", 9, 0)] == ["b"]


def test_tokens_that_are_right_stay(
    backend: RedisBackend, caplog: pytest.LogCaptureFixture, client: Any, stream_key: str
) -> None:
    """In every stream of what is ready; and of many messages, which are not counted."""
    backend.limits().set("api", 4)
    priorities = [evolve(one, priority=60 - 30 * number) for number, one in enumerate(gated("a", "b", "c", "d", "e"))]
    backend.enqueue(priorities)
    backend.settle([Settlement(backend.claim("w", 1, 0)[0].receipt, Defer())])
    backend.maintain(100)
    assert tokens(backend.limits()) == {GATE: (4, 1)}
    assert caplog.messages == []
    assert client.xtrim(stream_key, maxlen=0, approximate=False) == 1
    backend.enqueue([Message(f"n{number}", "job") for number in range(100)])
    backend.maintain(100)
    assert tokens(backend.limits()) == {GATE: (4, 1)}


def test_a_message_of_a_later_release_holds_no_token_while_it_waits(
    backend: RedisBackend, client: Any, stream_key: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A worker that cannot read it defers it; it asks for its token again when it is due, so the limit holds (L3)."""
    backend.limits().set("api", 1)
    backend.enqueue(gated("a", "b"))
    client.xtrim(stream_key, maxlen=0, approximate=False)
    client.delete(f"{{{stream_key}}}:cg:task:a")
    client.xadd(stream_key, {"id": "a", "name": "job", "v": "99", "gates": GATE, "flow": "f", "_tokens": "1"})
    (held,) = backend.claim("w", 1, 0)
    assert not isinstance(held.message, Message)
    backend.settle([Settlement(held.receipt, Defer(1))])
    (other,) = backend.claim("w", 9, 0)

    until(lambda: backend.maintain(100) < 0, "the delayed one is due")

    assert other.message.id == "b"
    assert tokens(backend.limits()) == {GATE: (1, 1)}
    assert backend.claim("w", 9, 0) == []
    backend.settle([done(other)])
    (again,) = backend.claim("w", 9, 0)
    assert again.message.id == "a"
    assert tokens(backend.limits()) == {GATE: (1, 0)}
    assert "wrong count" not in caplog.text


def test_tokens_in_a_fair_line_stay(backend: RedisBackend) -> None:
    """What stands there is ready, and has its tokens."""
    backend.limits().set("api", 2)
    backend.enqueue([evolve(one, share=1, tenant="a") for one in gated("a", "b", "c")])
    backend.maintain(100)
    assert tokens(backend.limits()) == {GATE: (2, 1)}


def test_tokens_are_counted_again_if_their_number_was_lost(backend: RedisBackend, client: Any, stream_key: str) -> None:
    """So that no more run at once than the limit says."""
    backend.limits().set("api", 1)
    backend.enqueue(gated("a", "b", "c"))
    (held,) = backend.claim("w", 1, 0)
    client.hdel(f"{{{stream_key}}}:cg:gates", f"used:{GATE}")

    backend.maintain(100)

    assert tokens(backend.limits()) == {GATE: (1, 2)}
    assert backend.claim("w", 9, 0) == []
    backend.settle([done(held)])
    assert [one.message.id for one in backend.claim("w", 9, 0)] == ["b"]


def test_it_is_not_noted_which_gates_have_room(backend: RedisBackend, client: Any, stream_key: str) -> None:
    """They are found, however many they are, and when their rates have room."""
    backend.limits().set_rate("api", Pace(1, 1_000, 1))
    gates = [(f"rate:api/{number}",) for number in range(300)]
    backend.enqueue([Message(f"t{n}", "job", gates=gates[n // 2], v=FLOW_VERSION) for n in range(600)])
    assert backend.depth().blocked == 300
    client.delete(f"{{{stream_key}}}:cg:turns")

    until(lambda: backend.maintain(256) >= -1 and backend.depth().blocked == 0, "all are ready")


def test_it_is_not_noted_that_a_limit_has_room(backend: RedisBackend, client: Any, stream_key: str) -> None:
    backend.limits().set("api", 0)
    backend.enqueue(gated("a", "b", "c"))
    client.hset(f"{{{stream_key}}}:cg:gates", "limit:api", 2)  # as if the note were lost that setting it has made

    backend.maintain(100)

    assert tokens(backend.limits()) == {GATE: (2, 1)}


def ended(queue: TaskQueue, handles: list[AsyncResult[Any]]) -> bool:
    backend_of(queue).maintain(100)
    drain(queue)
    return all(handle.state.ended for handle in handles)


def same(value: int) -> int:
    return value


def flow(*successors: Message) -> list[Message]:
    """A task `a`, and those that wait for it."""
    edges = tuple(f"f:{one.id}" for one in successors)
    first = Message("a", "job", flow="the-flow", successors=edges, v=FLOW_VERSION)
    return [*(evolve(one, flow="the-flow", after=("a",), v=FLOW_VERSION) for one in successors), first]


def retried(backend: RedisBackend) -> None:
    """The second task of a flow has failed, and is due again later."""
    backend.enqueue(flow(Message("last", "job")))
    backend.settle([done(*backend.claim("w", 1, 0))])
    (held,) = backend.claim("w", 1, 0)
    backend.settle([Settlement(held.receipt, Retry(20))])


def sleeping(backend: RedisBackend) -> None:
    """What it waited for has ended, and now it waits for its time."""
    backend.enqueue(flow(Message("last", "job", delay_ms=100)))
    backend.settle([done(*backend.claim("w", 1, 0))])


def at_a_limit(backend: RedisBackend) -> None:
    """It waits for a limit, as the second task of a flow."""
    backend.limits().set("api", 1)
    backend.enqueue([*gated("x"), *flow(evolve(gated("last")[0], flow="the-flow"))])
    backend.settle([done(one) for one in backend.claim("w", 9, 0) if one.message.id == "a"])
    assert tokens(backend.limits()) == {GATE: (1, 1)}


def about_to_start(backend: RedisBackend) -> None:
    """What it waited for has ended, and the process that settled it has died before it promoted the successor."""
    backend.enqueue(flow(Message("last", "job")))
    (held,) = backend.claim("w", 1, 0)
    keys, settle = backend._registration.keys, script("settle").text
    command = commands.settle(keys, 10, [done(held)])
    execute = backend._session.execute
    assert execute("EVAL", settle, len(command.keys), *command.keys, *command.args) == [1, b"\1last"]


OF_FLOWS: dict[Callable[[RedisBackend], None], str] = {
    retried: "delayed", sleeping: "delayed", at_a_limit: "lines", about_to_start: "delayed",
}  # fmt: skip


@pytest.mark.parametrize("wait", OF_FLOWS, ids=lambda wait: wait.__name__)
def test_a_task_of_a_flow_that_waits_for_something_else(
    backend: RedisBackend, client: Any, stream_key: str, wait: Callable[[RedisBackend], None]
) -> None:
    """That it is known to be of a flow does not mean that it is noted where it waits now."""
    wait(backend)
    client.delete(f"{{{stream_key}}}:cg:{OF_FLOWS[wait]}")

    backend.settle([done(one) for one in backend.claim("w", 9, 0)])
    claimed: list[str] = []

    def is_ready() -> bool:
        backend.maintain(100)
        claimed.extend(one.message.id for one in backend.claim("w", 9, 0))
        return "last" in claimed

    until(is_ready, "it runs")


def test_a_flow_that_was_not_stored_to_its_end_is_given_up(backend: RedisBackend, client: Any, stream_key: str) -> None:
    """In an hour, as if the time had not been lost."""
    delayed = f"{{{stream_key}}}:cg:delayed"
    backend.enqueue(flow(Message("last", "job"))[:1])
    before = client.zscore(delayed, "last")
    client.delete(delayed)

    backend.maintain(100)

    assert client.zrange(delayed, 0, -1) == [b":dependents", b"last"]
    assert before <= client.zscore(delayed, "last") <= before + 60_000


def test_dependents_and_expiries_are_looked_at_again(backend: RedisBackend, client: Any, stream_key: str) -> None:
    """When to look at them was deleted: a lost predecessor is found, and what is too late ends."""
    backend.enqueue(flow(Message("last", "job")))
    backend.limits().set("api", 0)
    backend.enqueue([evolve(gated("late")[0], lifetime_ms=20)])
    client.delete(f"{{{stream_key}}}:cg:delayed")
    ((entry, _),) = client.xrange(stream_key)
    client.xdel(stream_key, entry)

    def are_ended() -> bool:
        backend.maintain(100)
        return [one.status.name for one in backend.show(["a", "late"]) if one] == ["FAILURE", "CANCELLED"]

    until(are_ended, "both have ended")
    (held,) = backend.claim("w", 9, 0)
    assert isinstance(held.message, Message)
    assert (held.message.id, held.message.doomed) == ("last", "a")
