"""A server at its `maxmemory`: what makes room, ends tasks or looks is possible, also for a new process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeAlias

import pytest
from attrs import frozen
from click.testing import CliRunner
from redis import Redis

from pyxqueue import StoreFullError
from pyxqueue.backends.redis import ConnectionConfig, RedisBackend, RedisResults
from pyxqueue.cli import main
from pyxqueue.model.message import (
    FLOW_VERSION,
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
    TaskInfo,
    TaskStatus,
)
from pyxqueue.protocols import LimitStore, StoreOptions
from pyxqueue.testing.servers import Server, ServerKind
from tests.support.until import until

from ..conftest import kinds_to_test

HELD = ("running", "progressing", "ending", "retrying", "crashing")


@frozen
class Full:
    """A server without room, and what was stored there before."""

    url: str
    client: Redis
    held: dict[str, Delivery]
    foreign: tuple[str, ...]

    def open(self, *, lease: int | None = None) -> RedisBackend:
        """A backend that has not called the server yet, as in a new process."""
        options = StoreOptions("q", lease_ms=lease)
        return RedisBackend(ConnectionConfig.from_url(self.url), options, reclaim_after=0)

    def receipt(self, task_id: str) -> str:
        return self.held[task_id].receipt


@pytest.fixture(params=kinds_to_test())
def full(request: pytest.FixtureRequest) -> Iterator[Full]:
    kind: ServerKind = request.param
    with Server(kind, args=["--maxmemory-policy", "noeviction"]) as server, Redis.from_url(server.url) as client:
        client.script_flush()
        backend = RedisBackend(ConnectionConfig.from_url(server.url), StoreOptions("q"), reclaim_after=0)
        backend.enqueue([Message(name, "job") for name in ("done", "buried", *HELD)])
        held = {delivery.message.id: delivery for delivery in backend.claim("one", 99, 0)}
        backend.settle([Settlement(held["done"].receipt, Done()), Settlement(held["buried"].receipt, Fail("no use"))])
        backend.enqueue([Message(f"ready{number}", "job") for number in range(4)])
        backend.enqueue([Message("delayed", "job", delay_ms=60_000), Message("due", "job", delay_ms=1)])
        foreign = [client.xadd("q", {"name": "foreign"}).decode() for _ in range(3)]
        backend.close()
        client.config_set("maxmemory", client.info("memory")["used_memory"] // 2)
        client.script_flush()
        yield Full(server.url, client, held, tuple(foreign))


Operation: TypeAlias = Callable[[Full, RedisBackend], object]
OPERATIONS: dict[str, tuple[Operation, object]] = {
    "claim": (lambda _, b: [one.message.id for one in b.claim("two", 1, 0)], ["ready0"]),
    "claim in turns": (lambda _, b: _lengths(b, 2, 9), [2, 6]),
    "get": (lambda f, b: b.wait(["running", "ready1", f.foreign[0], "nobody"], 0), [None] * 4),
    "wait": (lambda _, b: b.wait(["ready1"], 20), [None]),
    "wait for a foreign entry": (lambda f, b: b.wait([f.foreign[0]], 20), [None]),
    "watch": (lambda _, b: b.watch("ready1", b.show(["ready1"])[0], 20) is None, False),
    "show": (lambda _, b: _status(b.show(["done"])[0]), TaskStatus.SUCCESS),
    "tasks": (lambda _, b: len(b.tasks()[0]), 7 + 4 + 2 + 3),
    "depth": (lambda _, b: b.depth().failed, 1),
    "consumers": (lambda _, b: [len(one.in_flight) for one in b.consumers()], [5]),
    "lease": (lambda _, b: b.lease_ms(), 30_000),
    "groups": (lambda _, b: b.groups(), ["cg"]),
    "remove_group": (lambda _, b: _removed(b, "cg").groups(), []),
    "cancel": (lambda f, b: b.cancel(["running", "ready1", "delayed", f.foreign[0]]), [True] * 4),
    "cancel a foreign entry": (lambda f, b: b.cancel([f.foreign[0]]), [True]),
    "cancel a held one": (lambda f, b: _after(b, b.cancel(["running"])).extend([Extension(f.receipt("running"))])[0],
                          LeaseStatus.CANCEL),
    "delete": (lambda _, b: b.delete(["ready1", "delayed", "done", "buried"]), [True] * 4),
    "delete what has a token": (lambda f, b: _deleted(f, b, "gated"), [True]),
    "delete what others wait for": (lambda f, b: _deleted(f, b, "first"), [True]),
    "delete a foreign entry": (lambda f, b: b.delete([f.foreign[0]]), [True]),
    "requeue": (lambda _, b: b.requeue(["buried"]), [True]),
    "forget": (lambda _, b: _forgot(b, "buried").wait(["buried"], 0), [None]),
    "extend": (lambda f, b: b.extend([Extension(f.receipt("progressing"), Progress(1))]), [LeaseStatus.HELD]),
    "settle": (lambda f, b: b.settle([Settlement(f.receipt("ending"), Done())]), [True]),
    "settle with a retry": (lambda f, b: b.settle([Settlement(f.receipt("retrying"), Retry(1))]), [True]),
    "release": (lambda f, b: b.release("one", [f.receipt("crashing")]), 5),
    "save_steps": (lambda f, b: _stepped(f, b).name, "HELD"),
    "declare a limit": (lambda _, b: _numbers(b, lambda limits: limits.declare({"api": 2}, replace=False)), [2]),
    "set a limit": (lambda _, b: _numbers(b, lambda limits: limits.set("api", 3)), [3]),
    "pause a limit": (lambda _, b: (b.limits().pause("api"), b.limits().paused()), (True, ["api"])),
    "maintain what has expired": (lambda f, b: _status(_expired(f, b).show(["late"])[0]), TaskStatus.CANCELLED),
    "maintain what waits for others": (lambda f, b: _looked(f, b, [":dependents"]), 1),
    "maintain what waits for a limit": (lambda f, b: _looked(f, b, [":turns"]), 1),
    "maintain": (lambda _, b: _after(b, b.maintain(9)).depth().delayed, 1),
}  # fmt: skip


def _after(backend: RedisBackend, _done: object) -> RedisBackend:
    return backend


def _lengths(backend: RedisBackend, *limits: int) -> list[int]:
    """How many are handed out with each of these limits. One has come back, so the first claim reads one too many."""
    backend.maintain(9)
    return [len(backend.claim("two", limit, 0)) for limit in limits]


@contextmanager
def _room(full: Full) -> Iterator[None]:
    """While inside, there is room."""
    limit = int(full.client.config_get("maxmemory")["maxmemory"] or 0)
    full.client.config_set("maxmemory", 0)
    yield
    full.client.config_set("maxmemory", limit)


def _expired(full: Full, backend: RedisBackend) -> RedisBackend:
    with _room(full):
        backend.enqueue([Message("late", "job", lifetime_ms=1)])
    until(lambda: backend.maintain(9) and _status(backend.show(["late"])[0]) is not TaskStatus.PENDING, "it has ended")
    return backend


def _deleted(full: Full, backend: RedisBackend, task_id: str) -> Sequence[bool]:
    with _room(full):
        backend.limits().set("api", 5)
        last = Message("last", "job", v=FLOW_VERSION, flow="f", after=("first",))
        first = Message("first", "job", v=FLOW_VERSION, flow="f", successors=("f:last",))
        backend.enqueue([Message("gated", "job", v=FLOW_VERSION, gates=("api/k",)), last, first])
    return backend.delete([task_id])


def _stepped(full: Full, backend: RedisBackend) -> LeaseStatus:
    with _room(full):
        backend.save_steps(full.receipt("running"), {"a": b"json \n1"})
    return backend.save_steps(full.receipt("running"), {"b": b"json \n1"})


def _looked(full: Full, backend: RedisBackend, marks: Sequence[str]) -> int:
    """Have the marks looked at, whose moment is in the delayed set, and what is noted of each in its own key."""
    with _room(full):
        backend.enqueue([Message("behind", "job", v=FLOW_VERSION, flow="f", after=("running",))])
        full.client.zadd("{q}:cg:turns", {"rate:x": 4_000_000_000_000})
        full.client.zadd("{q}:cg:delayed", dict.fromkeys(marks, 1))
    backend.maintain(9)
    return backend.depth().delayed


def _removed(backend: RedisBackend, group: str) -> RedisBackend:
    backend.remove_group(group)
    return backend


def _numbers(backend: RedisBackend, change: Callable[[LimitStore], None]) -> list[int | None]:
    change(backend.limits())
    return [one.number for one in backend.limits().numbers()]


def _forgot(backend: RedisBackend, task_id: str) -> RedisBackend:
    backend.forget([task_id])
    return backend


def _status(info: TaskInfo | None) -> TaskStatus | None:
    return None if info is None else info.status


@pytest.mark.parametrize("name", OPERATIONS)
def test_each_operation_is_possible_in_a_new_process(full: Full, name: str) -> None:
    """It works as the first operation of that process."""
    operation, wanted = OPERATIONS[name]
    backend = full.open()

    assert operation(full, backend) == wanted

    backend.close()


def test_new_work_is_refused(full: Full) -> None:
    """The error says what to do, and nothing has changed."""
    backend = full.open()

    with pytest.raises(StoreFullError, match="raise its maxmemory or delete tasks"):
        backend.enqueue([Message("new", "job")])
    with pytest.raises(StoreFullError, match="raise its maxmemory or delete tasks"):
        backend.adopt([TaskInfo("new", TaskStatus.PENDING, Message("new", "job"))])

    assert backend.show(["new"]) == [None]
    assert backend.depth().ready == 4 + 3
    backend.close()


def test_workers_start_and_drain(full: Full) -> None:
    """Also one with another lease, and one that finds nothing to do."""
    backend = full.open(lease=10_000)
    assert backend.lease_ms() == 10_000
    while claimed := backend.claim("two", 99, 0):
        settlements = [Settlement(one.receipt, Done(), Record(one.message.id, TaskStatus.SUCCESS)) for one in claimed]
        assert all(backend.settle(settlements))

    assert backend.claim("three", 1, 0) == []
    assert backend.depth().ready == 0
    assert {one.name for one in backend.consumers()} >= {"one", "two"}
    backend.close()


def test_a_store_of_results(full: Full) -> None:
    """Results of another broker's tasks are kept, waited for and read."""
    results = RedisResults(ConnectionConfig.from_url(full.url), StoreOptions("q"))
    assert results.wait(["elsewhere"], 20) == [None]

    results.put([Record("elsewhere", TaskStatus.SUCCESS, b"7")])

    (record,) = results.wait(["elsewhere"], 0)
    assert record is not None
    assert record.value == b"7"
    results.close()


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("info", "cg"),
        ("tasks --state started", "running"),
        ("failed", "buried"),
        ("retry buried", "retried: 1"),
        ("purge -y --failed", "deleted: 1"),
        ("task running", "STARTED"),
        ("cancel ready1 running", "cancelled: 2"),
        ("delete -y ready1 buried", "deleted: 2"),
        ("purge -y --all", "deleted: "),
        ("groups", "cg"),
        ("remove-group -y cg", "removed"),
    ],
)
def test_the_command_line(full: Full, command: str, said: str) -> None:
    """It can show what fills the server, and make room."""
    environment = {"PYXQUEUE_URL": full.url, "PYXQUEUE_QUEUE": "q"}

    result = CliRunner().invoke(main, command.split(), env=environment, catch_exceptions=False)

    assert (result.exit_code, result.stderr) == (0, "")
    assert said in result.stdout
