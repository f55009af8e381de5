"""Calls that return when a replica, or a disk, has what they stored."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from pyxqueue import (
    AsyncResult,
    BrokerUnavailableError,
    ConfigurationError,
    NotDurableError,
    Task,
    TaskQueue,
    Unique,
)
from pyxqueue.backends.redis import ConnectionConfig
from pyxqueue.backends.redis.confirming import Confirmer
from pyxqueue.backends.redis.durability import Durability
from pyxqueue.backends.redis.replicas import Replicas
from pyxqueue.testing import drain
from pyxqueue.testing.servers import Server, ServerKind
from tests.conftest import kinds_to_test

from .conftest import KIND
from .servers import ask, cluster, replicated

Job = Task[[int], int]
CALLS: dict[str, Callable[..., object]] = {
    "call": lambda job, **options: job.with_options(task_id="one", **options)(1),
    "asyncio": lambda job, **options: run(job.with_options(task_id="one", **options).aenqueue(1)),
    "map": lambda job, **options: job.with_options(**options).map([[1], [2]], task_ids=["one", "two"]),
    "asyncio map": lambda job, **options: run(job.with_options(**options).amap([[1], [2]], task_ids=["one", "two"])),
    "unique": lambda job, **options: job.with_options(task_id="one", unique=Unique(), **options)(1),
    "asyncio unique": lambda job, **options: run(
        job.with_options(task_id="one", unique=Unique(), **options).aenqueue(1)
    ),
}
"""Each enqueues a task with the id one."""


def run(awaitable: Awaitable[object]) -> object:
    return asyncio.run(as_coroutine(awaitable))


async def as_coroutine(awaitable: Awaitable[object]) -> object:
    return await awaitable


@pytest.fixture(scope="module")
def two() -> Iterator[Sequence[Server]]:
    """A master and its replica."""
    with replicated(KIND) as two:
        yield two


@pytest.fixture
def master(two: Sequence[Server]) -> Server:
    return two[0]


@pytest.fixture
def replica(two: Sequence[Server]) -> Iterator[Server]:
    """A test may pause it."""
    yield two[1]
    two[1].resume()


@pytest.fixture
def queue(master: Server, stream_key: str) -> Iterator[TaskQueue]:
    """It waits for a replica."""
    with closing(TaskQueue(f"{master.url}?durability=replica", stream_key)) as queue:
        yield queue


@contextmanager
def unconfirmed(patience: int = 100) -> Iterator[pytest.ExceptionInfo[NotDurableError]]:
    """A call in it is not confirmed, and does not wait for that for long."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pyxqueue.backends.redis.durability.PATIENCE_MS", patience)
        with pytest.raises(NotDurableError) as raised:
            yield raised


def job_of(queue: TaskQueue) -> Job:
    return queue.task(name="job")(double)


def double(value: int) -> int:
    return value * 2


@pytest.mark.parametrize("kind", kinds_to_test())
def test_what_returned_is_on_the_replica(kind: ServerKind) -> None:
    """However it was called, with a bound and without: the replica is promoted as soon as all calls have returned, and
    has their tasks."""
    ways = {f"{how.replace(' ', '-')}-{bound}": (CALLS[how], bound) for how in CALLS for bound in (None, 100)}
    with replicated(kind) as (master, replica):
        for name, (call, bound) in ways.items():
            with closing(TaskQueue(f"{master.url}?durability=replica", name, max_length=bound)) as queue:
                call(job_of(queue))
        master.kill()
        ask(replica, "REPLICAOF", "NO", "ONE")
        for name in ways:
            with closing(TaskQueue(replica.url, name)) as promoted:
                job_of(promoted)
                drain(promoted)

                assert promoted.result("one").get(5) == 2


