"""The stores that keep the results of another broker's tasks keep every law about records."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
import redis

from pyxqueue.backends.memory import MemoryResults
from pyxqueue.protocols import StoreOptions
from pyxqueue.testing.contract import ResultStoreContract
from pyxqueue.testing.memory import MemoryHarness
from pyxqueue.testing.servers import Server

from ..support.redis_harness import RedisHarness, fake_client
from ..support.sqlite_harness import SQLiteHarness


class Results:
    """The harness of a result store: that of its backend, which moves the clock."""

    lease = 0

    def __init__(self, harness: Any, open_results: Callable[[], Any]) -> None:
        self.advance, self.open = harness.advance, open_results


class TestMemory(ResultStoreContract):
    @pytest.fixture
    def harness(self) -> Results:
        harness = MemoryHarness()
        return Results(harness, lambda: MemoryResults(harness.store, StoreOptions(harness.stream_key)))


class TestSQLite(ResultStoreContract):
    @pytest.fixture
    def harness(self) -> Iterator[Results]:
        with closing(SQLiteHarness()) as harness:
            yield Results(harness, harness.results)


class TestFakeRedis(ResultStoreContract):
    @pytest.fixture
    def harness(self) -> Iterator[Results]:
        with closing(RedisHarness(fake_client())) as harness:
            yield Results(harness, harness.results)


class TestRealServers(ResultStoreContract):
    @pytest.fixture
    def harness(self, redis_server: Server) -> Iterator[Results]:
        with closing(RedisHarness(redis.Redis.from_url(redis_server.url))) as harness:
            yield Results(harness, harness.results)
