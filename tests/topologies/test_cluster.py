"""Queues in a cluster: each has one slot, and so one node."""

from __future__ import annotations

import asyncio
import gc
import itertools
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.asyncio.cluster import RedisCluster as AsyncRedisCluster
from redis.cluster import RedisCluster
from redis.crc import key_slot
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from pyxqueue import (
    AsyncResult,
    BrokerUnavailableError,
    ConfigurationError,
    Task,
    TaskQueue,
    UnknownTaskError,
)
from pyxqueue.backends.redis import ConnectionConfig, steps
from pyxqueue.backends.redis.cluster import key_of
from pyxqueue.backends.redis.connect import execute_together
from pyxqueue.testing import drain
from pyxqueue.testing.servers import Server, ServerKind
from tests.conftest import kinds_to_test
from tests.support.until import PATIENCE, until

from .conftest import KIND
from .servers import Nodes, ask, cluster, follows, leads
from .users import told, users


@pytest.fixture(params=["url", "client"])
def place(nodes: Nodes, request: pytest.FixtureRequest) -> Iterator[object]:
    """The cluster, as a URL and as a client."""
    if request.param == "url":
        yield nodes.url
    else:
        with closing(RedisCluster(host="127.0.0.1", port=nodes.masters[0].port)) as client:
            yield client


def test_queues_on_several_nodes(nodes: Nodes, place: object, stream_key: str) -> None:
    """Each is used on the node that has its slot, in threads and in asyncio, and shown as it is there."""
    names = [name for server in nodes.masters for name in [name_on(nodes, server, stream_key)]]
    for number, name in enumerate(names):
        with closing(TaskQueue(place, name)) as queue:
            job = queue.task(name="job")(double)
            handle = job(number)

            assert asyncio.run(doubled(job, queue)) == 42
            assert handle.get(5) == 2 * number
            assert nodes.owner(name) is nodes.masters[number]
            depth = queue.admin.info().depth
            assert depth is not None
            assert depth.history == 2
            assert type(queue.stores.producer).__name__ == "AsyncRedisProducer"
            page = queue.admin.queues()
            assert page is not None
            assert name in [one.queue for one in page.queues]


async def doubled(job: Task[[int], int], queue: TaskQueue) -> int:
    handle = await job.aenqueue(21)
    await asyncio.to_thread(drain, queue)
    return await handle


def double(value: int) -> int:
    return value * 2


def name_on(nodes: Nodes, server: object, prefix: str) -> str:
    """Return a queue's name whose slot a server has."""
    return next(name for number in range(1_000) if nodes.owner(name := f"{prefix}-{number}") is server)


