"""The in-memory backend: the laws of `pyxqueue.protocols`, written out as plainly as they can be.

It serves eager mode and tests, and it is the model that other backends are compared with. All of it lives in one
process and ends with it.
"""

from __future__ import annotations

from ...protocols import StoreOptions
from .store import MemoryBackend, MemoryStore, wall_clock

__all__ = ["MemoryBackend", "MemoryStore", "open_backend", "wall_clock"]


def open_backend(source: str | MemoryStore, options: StoreOptions) -> MemoryBackend:
    """The factory behind ``memory://`` (a store of its own for every queue) and `MemoryStore` objects."""
    return MemoryBackend(source if isinstance(source, MemoryStore) else MemoryStore(), options)


open_backend.one_process = True  # type: ignore[attr-defined]
