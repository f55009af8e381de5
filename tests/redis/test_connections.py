"""Connections: what the queues of a process share and close, and what becomes of calls when connections are dead."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from typing import Any

import pytest
import redis
from redis import Redis
from redis.cluster import RedisCluster
from redis.exceptions import RedisClusterException

from pyxqueue import BrokerError, BrokerUnavailableError, ResultTimeoutError, TaskQueue
from pyxqueue.backends.redis import ConnectionConfig, RedisBackend, open_backend
from pyxqueue.backends.redis.connect import _KEEPALIVE, _merged
from pyxqueue.backends.redis.direct import DirectClient
from pyxqueue.backends.redis.listening import Channel
from pyxqueue.ids import new_id
from pyxqueue.model.message import Message, evolve
from pyxqueue.protocols import DEFAULT_LEASE_MS, StoreOptions
from pyxqueue.testing import drain
from pyxqueue.testing.servers import Server
from tests.conftest import kinds_to_test
from tests.support.proxy import Proxy
from tests.support.until import until

MANY = 200
KIND = kinds_to_test()[0]


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(KIND) as server:
        yield server


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    with Proxy(server.port) as proxy:
        yield proxy


def backend_at(url: str, name: str = "tasks") -> RedisBackend:
    return open_backend(url, StoreOptions(name))


def notifiers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "pyxqueue-notifier"]


def connections(server: Server) -> int:
    """The number of connections, without that of this function."""
    with Redis.from_url(server.url, protocol=2) as client:
        return len(client.client_list()) - 1


def wait_in_vain(queue: TaskQueue) -> None:
    with pytest.raises(ResultTimeoutError):
        queue.task(name="never")(lambda: None)().get(0.001)


# Sharing


def test_many_queues_share_a_thread_and_a_few_connections(server: Server) -> None:
    """However many queues wait for results, one thread listens."""
    until(lambda: not notifiers(), "those of other tests have ended")
    with ExitStack() as stack:
        queues = [stack.enter_context(closing(TaskQueue(server.url, stream_key=f"q{n}"))) for n in range(MANY)]
        for queue in queues:
            wait_in_vain(queue)

        assert len(notifiers()) == 1
        assert connections(server) <= 4
        handles = [queue.task(name="job")(lambda: "done")() for queue in queues[:3]]
        got: list[object] = []
        threads = [threading.Thread(target=lambda one=one: got.append(one.get(20))) for one in handles]
        for thread in threads:
            thread.start()
        for queue in queues[:3]:
            drain(queue)
        for thread in threads:
            thread.join()
        assert got == ["done"] * 3

    until(lambda: not notifiers() and not connections(server), "closed queues leave nothing")


def test_a_queue_that_is_collected_leaves_nothing(server: Server) -> None:
    """Without `close`, its thread and its connections end, also those of asyncio."""
    until(lambda: not notifiers(), "those of other tests have ended")

    async def use() -> None:
        queue = TaskQueue(server.url)
        wait_in_vain(queue)
        await queue.task(name="other")(lambda: None).aenqueue()
        assert len(notifiers()) == 1
        assert connections(server) >= 2
        del queue
        gc.collect()
        until(lambda: not notifiers(), "the thread ends")
        for _ in range(1000):
            await asyncio.sleep(0.005)
            if not connections(server):
                return
        raise AssertionError("connections are left")

    asyncio.run(use())


def test_closing_a_queue_leaves_others_working(server: Server) -> None:
    """Also others on the same server."""
    with closing(TaskQueue(server.url, stream_key="a")) as stays:
        goes = TaskQueue(server.url, stream_key="b")
        wait_in_vain(goes)
        wait_in_vain(stays)
        goes.close()
        handle = stays.task(name="job")(lambda: "done")()
        with ThreadPoolExecutor(1) as threads:
            threads.submit(drain, stays)
            assert handle.get(20) == "done"
        wait_in_vain(goes)  # who uses it again, opens it again
        goes.close()


def test_different_servers_and_logins_share_nothing() -> None:
    """Neither do different databases or settings."""
    urls = [
        "redis://h/0",
        "redis://h/1",
        "redis://g/0",
        "redis://:a@h/0",
        "redis://:b@h/0",
        "rediss://h/0",
        "unix:///h",
    ]

    assert len({ConnectionConfig.from_url(url).identity for url in urls}) == len(urls)
    assert [ConnectionConfig.from_url(url).identity for url in urls] == [
        ConnectionConfig.from_url(url).identity for url in urls
    ]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_fork_has_its_own_connections(server: Server) -> None:
    """A child that uses or drops its parent's queue leaves the parent's connections alone."""
    with closing(backend_at(server.url)) as backend:
        backend.enqueue([Message("a", "job")])
        child = os.fork()
        if child == 0:
            code = 1
            with suppress(BaseException):
                backend.enqueue([Message("b", "job")])
                code = 0 if backend._session.link.pid == os.getpid() else 2
                del backend
                gc.collect()
            os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
        backend.enqueue([Message("c", "job")])
        assert backend.depth().ready == 3


# The listening thread


def test_a_callback_that_raises_keeps_no_other_waiter_asleep() -> None:
    """Whatever it raises, the other waiters are woken."""
    told: list[object] = []

    def fail(*_: object) -> None:
        raise RuntimeError("Event loop is closed")

    channel = Channel("any")
    with channel.watching(["a"], fail), channel.watching(["a"], lambda task_id, _: told.append(task_id)):
        channel.tell("a")
        channel.tell(None)

    assert told == ["a", None]


CLOSED_LOOP = """
import asyncio, sys, threading
from redis import Redis
from pyxqueue import TaskQueue
from pyxqueue.testing import drain

