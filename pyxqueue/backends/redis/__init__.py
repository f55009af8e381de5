"""The reference backend: Redis Streams, on Redis 6.2 or newer, and Valkey."""

from __future__ import annotations

from ...protocols import StoreOptions
from .backend import RedisBackend
from .connect import GivenClient, Recipe
from .results import RedisResults

__all__ = ["Recipe", "RedisBackend", "RedisResults", "open_backend"]


def open_backend(source: str | GivenClient, options: StoreOptions) -> RedisBackend:
    """The factory behind ``redis://``, ``rediss://`` and ``unix://`` URLs and redis-py clients."""
    recipe = Recipe.from_url(source) if isinstance(source, str) else Recipe.from_client(source)
    return RedisBackend(recipe, options)
