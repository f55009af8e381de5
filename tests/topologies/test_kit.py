"""The Redis backend keeps every law in a cluster, behind a Sentinel, with TLS, and as a user with few rights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pyxqueue.backends.redis import ConnectionConfig
from pyxqueue.testing.contract import BackendContract, ScheduleContract
from pyxqueue.testing.servers import Server, ServerKind
from tests.conftest import kinds_to_test
from tests.support.redis_harness import RedisHarness

from .conftest import KIND
from .security import allow, refused, tls_store
from .servers import Nodes, Watched, watched


@pytest.mark.soak
class TestCluster(BackendContract, ScheduleContract):
    @pytest.fixture
    def harness(self, nodes: Nodes) -> Iterator[RedisHarness]:
        harness = RedisHarness(ConnectionConfig.from_url(nodes.url))
        yield harness
        harness.close()


@pytest.fixture(scope="module")
def shared_pair() -> Iterator[Watched]:
    with watched(KIND) as pair:
        yield pair


@pytest.mark.soak
class TestSentinel(BackendContract, ScheduleContract):
    @pytest.fixture
    def harness(self, shared_pair: Watched) -> Iterator[RedisHarness]:
        harness = RedisHarness(ConnectionConfig.from_url(shared_pair.url))
        yield harness
        harness.close()


@pytest.fixture(scope="module", params=kinds_to_test())
def guarded(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server with a user for the queues of the kit."""
    with Server(request.param) as server:
        allow(server, "workers.md", "shop", "kit-*")
        yield server


@pytest.mark.soak
class TestLeastRights(BackendContract, ScheduleContract):
    @pytest.fixture
    def harness(self, guarded: Server) -> Iterator[RedisHarness]:
        url = guarded.url.replace("//", "//shop:s%40cret@")
        harness = RedisHarness(ConnectionConfig.from_url(url), ConnectionConfig.from_url(guarded.url))
        yield harness
        harness.close()
        assert refused(guarded) == []


@pytest.fixture(scope="module")
def encrypted(tls_kind: ServerKind, certificates: Path) -> Iterator[str]:
    with tls_store(tls_kind, "plain", certificates, "here") as url:
        yield f"{url}?ssl_ca_certs={certificates}/ca.pem"


@pytest.mark.soak
class TestTLS(BackendContract, ScheduleContract):
    @pytest.fixture
    def harness(self, encrypted: str) -> Iterator[RedisHarness]:
        harness = RedisHarness(ConnectionConfig.from_url(encrypted))
        yield harness
        harness.close()