queue = TaskQueue(sys.argv[1])
task = queue.task(name="job")(lambda: "done")
handle, loop = task(), asyncio.new_event_loop()
waiting = loop.create_task(handle.aget())
loop.run_until_complete(asyncio.sleep(0))
while not Redis.from_url(sys.argv[1], protocol=2).pubsub_channels():
    loop.run_until_complete(asyncio.sleep(0.005))
loop.close()
before = threading.enumerate()
drain(queue)
other = task()
threading.Timer(0.2, drain, [queue]).start()
print(other.get(20), [one.name for one in before if one not in threading.enumerate()])
"""


def test_an_event_loop_that_is_closed_during_a_wait(server: Server) -> None:
    """The thread that wakes all waits of the process goes on."""
    ran = subprocess.run(
        [sys.executable, "-c", CLOSED_LOOP, server.url], capture_output=True, text=True, check=False, timeout=60
    )

    assert (ran.stdout, ran.returncode) == ("done []\n", 0), ran.stderr


@pytest.mark.parametrize("error", [RedisClusterException("none is reachable"), RuntimeError("a fault"), OSError("no")])
def test_the_listening_thread_survives_every_error(
    server: Server, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """It connects again, whatever the driver raises, and all waits end with their results."""
    open_, left = ConnectionConfig.open, [error, error]

    def failing(self: ConnectionConfig, *, timeout: float, retries: int) -> Any:
        if threading.current_thread().name == "pyxqueue-notifier" and left:
            raise left.pop()
        return open_(self, timeout=timeout, retries=retries)

    monkeypatch.setattr(ConnectionConfig, "open", failing)
    with closing(TaskQueue(server.url)) as queue:
        handle = queue.task(name="job")(lambda: "done")()
        got: list[object] = []
        waiting = threading.Thread(target=lambda: got.append(handle.get(20)))
        waiting.start()
        until(lambda: not left, "it has failed")
        drain(queue)
        waiting.join()

    assert got == ["done"]


# Dead connections


Call = Callable[[RedisBackend], object]


def message() -> Message:
    return Message(new_id(), "job")


def enqueue(backend: RedisBackend) -> object:
    return backend.enqueue([message()])


@pytest.fixture(params=["sync", "asyncio"])
def call(request: pytest.FixtureRequest) -> Iterator[Call]:
    """Enqueues, in a thread or on one event loop."""
    if request.param == "sync":
        yield enqueue
        return
    with asyncio.Runner() as runner:
        yield lambda backend: runner.run(aenqueue(backend))


async def aenqueue(backend: RedisBackend) -> object:
    return await backend.asynchronous().enqueue([message()])


def test_the_old_master_lives_on_as_a_replica(server: Server, proxy: Proxy, call: Call) -> None:
    """After a failover behind one address, connections to the old master cost at most one error."""
    with Server(KIND) as other, closing(backend_at(proxy.url)) as backend:
        call(backend)
        with Redis.from_url(server.url) as old:
            old.execute_command("REPLICAOF", "127.0.0.1", other.port)
        proxy.target = other.port

        with pytest.raises(BrokerUnavailableError, match=r"READONLY|ReadOnly|read only"):
            call(backend)
        assert call(backend) == [True]


@pytest.mark.parametrize("priority", [0, 10], ids=["one class", "classes"])
def test_a_claim_whose_reply_is_lost_is_not_repeated(server: Server, proxy: Proxy, priority: int) -> None:
    """What it handed out comes back when its lease ends; a repeated claim would hand out more, to nobody."""
    with closing(backend_at(server.url)) as producer, closing(backend_at(proxy.url)) as worker:
        producer.enqueue([evolve(message(), priority=priority)])
        assert len(worker.claim("w", 1, 0)) == 1
        producer.enqueue([evolve(message(), priority=priority) for _ in range(2)])
        command = b"EVALSHA" if priority else b"XREADGROUP"
        proxy.lose_reply_of(lambda said: command in said)

        with pytest.raises(BrokerUnavailableError):
            worker.claim("w", 1, 0)

        assert proxy.lost.is_set()
        assert (producer.depth().ready, producer.depth().in_flight) == (1, 2)


def test_connections_that_a_firewall_has_forgotten(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    """All idle ones together cost one call its time, not one call each."""
    monkeypatch.setattr("pyxqueue.backends.redis.session.REPLY_TIMEOUT", 0.5)
    at_once = threading.Barrier(4)
    with closing(backend_at(proxy.url)) as backend:
        enqueue(backend)
        client = backend._session.client
        assert isinstance(client, DirectClient)

        def hold() -> None:
            connection = client._take()
            at_once.wait(20)
            client._give_back(connection)

        threads = [threading.Thread(target=hold) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert proxy.freeze_all() == 4

        with pytest.raises(BrokerUnavailableError):
            backend.depth()
        for _ in range(8):
            assert backend.depth().ready == 1


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can be told to give up on a connection")
def test_the_kernel_notices_a_dead_connection_first(proxy: Proxy, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """If nothing is acknowledged, the command is sent on a new connection, without an error."""
    monkeypatch.setitem(_KEEPALIVE, socket.TCP_USER_TIMEOUT, 300)
    with closing(backend_at(proxy.url)) as backend:
        call(backend)
        assert proxy.deafen_all()

        assert call(backend) == [True]


def test_asyncio_connections_that_a_firewall_has_forgotten(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same on an event loop."""
    monkeypatch.setattr("pyxqueue.backends.redis.aio.REPLY_TIMEOUT", 0.5)

    async def use(backend: RedisBackend) -> None:
        side = backend.asynchronous()
        await asyncio.gather(*(side.enqueue([Message(name, "job")]) for name in "abcdefgh"))
        assert proxy.freeze_all() > 3
        with pytest.raises(BrokerUnavailableError):
            await side.show(["a"])
        for name in "abcdefgh":
            assert await side.show([name]) != [None]

    with closing(backend_at(proxy.url)) as backend:
        asyncio.run(use(backend))


