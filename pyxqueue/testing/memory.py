"""The harness of the in-memory backend: the model in `machine`, and an example of a harness."""

from __future__ import annotations

from collections.abc import Mapping

from ..backends.memory import MemoryBackend, MemoryStore
from ..clock import FakeClock
from ..protocols import StoreOptions


class MemoryHarness:
    """A fresh store on a clock that only `advance` moves."""

    store_type: type[MemoryStore] = MemoryStore
    backend_type: type[MemoryBackend] = MemoryBackend
    stream_key = "kit"

    def __init__(self) -> None:
        self.lease = 30_000
        self.clock = FakeClock()
        self.store = self.store_type(self.clock)
        self.clock.subscribe(self.store.poke)

    def open(self, group: str = "cg", *, history: int = 100, lease: int | None = None) -> MemoryBackend:
        options = StoreOptions(self.stream_key, group, self.lease if lease is None else lease, history)
        return self.backend_type(self.store, options)

    def advance(self, ms: int) -> None:
        self.clock.advance(ms)

    def inject(self, fields: Mapping[bytes, bytes], group: str = "cg") -> str:
        return self.store.inject(self.stream_key, group, fields)

    def footprint(self) -> int:
        groups = self.store.groups(self.stream_key).values()
        return sum(group.footprint() for group in groups)