@pytest.mark.parametrize("kind", kinds_to_test())
def test_what_a_failover_loses_was_not_confirmed(kind: ServerKind) -> None:
    """A replica that is cut off does not have what a plain call stored, nor what a durable call said may be lost."""
    with replicated(kind) as (master, replica):
        durable, plain = TaskQueue(f"{master.url}?durability=replica"), TaskQueue(master.url)
        with closing(durable), closing(plain), closing(TaskQueue(replica.url)) as promoted:
            kept = [job_of(durable)(value).task_id for value in range(20)]
            ask(replica, "REPLICAOF", "127.0.0.1", 1)
            lost = job_of(plain)(1).task_id
            with unconfirmed() as raised:
                job_of(durable)(2)
            master.kill()
            ask(replica, "REPLICAOF", "NO", "ONE")

            found = promoted.stores.backend.show([*kept, lost, *raised.value.ids])
            assert [one is not None for one in found] == [True] * 20 + [False] * 2


@pytest.mark.parametrize("how", CALLS)
def test_what_no_replica_confirmed_is_said(master: Server, replica: Server, stream_key: str, how: str) -> None:
    """However often it is called: one that finds its task stored, on a connection that has written nothing, says so
    too."""
    url = f"{master.url}?durability=replica"
    replica.pause()
    for _ in range(2):
        with closing(TaskQueue(url, stream_key)) as queue, unconfirmed() as raised:
            CALLS[how](job_of(queue))

        assert isinstance(raised.value, BrokerUnavailableError)
        assert "not confirmed to be on 1 replica: 0 of 1 answered within 0.1 s" in str(raised.value)
        assert (raised.value.acknowledged, raised.value.wanted) == (0, 1)
        assert raised.value.ids == (("one", "two") if "map" in how else ("one",))
    replica.resume()
    with closing(TaskQueue(url, stream_key)) as queue:
        CALLS[how](job_of(queue))


@pytest.mark.usefixtures("replica")
def test_more_replicas_than_there_are(master: Server, stream_key: str) -> None:
    """The number is that of the URL, and the error says how many have confirmed."""
    with closing(TaskQueue(f"{master.url}?durability=replica&replicas=2", stream_key)) as queue:
        with unconfirmed(1_000) as raised:
            job_of(queue)(1)

        assert (raised.value.acknowledged, raised.value.wanted) == (1, 2)