# Errors of the driver


@pytest.mark.parametrize(
    "error", [RedisClusterException("none"), OSError("reset"), KeyError("slot"), TypeError("None")]
)
def test_no_error_of_the_driver_escapes(server: Server, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Not every one is a RedisError; those that mean that no server was found become outages."""
    expected = BrokerUnavailableError if isinstance(error, (RedisClusterException, OSError)) else BrokerError

    def fail(*_: object) -> None:
        raise error

    async def afail(*_: object) -> None:
        raise error

    with closing(backend_at(server.url)) as backend:
        enqueue(backend)
        monkeypatch.setattr(backend._session.client, "execute_command", fail)
        monkeypatch.setattr("redis.asyncio.Redis.execute_command", lambda self, *args: afail())
        for call in (enqueue, lambda one: asyncio.run(aenqueue(one))):
            with pytest.raises(expected) as raised:
                call(backend)
            assert raised.value.__cause__ is error


@pytest.fixture
def cluster() -> Iterator[Server]:
    """A cluster of one."""
    with Server(KIND, args=("--cluster-enabled", "yes", "--appendonly", "yes")) as server:
        with Redis.from_url(server.url, decode_responses=True) as client:
            client.execute_command("CLUSTER", "ADDSLOTS", *range(16_384))
            until(lambda: client.execute_command("CLUSTER INFO")["cluster_state"] == "ok", "it is a cluster")
        yield server


def test_an_outage_of_a_whole_cluster(cluster: Server) -> None:
    """Every call raises our error; afterwards all work goes on, and a wait ends with its result."""
    client = RedisCluster(host="127.0.0.1", port=cluster.port)
    with closing(TaskQueue(client)) as queue, closing(client):
        handle = queue.task(name="job")(lambda: "done")()
        backend = queue.stores.backend
        assert isinstance(backend, RedisBackend)
        got: list[object] = []
        waiting = threading.Thread(target=lambda: got.append(handle.get(30)))
        waiting.start()
        with Redis.from_url(cluster.url, protocol=2) as single:
            until(single.pubsub_channels, "the waiter listens")
        cluster.kill()
        for call in (enqueue, lambda one: one.claim("me", 1, 0), lambda one: one.maintain(1), lambda one: one.depth()):
            with pytest.raises(BrokerUnavailableError):
                call(backend)
        cluster.restart()
        until(lambda: answers(backend), "it is back")
        drain(queue)
        waiting.join()

    assert got == ["done"]


def answers(backend: RedisBackend) -> bool:
    with suppress(BrokerUnavailableError):
        backend.depth()
        return True
    return False


def test_an_interrupt_unblocks_no_other_read_in_a_cluster(cluster: Server) -> None:
    """The number of a connection means nothing on another node, so it is not used."""
    client = RedisCluster(host="127.0.0.1", port=cluster.port)
    with closing(open_backend(client, StoreOptions("tasks"))) as backend, closing(client):
        backend.claim("me", 1, 1)
        backend.interrupt()
        with Redis.from_url(cluster.url) as single:
            assert "cmdstat_client|unblock" not in single.info("commandstats")


# Signs of life, and what is said about the server


def idle_of(backend: RedisBackend) -> int:
    (consumer,) = backend.consumers()
    return consumer.idle_ms


def test_an_idle_worker_is_shown_as_alive(redis_url: str, stream_key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers before 7.2 do not count a read that finds nothing."""
    monkeypatch.setattr("pyxqueue.backends.redis.broker._SIGN_EVERY", 0)
    with closing(backend_at(redis_url, stream_key)) as backend:
        backend.claim("me", 1, 0)
        until(lambda: idle_of(backend) > 500, "it has been silent for a while")

        backend.claim("me", 1, 1)

        assert idle_of(backend) < 500


def test_signs_of_life_are_few(redis_url: str, stream_key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """There are none while there is work, and few while there is none."""
    with closing(backend_at(redis_url, stream_key)) as backend:
        said: list[object] = []
        execute = backend._session.execute

        def note(*args: Any, **options: Any) -> Any:
            said.append(args[0])
            return execute(*args, **options)

        monkeypatch.setattr(backend._session, "execute", note)
        backend.enqueue([Message("a", "job")])
        assert len(backend.claim("me", 1, 0)) == 1
        assert "XREADGROUP" not in said
        for _ in range(5):
            backend.claim("me", 1, 0)
        assert said.count("XREADGROUP") == 1


@pytest.mark.parametrize(
    ("appendonly", "fsync", "save", "words"),
    [
        ("no", "everysec", "", "none: a crash or a restart loses everything"),
        ("no", "everysec", "3600 1", "snapshots only: a crash loses what came after the last one"),
        ("yes", "everysec", "", "append-only file: a crash loses about the last second"),
        ("yes", "always", "", "append-only file: a crash loses nothing"),
        ("yes", "no", "", "append-only file: a crash loses its last writes"),
    ],
)
def test_what_a_crash_of_the_server_costs(server: Server, appendonly: str, fsync: str, save: str, words: str) -> None:
    """It depends on the append-only file and the snapshots together."""
    with Redis.from_url(server.url) as client, closing(backend_at(server.url)) as backend:
        for name, value in (("appendonly", appendonly), ("appendfsync", fsync), ("save", save)):
            client.config_set(name, value)

        assert backend.about()["persistence"].startswith(words)

        client.execute_command("ACL", "SETUSER", "default", "-config")
        kept = backend.about()["persistence"]
        assert kept.startswith("append-only file" if appendonly == "yes" else "no append-only file; snapshots are not")


@pytest.mark.parametrize("planted", [b"abc", b"", b"-1", b"1e9", b"\xff"])
def test_a_lease_that_is_not_a_number(redis_url: str, stream_key: str, planted: bytes) -> None:
    """If another program has overwritten it, the default counts, and no call fails."""
    with closing(backend_at(redis_url, stream_key)) as backend, Redis.from_url(redis_url) as client:
        enqueue(backend)
        client.hset(f"{{{stream_key}}}:meta", "lease:cg", planted)
        with closing(backend_at(redis_url, stream_key)) as other:
            assert other.lease_ms() == DEFAULT_LEASE_MS
            assert len(other.claim("me", 1, 0)) == 1
            assert other.maintain(10) == -1
            assert [one.name for one in other.consumers()] == ["me"]


@pytest.mark.skipif(not hasattr(redis, "DriverInfo"), reason="this redis-py reads its version once")
def test_a_connection_does_not_read_the_version_of_the_driver_again(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """redis-py reads it from files, for each connection that is not told."""
    config = ConnectionConfig.from_url(server.url)
    config.open(timeout=5, retries=0).close()
    monkeypatch.setattr("redis.utils.get_lib_version", lambda: pytest.fail("it was read again"))
    with closing(config.open(timeout=5, retries=0)) as client:
        assert client.execute_command("PING")


@pytest.mark.skipif(not hasattr(redis, "DriverInfo"), reason="an option of newer releases")
def test_a_cluster_is_told_the_name_that_its_client_was_given() -> None:
    """Ours does not take its place."""
    named, plain = (_merged(theirs, {}) for theirs in ({"lib_name": "shop"}, {}))

    assert "driver_info" not in named
    assert plain["driver_info"].name == "redis-py"