def test_what_is_said_of_the_server_is_of_the_queue_s_node(nodes: Nodes, stream_key: str) -> None:
    """The nodes of a cluster may have different settings."""
    here, there = nodes.masters[1], nodes.masters[2]
    ask(there, "CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    with closing(TaskQueue(nodes.url, name_on(nodes, here, stream_key))) as queue:
        assert queue.admin.info().store["eviction"] == "noeviction"
    with closing(TaskQueue(nodes.url, name_on(nodes, there, stream_key))) as queue:
        assert queue.admin.info().store["eviction"].startswith("allkeys-lru: ")


def test_moves_of_the_slot_under_load(nodes: Nodes, stream_key: str) -> None:
    """Nothing is lost or refused while the slot goes from node to node ten times."""
    total, done = 400, list[object]()
    with closing(TaskQueue(nodes.url, stream_key)) as queue:
        job = queue.task(name="job")(same)
        handles = [job(-1)]

        def produce() -> None:
            handles.extend(called(job, value) for value in range(total))

        producing = threading.Thread(target=produce)
        producing.start()
        for move in range(10):
            others = [one for one in nodes.masters if one is not nodes.owner(stream_key)]
            nodes.move(stream_key, others[move % 2])
            with suppress(BrokerUnavailableError):
                drain(queue)
        producing.join()
        until(lambda: drained(queue), "the rest is done")
        done = [handle.get(10) for handle in handles]

    assert done == [-1, *range(total)]


def same(value: int) -> int:
    return value


def called(job: Task[[int], int], value: int) -> AsyncResult[int]:
    """Call the task under one id until that is accepted."""
    handle = until(lambda: once(job, value), "the call is accepted")
    assert handle is not None
    return handle


def once(job: Task[[int], int], value: int) -> AsyncResult[int] | None:
    with suppress(BrokerUnavailableError):
        return job.with_options(task_id=f"job-{value}")(value)
    return None


def drained(queue: TaskQueue) -> bool:
    with suppress(BrokerUnavailableError):
        drain(queue)
        depth = queue.admin.info().depth
        return depth is not None and depth.waiting + depth.in_flight == 0
    return False


def test_a_replica_takes_over(stream_key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The node of the queue is killed: what its replica had is done, and a wait goes on. It hears of the end."""
    monkeypatch.setattr(steps, "RECHECK", 3_600)
    with cluster(KIND, replicas=3) as nodes, closing(TaskQueue(nodes.url, stream_key)) as queue:
        job = queue.task(name="job")(lambda: "done")
        handles = [job() for _ in range(20)]
        old = nodes.owner(stream_key)
        with redis.Redis(port=old.port) as client:
            assert client.execute_command("WAIT", 1, 10_000) == 1
        got: list[object] = []
        waiting = threading.Thread(target=lambda: got.extend(handle.get(60) for handle in handles))
        waiting.start()
        old.kill()

        until(lambda: drained(queue), "the replica has taken over")
        waiting.join()

        assert got == ["done"] * 20
        assert asyncio.run(enqueued(job)).task_id


def test_what_a_promotion_has_lost_is_said(stream_key: str, caplog: pytest.LogCaptureFixture) -> None:
    """The replica was cut off before the call, and is promoted when the node is killed."""
    with cluster(KIND, replicas=3) as nodes, closing(TaskQueue(nodes.url, stream_key)) as queue:
        job = queue.task(name="job")(lambda: "done")
        kept = job()
        old = nodes.owner(stream_key)
        replica = nodes.replicas[nodes.masters.index(old)]
        with redis.Redis(port=old.port) as client:
            assert client.execute_command("WAIT", 1, 10_000) == 1
        replica.pause()
        ask(old, "CLIENT", "KILL", "TYPE", "replica")
        lost = [job(), asyncio.run(enqueued(job))]
        old.kill()
        replica.resume()
        ask(replica, "CLUSTER", "FAILOVER", "TAKEOVER")

        why = rf"the failover from \S+{old.port} to \S+{replica.port} has lost it"
        for one in lost:
            with pytest.raises(UnknownTaskError, match=why):
                one.get(30)

        until(lambda: drained(queue), "the replica has taken over")
        assert kept.get(30) == "done"
        (record,) = [one for one in caplog.records if "failover" in one.message]
        assert "lost 2 of the 3 tasks" in record.message
        assert [(one.name, one.lost) for one in queue.admin.statistics().totals if one.lost] == [("job", 2)]


async def enqueued(job: Task[[], str]) -> AsyncResult[str]:
    return await job.aenqueue()


@pytest.mark.parametrize("together", [False, True], ids=["alone", "together"])
@pytest.mark.parametrize("how", ["threads", "asyncio"])
def test_a_node_that_hangs(stream_key: str, monkeypatch: pytest.MonkeyPatch, how: str, together: bool) -> None:
    """A command to it is not sent again after a timeout, and later ones find the replica that has taken over: other
    nodes are asked which that is."""
    sent = count_attempts(monkeypatch)
    with cluster(KIND, replicas=3) as nodes, asyncio.Runner() as runner:
        config = ConnectionConfig.from_url(nodes.url)
        client: Any
        wanted: Any
        run: Callable[..., Any] = partial(on, runner)
        if how == "threads":
            client, run = config.open(timeout=0.5, retries=3), lambda function, *args: function(*args)
        else:
            client = config.open_async(timeout=0.5, retries=3)
        if together:
            length, wanted = partial(run, client.execute_together, stream_key, [("XLEN", stream_key)]), [0]
        else:
            length, wanted = partial(run, client.execute_command, "XLEN", stream_key), 0
        assert first_error(length()) == wanted
        hangs = nodes.owner(stream_key)
        hangs.pause()
        sent.clear()

        with pytest.raises(RedisTimeoutError):
            first_error(length())

        assert len(sent) == (0 if together else 1)
        if how == "asyncio" and not together:
            assert f"127.0.0.1:{hangs.port}" not in client.nodes_manager.startup_nodes
        until(lambda: answer(length) == wanted, "a command reaches the replica")
        run(client.close if how == "threads" else client.aclose)


def first_error(found: Any) -> Any:
    """Raise the error among replies, if there is one."""
    for one in found if isinstance(found, list) else ():
        if isinstance(one, Exception):
            raise one
    return found


def test_a_node_that_hangs_holds_up_no_calls_to_others(nodes: Nodes, stream_key: str) -> None:
    """However many coroutines wait for it."""
    hangs, answers = (name_on(nodes, server, stream_key) for server in nodes.masters[:2])

    async def outcomes() -> tuple[object, int]:
        client = ConnectionConfig.from_url(nodes.url).open_async(timeout=5, retries=1)
        await client.execute_command("XLEN", hangs)
        nodes.masters[0].pause()
        stuck = [asyncio.ensure_future(client.execute_command("XLEN", hangs)) for _ in range(20)]
        stuck.append(asyncio.ensure_future(client.execute_together(hangs, [("XLEN", hangs)])))
        found = (
            await asyncio.ensure_future(client.execute_command("XLEN", answers)),  # it begins after the others
            await client.execute_together(answers, [("XLEN", answers)]),
        )
        waiting = sum(not one.done() for one in stuck)
        nodes.masters[0].resume()
        await asyncio.gather(*stuck, return_exceptions=True)
        await client.aclose()
        return found, waiting

    try:
        assert asyncio.run(outcomes()) == ((0, [0]), 21)
    finally:
        nodes.masters[0].resume()


def on(runner: asyncio.Runner, function: Callable[..., Coroutine[Any, Any, Any]], *args: Any) -> Any:
    return runner.run(function(*args))


def count_attempts(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Note each attempt of a cluster client to send a command."""
    sent: list[object] = []
    for kind in (RedisCluster, AsyncRedisCluster):
        attempt: Any = kind._execute_command

        def noted(self: Any, node: Any, *args: Any, attempt: Any = attempt, **options: Any) -> Any:
            sent.append(args)
            return attempt(self, node, *args, **options)

        monkeypatch.setattr(kind, "_execute_command", noted)
    return sent


def answer(length: Callable[[], Any]) -> Any:
    with suppress(RedisError):
        return length()
    return None


def test_a_program_that_starts_while_a_node_is_away(stream_key: str) -> None:
    """It uses queues on the others, in threads and in asyncio."""
    with cluster(KIND, args=("--cluster-require-full-coverage", "no")) as nodes:
        away, stays = nodes.masters[:2]  # redis-py would ask the first one for a table of commands
        name = name_on(nodes, stays, stream_key)
        away.kill()
        with closing(TaskQueue(nodes.url, name)) as queue:
            job = queue.task(name="job")(lambda: "done")
            handles = [asyncio.run(enqueued(job)), job()]
            drain(queue)
            assert [handle.get(10) for handle in handles] == ["done", "done"]


CLUSTER = ("--cluster-enabled", "yes", "--cluster-node-timeout", "1000")


def test_a_node_that_no_client_knows() -> None:
    """The first slot of a new master is being moved to it: it has none yet, so no list of slots names it."""
    with cluster(KIND, masters=1) as nodes, Server(KIND, args=CLUSTER) as new:
        config = ConnectionConfig.from_url(nodes.url)
        client = config.open(timeout=5, retries=1)

        async def main() -> None:
            aclient = config.open_async(timeout=5, retries=1)
            assert client.execute_command("HGET", "a", "b") is None
            assert await aclient.execute_command("HGET", "a", "b") is None  # both have read the list
            await asyncio.to_thread(nodes.meet, new)
            for key in ("call", "acall", "together", "atogether"):
                nodes.begin_move(key_slot(key.encode()), nodes.masters[0], new)

            client.execute_command("HSET", "call", "b", "1")
            await aclient.execute_command("HSET", "acall", "b", "1")
            assert execute_together(client, "together", _about("together")) == [1, b"1"]
            assert await aclient.execute_together("atogether", _about("atogether")) == [1, b"1"]
            await aclient.aclose()

        asyncio.run(main())
        client.close()
        assert set(ask(new, "KEYS", "*")) == {"call", "acall", "together", "atogether"}


def _about(key: str) -> list[tuple[str, ...]]:
    return [("HSET", key, "b", "1"), ("HGET", key, "b")]


@pytest.mark.soak
@pytest.mark.parametrize("kind", kinds_to_test())
def test_three_promotions(kind: ServerKind, stream_key: str) -> None:
    """The node of the queue is killed three times, its replica is promoted, and it comes back as a replica. Of the
    calls that waited for the replica, in threads and in asyncio, none that returned is lost."""
    with cluster(kind, replicas=3) as nodes, closing(TaskQueue(f"{nodes.url}?durability=replica", stream_key)) as queue:
        job = queue.task(name="job")(same)
        old = nodes.owner(stream_key)
        new = nodes.replicas[nodes.masters.index(old)]
        handles: list[AsyncResult[int]] = []
        for number in range(3):
            handles += [called(job, value) for value in range(200 * number, 200 * number + 100)]
            handles += asyncio.run(acalled(job, range(200 * number + 100, 200 * number + 200)))
            old.kill()
            until(lambda new=new: ask(new, "ROLE")[0] == "master", "the replica is promoted", 60)  # type: ignore[misc]
            old.restart()
            until(lambda old=old: follows(old), "the killed one follows it", 60)  # type: ignore[misc]
            old, new = new, old
        until(lambda: drained(queue), "the rest is done")

        assert [handle.get(30) for handle in handles] == list(range(600))


@pytest.mark.soak
@pytest.mark.parametrize("kind", kinds_to_test())
def test_how_soon_everybody_is_back(kind: ServerKind, stream_key: str, tmp_path: Path) -> None:
    """The node of the queue is killed, or hangs: calls, waits and workers go on soon after the promotion."""
    with cluster(kind, replicas=3) as nodes, users(nodes.url, stream_key, tmp_path) as running:
        old = nodes.owner(stream_key)
        new = nodes.replicas[nodes.masters.index(old)]
        times = {how: list[dict[str, float]]() for how in ("killed", "hangs")}
        for how in [*times, *times]:
            old.kill() if how == "killed" else old.pause()
            until(partial(leads, new), "the replica is promoted", 60)
            times[how].append(running.back(time.monotonic()))
            old.restart() if how == "killed" else old.resume()
            until(partial(follows, old), "the old one follows it", 60)
            old, new = new, old
        for how, found in times.items():
            # Each command that the hung server already has takes its five seconds.
            told(f"Cluster, {kind}, the node {how}", found, limit=15 if how == "hangs" else 5)


async def acalled(job: Task[[int], int], values: range) -> list[AsyncResult[int]]:
    """Call the task in asyncio for each value, each until that is accepted."""
    handles = []
    for value in values:
        task = job.with_options(task_id=f"job-{value}")
        deadline = time.monotonic() + PATIENCE
        while True:
            with suppress(BrokerUnavailableError):
                handles.append(await task.aenqueue(value))
                break
            assert time.monotonic() < deadline, "a call is accepted"
    return handles


@pytest.mark.soak
@pytest.mark.parametrize("kind", kinds_to_test())
def test_a_fourth_master(kind: ServerKind, stream_key: str) -> None:
    """A node joins and gets a quarter of all slots while queues on all of them are used: nothing is lost."""
    with ExitStack() as stack:
        nodes, new = stack.enter_context(cluster(kind)), stack.enter_context(Server(kind, args=CLUSTER))
        queues = [stack.enter_context(closing(TaskQueue(nodes.url, f"{stream_key}-{number}"))) for number in range(12)]
        jobs = [queue.task(name="job")(same) for queue in queues]
        handles: list[AsyncResult[int]] = []
        over = threading.Event()

        def produce() -> None:
            for value in itertools.count():
                if over.is_set():
                    return
                handles.append(called(jobs[value % len(jobs)], value))

        producing = threading.Thread(target=produce)
        producing.start()
        try:
            grown = nodes.joined(new)
        finally:
            over.set()
            producing.join()
        for queue in queues:
            until(lambda queue=queue: drained(queue), "the rest is done")  # type: ignore[misc]

        assert [handle.get(30) for handle in handles] == list(range(len(handles)))
        assert {grown.owner(queue.stream_key) for queue in queues} == {*grown.masters}


@pytest.mark.parametrize(
    ("command", "key"),
    [
        (("EVALSHA", "sha", 2, "{q}:a", "{q}:b", "x"), "{q}:a"),
        (("XREADGROUP", "GROUP", "g", "c", "COUNT", 1, "BLOCK", 5, "STREAMS", "q", "{q}:b", ">", ">"), "q"),
        (("XINFO", "GROUPS", "q"), "q"),
        (("XGROUP", "DELCONSUMER", "q", "g", "c"), "q"),
        (("HMGET", b"{q}:meta", "a"), b"{q}:meta"),
        (("TIME",), None),
        (("CONFIG GET", "save"), None),
    ],
)
def test_the_key_of_a_command(command: tuple[object, ...], key: object) -> None:
    """It is known without asking a node."""
    assert key_of(command) == key


def test_a_cluster_has_no_other_database() -> None:
    """The error says what to write."""
    with pytest.raises(ConfigurationError, match=r"redis\+cluster://user:password@host:6379,host2:6379"):
        TaskQueue("redis+cluster://127.0.0.1:1/2").task(name="job")(lambda: None)()


def test_a_cluster_that_is_not_there() -> None:
    """A queue can be made before its cluster runs; a call raises the error of an outage."""
    queue = TaskQueue("redis+cluster://127.0.0.1:1,127.0.0.1:2")

    with pytest.raises(BrokerUnavailableError, match=r"127\.0\.0\.1:1, 127\.0\.0\.1:2"):
        queue.task(name="job")(lambda: None)()


# Of nodes that redis-py drops. As an error, the warning would hold them, until they are collected in a later test.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_client_that_closes_its_connections_under_way(nodes: Nodes, stream_key: str) -> None:
    """The commands of other coroutines are done, or fail as with any connection that breaks."""

    async def outcomes(ticks: int) -> list[object]:
        client = ConnectionConfig.from_url(nodes.url).open_async(timeout=5, retries=1)
        assert isinstance(client, AsyncRedisCluster)
        await client.execute_command("HGETALL", stream_key)
        together = client.execute_together(stream_key, [("EXISTS", stream_key)])
        asked = [asyncio.ensure_future(one) for one in (client.execute_command("EXISTS", stream_key), together)]
        for _ in range(ticks):
            await asyncio.sleep(0)
        await AsyncRedisCluster.aclose(client)  # as redis-py does for a command when the cluster is down
        found = await asyncio.gather(*asked, return_exceptions=True)
        await client.aclose()
        return list(found)

    def check(ticks: int) -> None:
        for outcome in asyncio.run(outcomes(ticks)):
            assert outcome in (0, [0]) or isinstance(outcome, RedisConnectionError), (ticks, outcome)

    for ticks in range(20):
        check(ticks)
    gc.collect()  # here, and not in another test, what the outcomes have held
