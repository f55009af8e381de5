"""The reference backend: Redis Streams, on Redis 6.2 or newer, and Valkey."""

from __future__ import annotations

from ...protocols import StoreOptions
from .backend import RedisBackend
from .connect import ConnectionConfig, GivenClient
from .results import RedisResults

__all__ = ["ConnectionConfig", "RedisBackend", "RedisResults", "open_backend"]


def open_backend(source: str | GivenClient, options: StoreOptions) -> RedisBackend:
    """The factory behind ``redis://``, ``rediss://`` and ``unix://`` URLs and redis-py clients."""
    config = ConnectionConfig.from_url(source) if isinstance(source, str) else ConnectionConfig.from_client(source)
    return RedisBackend(config, options)
