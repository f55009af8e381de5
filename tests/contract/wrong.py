"""How a wrong backend is declared: the in-memory one with one law broken, and the number of that law."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from attrs import frozen

from pyxqueue.backends.memory import MemoryBackend, MemoryStore
from pyxqueue.backends.memory.group import Group
from pyxqueue.testing.memory import MemoryHarness

Broken = TypeVar("Broken", bound=type[Group] | type[MemoryBackend])


@frozen
class Wrong:
    """A wrong backend, the law that it breaks, and how the kit opens it."""

    name: str
    law: str
    harness: type[MemoryHarness]


def harness_of(broken: type[Group | MemoryBackend]) -> type[MemoryHarness]:
    if issubclass(broken, MemoryBackend):
        return type("WrongHarness", (MemoryHarness,), {"backend_type": broken})
    store = type("WrongStore", (MemoryStore,), {"new_group": broken})
    return type("WrongHarness", (MemoryHarness,), {"store_type": store})


class Collection:
    """Wrong backends, by the decorator `breaks`."""

    def __init__(self) -> None:
        self.all: list[Wrong] = []

    def breaks(self, law: str) -> Callable[[Broken], Broken]:
        def add(broken: Broken) -> Broken:
            self.all.append(Wrong(broken.__name__, law, harness_of(broken)))
            return broken

        return add
