"""The in-memory backend: the laws of `pyxqueue.protocols`, written out as plainly as they can be.

It serves eager mode and tests, and it is the model that other backends are compared with. All of it lives in one
process and ends with it.
"""

from __future__ import annotations

from ...protocols import StoreOptions
from .backend import MemoryBackend
from .results import MemoryResults
from .store import MemoryStore

__all__ = ["MemoryBackend", "MemoryResults", "MemoryStore", "open_backend"]


def open_backend(_source: str, options: StoreOptions) -> MemoryBackend:
    """The factory behind ``memory://``: a store of its own for every queue."""
    return MemoryBackend(MemoryStore(), options)
