"""The Redis backend keeps every law in a cluster of three nodes, and on the master that a Sentinel names."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pyxqueue.backends.redis import ConnectionConfig
from pyxqueue.testing.contract import BackendContract, ScheduleContract
from tests.support.redis_harness import RedisHarness

from .conftest import KIND
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
