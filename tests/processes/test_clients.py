"""A client given to a queue says where the store is; its other settings do not matter."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fakeredis
import pytest
import redis
from redis.cluster import RedisCluster
from redis.sentinel import Sentinel

from pyxqueue import ResultTimeoutError, TaskQueue
from pyxqueue.inflight import InFlightTable
from pyxqueue.testing.servers import Server, available
from pyxqueue.worker.executors import Inline
from pyxqueue.worker.interrupts import ThreadInterrupter
from pyxqueue.worker.serving import QueueParts
from pyxqueue.worker.worker import Worker
from tests.conftest import Servers
from tests.support.until import until


def works(client: Any, stream_key: str) -> None:
    """Enqueue, claim, run, settle and wait with this client."""
    queue = TaskQueue(client, stream_key=stream_key)

    @queue.task(name="double")
    def double(value: Any) -> Any:
        return value * 2

    handle = double(b"\xff\x00")
    assert handle(block=False) is None
    with pytest.raises(ResultTimeoutError):
        handle.get(0.01)
    core, stores = queue.core, queue.stores
    worker = Worker(
        [QueueParts(stores.backend, core.registry, core.codec)], Inline(ThreadInterrupter()), "w", InFlightTable()
    )
    assert worker.drain() == 1
    assert handle.get(10) == b"\xff\x00\xff\x00"
    assert stores.backend.depth().history == 1
    queue.close()


CLIENTS: list[Callable[[str], Any]] = [
    redis.Redis.from_url,
    lambda url: redis.Redis.from_url(url, decode_responses=True),
    lambda url: redis.Redis.from_url(url, protocol=3, socket_timeout=0.05),
    lambda url: redis.Redis.from_url(url, protocol=2, single_connection_client=True),
    str,
]


@pytest.mark.parametrize("make", CLIENTS, ids=["plain", "decoding", "resp3", "single", "url"])
def test_settings_of_the_client(servers: Servers, stream_key: str, make: Callable[[str], Any]) -> None:
    """pyxqueue uses its own decoding, protocol and timeouts, whatever the client has."""
    client = make(servers("valkey").url)

    works(client, stream_key)

    if not isinstance(client, str):
        client.close()


def test_a_unix_socket(stream_key: str) -> None:
    """Both a client and a URL may name its path."""
    with Server("valkey", unix_socket=True) as server, redis.Redis.from_url(server.url) as client:
        works(client, stream_key)
        works(server.url, f"{stream_key}-url")


def test_a_password(stream_key: str) -> None:
    """It is used, and no error shows it."""
    with Server("valkey", args=("--requirepass", "s3cret")) as server:
        url = f"redis://:s3cret@127.0.0.1:{server.port}/2"

        works(url, stream_key)
        with redis.Redis(port=server.port, password="s3cret", db=2) as client:
            works(client, f"{stream_key}-client")
            with pytest.raises(Exception, match=r"NOAUTH|Authentication") as refused:
                TaskQueue(url.replace("s3cret@", "wr0ng@"), stream_key="any").stores.backend.lease_ms()

    assert "wr0ng" not in str(refused.value)


@pytest.fixture
def tls(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """A port that only speaks TLS, and the certificate to trust."""
    if "path" not in available() or shutil.which("openssl") is None:
        pytest.skip("needs the system's redis-server, which has TLS, and openssl")
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost", "-addext",
         "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", certificate],
        check=True,
        capture_output=True,
    )  # fmt: skip
    args = ["--tls-port", "0", "--tls-auth-clients", "no"]
    for name, path in (("key", key), ("cert", certificate), ("ca-cert", certificate)):
        args += [f"--tls-{name}-file", str(path)]
    with Server("path", args=args) as server:
        with redis.Redis(port=server.port) as client:
            port = server.port + 1
            client.config_set("tls-port", port)
            yield port, certificate
        # What listens for results goes within its five seconds; redis-py leaks a socket when TLS cannot be set up
        # again.
        until(lambda: all(thread.name != "pyxqueue-notifier" for thread in threading.enumerate()), "no thread listens")


def test_tls(tls: tuple[int, Path], stream_key: str) -> None:
    """The certificate is checked, for a client and for a URL."""
    port, certificate = tls
    with redis.Redis(port=port, ssl=True, ssl_ca_certs=str(certificate)) as client:
        works(client, stream_key)
    works(f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={certificate}", f"{stream_key}-url")


def test_sentinel(stream_key: str) -> None:
    """The queue finds the master by its name."""
    with Server("valkey") as master, Server("valkey", args=("--sentinel",)) as sentinel:
        with redis.Redis(port=sentinel.port) as ask:
            ask.execute_command("SENTINEL", "MONITOR", "main", "127.0.0.1", master.port, 1)
        watch = Sentinel([("127.0.0.1", sentinel.port)], socket_timeout=5)
        with watch.master_for("main") as client:
            works(client, stream_key)
        for one in watch.sentinels:
            one.close()


def test_cluster(stream_key: str) -> None:
    """All keys of a queue are in one slot."""
    with Server("valkey", args=("--cluster-enabled", "yes")) as server:
        with redis.Redis(port=server.port) as node:
            node.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            until(lambda: b"cluster_state:ok" in _info(node), "the cluster is up")
        client = RedisCluster(host="127.0.0.1", port=server.port)
        works(client, stream_key)
        client.close()


def _info(node: redis.Redis) -> bytes:
    reply = node.execute_command("CLUSTER", "INFO")
    return reply if isinstance(reply, bytes) else str(reply).replace("'", "").replace(": ", ":").encode()


def test_fakeredis(stream_key: str) -> None:
    """For tests that need no server."""
    server = fakeredis.FakeServer()
    with fakeredis.FakeRedis(server=server) as client:
        works(client, stream_key)
