"""The Redis backend keeps every law: on fakeredis for speed, on real servers for proof."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from pyxqueue.testing.contract import BackendContract, ScheduleContract
from pyxqueue.testing.servers import Server

from ..support.redis_harness import RedisHarness, fake_client


class TestFakeRedis(BackendContract, ScheduleContract):
    crosses_forks = False

    @pytest.fixture
    def harness(self) -> Iterator[RedisHarness]:
        harness = RedisHarness(fake_client())
        yield harness
        harness.close()


class TestRealServers(BackendContract, ScheduleContract):
    @pytest.fixture
    def harness(self, redis_server: Server) -> Iterator[RedisHarness]:
        harness = RedisHarness(redis.Redis.from_url(redis_server.url))
        yield harness
        harness.close()