@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=[] if kind in (KIND, "redis62") else pytest.mark.soak) for kind in kinds_to_test()],
)
def test_each_replica_confirms(kind: ServerKind, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that has left its master just now, in threads and in asyncio: it may be the master of tomorrow. After a
    while it does not count any more."""
    with replicated(kind, replicas=2) as servers:
        master, first, second = servers
        with closing(TaskQueue(f"{master.url}?durability=replica")) as queue:
            job = job_of(queue)
            assert "each replica that is connected" in str(queue.admin.info().store)
            first.pause()
            for _ in range(2):  # the first call learns that there are two
                with unconfirmed() as raised:
                    job(1)
                assert raised.value.wanted == 2
            first.resume()
            run(job.aenqueue(2))
            ask(second, "REPLICAOF", "NO", "ONE")
            with closing(TaskQueue(f"{master.url}?durability=replica", "other")) as other:
                for one in (job, job_of(other)):  # what one queue knows, all of the process know
                    with unconfirmed() as raised:
                        run(one.aenqueue(3))
                    assert "of 2 answered" in str(raised.value)
            monkeypatch.setattr("pyxqueue.backends.redis.replicas._KEPT", 0.0)
            assert job(5).created


def said(master: str, offset: int = 1, **replicas: str) -> bytes:
    """What a master says: how much it has, and of each replica its state, how much it has, and since when."""
    lines = [f"master_replid:{master}", f"master_repl_offset:{offset}"]
    for number, (name, text) in enumerate(replicas.items()):
        state, has, lag, *port = text.split()
        lines.append(f"slave{number}:ip={name},port={port[0] if port else 1},state={state},offset={has},lag={lag},x=y")
    return "\r\n".join(["# Replication", "role:master", *lines, ""]).encode()


HAS_IT, IS_BEHIND = "online 1 0", "online 0 0"


@pytest.mark.parametrize("master", ["old", "new"])
def test_who_confirms_is_who_has_it(master: str) -> None:
    """A failover may come between two waits. The new master confirms what it has; that may not be what was stored."""
    replicas = Replicas()
    confirming = Confirmer(Durability("replica"), "q", "redis://h", lambda: replicas).confirm(["a"])
    next(confirming)
    confirming.send([said("old", a=IS_BEHIND), 0, said("old", a=IS_BEHIND)])
    with pytest.raises(StopIteration if master == "old" else NotDurableError):
        confirming.send([said(master, a=HAS_IT), 1, said(master, a=HAS_IT)])


@pytest.mark.parametrize(
    ("before", "now", "wanted"),
    [
        (said("m", a=HAS_IT), said("m", a=HAS_IT), (1, 1)),
        (said("m"), said("m"), (0, 1)),
        (said("m", a=IS_BEHIND, b=HAS_IT), said("m", a=HAS_IT, b=HAS_IT), (2, 2)),
        (said("m", a=HAS_IT, b=HAS_IT), said("m", b=HAS_IT), (1, 2)),  # it has left meanwhile
        (said("m", a=HAS_IT), said("m", b=HAS_IT), (1, 2)),  # another one does not stand for it
        (said("m", a=HAS_IT), said("m", a=HAS_IT, b=IS_BEHIND), (1, 2)),
        (said("m", a=HAS_IT), said("m", a=HAS_IT, b="wait_bgsave 1 0"), (1, 1)),  # it is still being filled
        (said("m", a=HAS_IT), said("m", a=HAS_IT, b="online 1 10"), (1, 1)),  # it hangs
        (said("m", a=HAS_IT), said("m", a="online 1 -1"), (1, 1)),  # by the clock that the server has at hand
        (said("m", a=HAS_IT), said("m", a=HAS_IT, tool="online 0 0 0"), (1, 1)),  # it only reads along
        (said("m", a=HAS_IT), said("n", a=HAS_IT), (0, 1)),
        (said("m", 2, a=HAS_IT), said("m", 2, a=HAS_IT), (0, 1)),
    ],
)
def test_each_replica_that_counts_has_it(before: bytes, now: bytes, wanted: tuple[int, int]) -> None:
    """Those that are there before and after the wait, each by its address."""
    assert Replicas().confirmed(before, now) == wanted


def test_a_replica_that_has_left_counts_for_a_while() -> None:
    """Ten seconds after it was first missed; each by itself, and for each master."""
    now = [0.0]
    replicas = Replicas(lambda: now[0])

    def confirmed(said: bytes) -> tuple[int, int]:
        return replicas.confirmed(said, said)

    assert confirmed(said("m", a=HAS_IT, b=HAS_IT, c=HAS_IT)) == (3, 3)
    now[0] += 1_000  # nobody knows when it has left
    assert confirmed(said("m", b=HAS_IT, c=HAS_IT)) == (2, 3)
    now[0] += 9
    assert confirmed(said("m", c=HAS_IT)) == (1, 3)
    assert confirmed(said("n", b=HAS_IT)) == (1, 1)
    now[0] += 1
    assert confirmed(said("m", c=HAS_IT)) == (1, 2)  # a connection still leads to the old master
    assert replicas.last == 2
    now[0] += 9
    assert confirmed(said("m", c=HAS_IT)) == (1, 1)
    assert confirmed(said("m", a=HAS_IT, c=HAS_IT)) == (2, 2)


@pytest.mark.parametrize("what", ["flow", "schedule", "same schedule", "event", "retry", "adopted"])
def test_whatever_gives_the_queue_work_is_confirmed(queue: TaskQueue, replica: Server, what: str) -> None:
    """A repeat too, if the first is not."""
    store = STORES[what](queue, job_of(queue))
    replica.pause()
    for _ in range(2):
        with unconfirmed():
            store()
    replica.resume()

    store()


def a_flow(queue: TaskQueue, job: Job) -> Callable[[], object]:
    flow = queue.flow()
    flow.group([job.of(1), job.of(2)])
    return flow.enqueue


def a_schedule(queue: TaskQueue, job: Job) -> Callable[[], object]:
    return lambda: queue.schedules.upsert("hourly", job, 1, every=3600)


def the_same_schedule(queue: TaskQueue, job: Job) -> Callable[[], object]:
    queue.schedules.upsert("hourly", job, 1, every=3600)
    return a_schedule(queue, job)


def an_event(queue: TaskQueue, job: Job) -> Callable[[], object]:
    handle = job(1)
    return lambda: queue.send_event(handle.task_id, "go")


def a_retry(queue: TaskQueue, job: Job) -> Callable[[], object]:
    handle = job(1)
    drain(queue)
    return lambda: queue.stores.backend.requeue([handle.task_id])


def an_adopted_task(queue: TaskQueue, job: Job) -> Callable[[], object]:
    handle = job(1)
    tasks = [info for info in queue.stores.backend.show([handle.task_id]) if info is not None]
    queue.stores.backend.delete([handle.task_id])
    return lambda: queue.stores.backend.adopt(tasks)


STORES: dict[str, Callable[[TaskQueue, Job], Callable[[], object]]] = {
    "flow": a_flow,
    "schedule": a_schedule,
    "same schedule": the_same_schedule,
    "event": an_event,
    "retry": a_retry,
    "adopted": an_adopted_task,
}


def test_what_a_worker_settles_is_not_waited_for(queue: TaskQueue, replica: Server) -> None:
    """A settlement that is lost only runs the task again."""
    handle = job_of(queue)(1)
    replica.pause()

    drain(queue)

    assert handle.get(5) == 2


@pytest.mark.parametrize("how", CALLS)
def test_a_call_may_be_more_or_less_durable_than_its_queue(
    queue: TaskQueue, master: Server, replica: Server, stream_key: str, how: str
) -> None:
    """Its own option replaces that of the URL."""
    replica.pause()
    CALLS[how](job_of(queue), durability="normal")
    with closing(TaskQueue(master.url, stream_key)) as plain, unconfirmed():
        CALLS[how](job_of(plain), durability="replica")


def test_a_flow_with_a_durable_call(master: Server, replica: Server, stream_key: str) -> None:
    """It is enqueued as a whole, so it has one durability."""
    with closing(TaskQueue(master.url, stream_key)) as queue:
        job = job_of(queue)
        replica.pause()
        flow = queue.flow()
        flow.add(job.with_options(durability="replica"), 1)
        flow.add(job, 2)
        with unconfirmed():
            flow.enqueue()
        flow.add(job.with_options(durability="normal"), 3)
        with pytest.raises(ConfigurationError, match="normal and replica: a flow is enqueued as a whole"):
            flow.enqueue()


def test_a_cluster(stream_key: str) -> None:
    """The wait is at the node that has the queue, on the connection of the call, also while its slot is moved."""
    with cluster(KIND, replicas=3) as nodes, closing(TaskQueue(f"{nodes.url}?durability=replica", stream_key)) as queue:
        job = job_of(queue)
        here = nodes.masters.index(nodes.owner(stream_key))
        for number in (1, 2, 3):
            nodes.move(stream_key, nodes.masters[(here + number) % 3])
            assert job(number).created
            assert asyncio.run(enqueued(job, number)).created
        replica = nodes.replicas[nodes.masters.index(nodes.owner(stream_key))]
        replica.pause()
        for call in CALLS.values():
            for _ in range(2):
                with unconfirmed():
                    call(job)
            queue.stores.backend.delete(["one", "two"])


async def enqueued(job: Job, value: int) -> AsyncResult[int]:
    return await job.aenqueue(value)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ("durability=full", "for Redis it is normal, replica or aof"),
        ("durability=", "for Redis it is normal, replica or aof"),
        ("durability=replica&replicas=0", "a number from 1 to 100"),
        ("durability=replica&replicas=two", "a number from 1 to 100"),
    ],
)
@pytest.mark.parametrize("base", ["redis://h", "redis+sentinel://h/main", "redis+cluster://h,h2", "unix:///s"])
def test_options_that_cannot_be(base: str, options: str, text: str) -> None:
    """The error says what can."""
    with pytest.raises(ConfigurationError, match=text):
        ConnectionConfig.from_url(f"{base}?{options}")


def test_the_options_are_not_the_driver_s() -> None:
    """They are taken out of the URL, wherever they are, and the others are left."""
    config = ConnectionConfig.from_url("redis://h/1?durability=aof&socket_keepalive=yes&replicas=2")

    assert config.durability == Durability("aof", 2)
    assert config.identity == ConnectionConfig.from_url("redis://h/1?socket_keepalive=yes").identity


@pytest.mark.parametrize("url", ["memory://", "sqlite:///{folder}/q.db"])
def test_a_store_whose_calls_have_no_durability(url: str, tmp_path: Path) -> None:
    """The error says so."""
    with closing(TaskQueue(url.format(folder=tmp_path))) as queue:
        job = job_of(queue).with_options(durability="replica")

        with pytest.raises(ConfigurationError, match="does not support durability= of a call"):
            job(1)


@pytest.mark.parametrize("command", ["wait", "info"])
def test_a_user_who_may_not_wait(master: Server, stream_key: str, command: str) -> None:
    """The error says what to allow."""
    ask(master, "ACL", "SETUSER", "shop", "reset", "on", ">secret", "allkeys", "allchannels", "+@all", f"-{command}")
    url = f"redis://shop:secret@127.0.0.1:{master.port}?durability=replica"
    with closing(TaskQueue(url, stream_key)) as queue, closing(TaskQueue(f"{url}&replicas=1", stream_key)) as other:
        with pytest.raises(ConfigurationError, match=rf"may not run {command.upper()}.*\+{command}"):
            job_of(queue)(1)
        assert queue.stores.backend.depth().ready == 0, "something is stored before the error"
        if command == "info":  # which replicas there are needs it
            assert job_of(other)(1).created


def version(server: Server) -> tuple[int, ...]:
    return tuple(map(int, ask(server, "INFO", "server")["redis_version"].split(".")))


@pytest.mark.parametrize("kind", kinds_to_test())
def test_the_disk(kind: ServerKind, stream_key: str) -> None:
    """What returned is in the append-only file; a server without one, or without WAITAOF, is refused before anything
    is stored."""
    args = ("--appendonly", "yes", "--appendfsync", "everysec")
    with Server(kind, args=args) as server, closing(TaskQueue(f"{server.url}?durability=aof", stream_key)) as queue:
        if version(server) < (7, 2):
            with pytest.raises(ConfigurationError, match=r"durability=aof needs a server with WAITAOF.*7\.2"):
                job_of(queue)(1)
            assert ask(server, "XLEN", stream_key) == 0
            return
        handle = job_of(queue)(1)
        server.kill()
        server.restart()
        job_of(queue)
        drain(queue)

        assert handle.get(5) == 2
        ask(server, "CONFIG", "SET", "appendonly", "no")
        with pytest.raises(ConfigurationError, match="set appendonly yes"):
            job_of(queue)(2)


@pytest.mark.parametrize(("fsync", "options", "acknowledged"), [("no", "", 0), ("always", "&replicas=1", 1)])
def test_what_no_disk_confirmed_is_said(fsync: str, options: str, acknowledged: int, stream_key: str) -> None:
    """The server has left it to the system when its file is on the disk, or there is no replica whose disk has it."""
    with Server(KIND, args=("--appendonly", "yes", "--appendfsync", fsync)) as server:
        if version(server) < (7, 2):
            pytest.skip("the server has no WAITAOF")
        with closing(TaskQueue(f"{server.url}?durability=aof{options}", stream_key)) as queue, unconfirmed() as raised:
            job_of(queue)(1)

    assert (raised.value.acknowledged, raised.value.wanted) == (acknowledged, acknowledged + 1)
