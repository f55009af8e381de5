"""The ways to reach a store: TLS, a user with few rights, IPv6, a Unix socket; on one server, through a Sentinel, in a
cluster."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import redis
from click.testing import CliRunner
from redis.sentinel import Sentinel

from pyxqueue import AsyncResult, BrokerError, BrokerUnavailableError, Task, TaskQueue
from pyxqueue.cli import main
from pyxqueue.testing.servers import Server, ServerKind
from tests.conftest import kinds_to_test
from tests.support.trees import Tree

from .conftest import KIND
from .security import allow, refused, tls_store
from .servers import MASTER, ask, cluster

TOPOLOGIES = ["plain", "sentinel", "cluster"]
Job: TypeAlias = Task[[int], int]


def serves(url: str, stream_key: str, folder: Path) -> None:
    """Check all that talks to a store: calls and waits in threads and asyncio, a worker, the command line."""
    place = {"TEST_STORE": url, "TEST_QUEUE": stream_key}
    with Tree("tests.topologies.app:queue", place, folder / "log"), closing(TaskQueue(url, stream_key)) as queue:
        job = queue.task(name="double")(double)
        assert job(1).get(30) == 2
        assert asyncio.run(awaited(job)) == 42
        assert job.with_options(delay=0.1)(2).get(30) == 4
        result = CliRunner().invoke(main, ["--url", url, "--queue", stream_key, "info"])
        assert result.exit_code == 0, result.output


def double(value: int) -> int:
    return value * 2


async def awaited(job: Job) -> int:
    return await (await job.aenqueue(21))


# TLS


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_tls(tls_kind: ServerKind, certificates: Path, topology: str, stream_key: str, tmp_path: Path) -> None:
    """Everything works with the certificate of the authority that the URL names."""
    with tls_store(tls_kind, topology, certificates, "here") as url:
        serves(f"{url}?ssl_ca_certs={certificates}/ca.pem", stream_key, tmp_path)


@pytest.mark.parametrize("kind", ["client", "sentinel client"])
def test_a_client_with_tls(tls_kind: ServerKind, certificates: Path, kind: str, stream_key: str) -> None:
    """What a program has made itself, with all settings that redis-py gives it, serves asyncio as well."""
    tls: dict[str, Any] = {"ssl": True, "ssl_ca_certs": str(certificates / "ca.pem")}
    with tls_store(tls_kind, "plain" if kind == "client" else "sentinel", certificates, "here") as url:
        port = int(url.rpartition(":")[2].partition("/")[0])
        client = (
            redis.Redis(port=port, **tls)
            if kind == "client"
            else Sentinel([("127.0.0.1", port)], sentinel_kwargs=tls, **tls).master_for(MASTER)
        )
        with closing(client), closing(TaskQueue(client, stream_key)) as queue:
            job = queue.task(name="double")(double)
            assert asyncio.run(enqueued(job)).created
            assert type(queue.stores.producer).__name__ == "AsyncRedisProducer"


async def enqueued(job: Job) -> AsyncResult[int]:
    return await job.aenqueue(1)


@pytest.mark.parametrize("topology", ["plain", "sentinel", pytest.param("cluster", marks=pytest.mark.soak)])
def test_a_server_that_may_be_another(tls_kind: ServerKind, certificates: Path, topology: str) -> None:
    """A certificate of an authority that is not known, or for another name, is refused without being asked for, and
    the error says that it is about the certificate."""
    options = {
        "here": ["", f"?ssl_ca_certs={certificates}/stranger.pem"],
        "other": [f"?ssl_ca_certs={certificates}/ca.pem"],
    }
    for name, queries in options.items():
        with tls_store(tls_kind, topology, certificates, name) as url:
            for query in queries:
                with closing(TaskQueue(f"{url}{query}")) as queue:
                    job = queue.task(name="double")(double)
                    for call in (lambda: job(1), lambda: asyncio.run(awaited(job))):  # noqa: B023 - at once
                        with pytest.raises(BrokerUnavailableError) as raised:
                            call()
                        assert topology != "plain" or "ertificate" in str(raised.value) or "verify" in str(raised.value)


# Rights


@pytest.mark.parametrize(
    ("topology", "kind"),
    [
        pytest.param(topology, kind, marks=[] if kind == KIND or topology == "plain" else pytest.mark.soak)
        for topology in TOPOLOGIES
        for kind in kinds_to_test()
    ],
)
def test_the_rights_in_the_documentation(kind: ServerKind, topology: str, stream_key: str, tmp_path: Path) -> None:
    """They are enough for everything, and nothing else is tried."""
    login = "shop:s%40cret@"
    with ExitStack() as stack:
        if topology == "cluster":
            servers = [*stack.enter_context(cluster(kind)).masters]
            url = f"redis+cluster://{login}{','.join(f'127.0.0.1:{one.port}' for one in servers)}"
            for one in servers:
                allow(one, "sentinel-and-cluster.md", "shop", stream_key)
        else:
            servers = [stack.enter_context(Server(kind))]
            url = servers[0].url.replace("//", f"//{login}")
            allow(servers[0], "workers.md", "shop", stream_key)
        if topology == "sentinel":
            sentinel = stack.enter_context(Server(kind, args=("--sentinel",)))
            ask(sentinel, "SENTINEL", "MONITOR", MASTER, "127.0.0.1", servers[0].port, 1)
            allow(sentinel, "sentinel-and-cluster.md", "look")
            servers.append(sentinel)
            query = "sentinel_username=look&sentinel_password=s%40cret"
            url = f"redis+sentinel://{login}127.0.0.1:{sentinel.port}/{MASTER}?{query}"

        serves(url, stream_key, tmp_path)

        settings = ("command", "config"), ("command", "config|get")  # the documentation leaves these to choice
        assert [entry for one in servers for entry in refused(one) if entry not in settings] == []


# Addresses


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_ipv6(topology: str, stream_key: str, tmp_path: Path) -> None:
    """An address in brackets, also where servers name each other by one."""
    both = "--bind", "127.0.0.1", "::1"
    with ExitStack() as stack:
        if topology == "cluster":
            args = (*both, "--cluster-announce-ip", "::1")
            url = f"redis+cluster://[::1]:{stack.enter_context(cluster(KIND, masters=1, args=args)).masters[0].port}"
        else:
            server = stack.enter_context(Server(KIND, args=both))
            url = f"redis://[::1]:{server.port}"
        if topology == "sentinel":
            sentinel = stack.enter_context(Server(KIND, args=("--sentinel", *both)))
            ask(sentinel, "SENTINEL", "MONITOR", MASTER, "::1", server.port, 1)
            url = f"redis+sentinel://[::1]:{sentinel.port}/{MASTER}"

        serves(url, stream_key, tmp_path)


def test_a_unix_socket(stream_key: str, tmp_path: Path) -> None:
    """Its path is the URL's."""
    with Server(KIND, unix_socket=True) as server:
        serves(server.url, stream_key, tmp_path)


def test_a_user_without_rights(stream_key: str) -> None:
    """The error is that of a store that refuses."""
    with Server(KIND) as server:
        ask(server, "ACL", "SETUSER", "shop", "on", ">s@cret", "~other", "+@all")
        with closing(TaskQueue(server.url.replace("//", "//shop:s%40cret@"), stream_key)) as queue:
            job = queue.task(name="double")(double)

            with pytest.raises(BrokerError, match="ermission"):
                job(1)
