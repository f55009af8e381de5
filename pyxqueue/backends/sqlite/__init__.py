"""The embedded backend: one SQLite file, for all processes of one machine, and no server."""

from __future__ import annotations

from ...protocols import StoreOptions
from .backend import SQLiteBackend
from .location import from_url
from .results import SQLiteResults

__all__ = ["SQLiteBackend", "SQLiteResults", "open_backend"]


def open_backend(source: str, options: StoreOptions) -> SQLiteBackend:
    """The factory behind ``sqlite://`` URLs. Relative paths start at the directory that is current now."""
    return SQLiteBackend(from_url(source), options)
