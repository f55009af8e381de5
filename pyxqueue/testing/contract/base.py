"""The base of all contracts, with everything in which backends may differ."""

from __future__ import annotations

from ...protocols import Backend
from . import steps


class Contract:
    """Base of the contracts. A subclass supplies the pytest fixture `harness`, new for every test."""

    patience: float = 10.0
    """Seconds after which a call that should have returned is taken to hang. It bounds failures only."""
    footprint_slack: int = 0
    """How much larger the footprint of a queue may be after many tasks than after few."""
    is_broker: bool = True
    """The store knows which ids are under way, so `wait` gives up early for the others."""
    crosses_forks: bool = True
    """False for a backend whose server lives in the process of the test, as a fake one does."""

    def expect(self, store: Backend, *ids: str) -> None:
        """Make the store expect records for these ids."""
        if self.is_broker:
            store.enqueue([steps.job(task_id) for task_id in ids])
