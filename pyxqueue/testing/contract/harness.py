"""What a backend author supplies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from ...protocols import Backend


class Harness(Protocol):
    """One fresh, empty queue, as the kit wants to handle it. Make a new one for every test.

    Most backends need some ten lines for it; `pyxqueue.testing.memory.MemoryHarness` is an example. That of a backend
    with `HasSharedClaims` has one more method, `another`, which returns the harness of another queue of the store.
    """

    lease: int
    """Milliseconds of the lease that `open` gives the group when `lease` is None. With a server whose clock
    goes on by itself, use 10,000 or more, so that no lease ends between two calls."""

    def open(self, group: str = "cg", *, history: int = 100, lease: int | None = None) -> Backend:
        """A new handle on the queue, with these `StoreOptions`; `lease` None means the harness's own.

        A backend with a safety margin of its own before it takes work from a silent holder switches it off here.
        """
        ...

    def advance(self, ms: int) -> None:
        """Make leases, delays, lifetimes of records and ids all `ms` older, without sleeping if you can.

        Move the store's clock, or move the times that are stored.
        """
        ...

    def inject(self, fields: Mapping[bytes, bytes], group: str = "cg") -> str:
        """Put a raw entry on the line of new messages of a registered group, as a foreign producer would.

        Returns the id by which an entry without a valid id of its own is known. A store that cannot hold two entries of
        one id ignores an entry whose id is known.
        """
        ...

    def footprint(self) -> int:
        """How many keys, rows or entries the store holds, without the list of groups, the history and the failed."""
        ...
