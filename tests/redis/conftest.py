"""A backend on each kind of server, and a plain client beside it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from redis import Redis

from pyxqueue.backends.redis import ConnectionConfig, RedisBackend
from pyxqueue.protocols import StoreOptions


@pytest.fixture
def client(redis_url: str) -> Iterator[Any]:
    """The client of another program that writes into the store."""
    with Redis.from_url(redis_url, protocol=2) as client:
        yield client


@pytest.fixture
def backend(redis_url: str, stream_key: str) -> Iterator[RedisBackend]:
    """It reclaims messages as soon as their lease has ended."""
    config = ConnectionConfig.from_url(redis_url)
    with closing(RedisBackend(config, StoreOptions(stream_key), reclaim_after=0)) as backend:
        backend.lease_ms()
        yield backend
