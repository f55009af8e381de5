"""The base of all contracts: what a backend declares, and how a record gets into it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from ...model import message as m
from . import steps
from .harness import Harness
from .laws import law

Laws = TypeVar("Laws")


def needs(protocol: type) -> Callable[[Callable[[Laws, Harness], None]], Callable[[Laws, Harness], None]]:
    """Let a test pass for a backend that does not have an optional protocol."""

    def decorate(test: Callable[[Laws, Harness], None]) -> Callable[[Laws, Harness], None]:
        @functools.wraps(test)
        def run(self: Laws, harness: Harness) -> None:
            __tracebackhide__ = True
            if isinstance(harness.open(), protocol):
                test(self, harness)

        return run

    return decorate


class Contract:
    """Base of the contracts. A subclass supplies the pytest fixture `harness`, new for every test."""

    patience: float = 10.0
    """Seconds after which a call that should have returned is taken to hang. Tests that pass do not wait for it."""
    footprint_slack: int = 0
    """How much larger the footprint of a queue may be after many tasks than after few."""
    crosses_forks: bool = True
    """False for a backend whose server is in the process of the test, such as a fake server."""

    def expect(self, store: Any, *ids: str) -> None:
        """Prepare for records of these ids: a backend must have claimed their tasks."""
        store.enqueue([steps.job(task_id) for task_id in ids])
        self._receipts = {one.message.id: one.receipt for one in steps.drain(store, 256, "keeper")}

    def keep(self, store: Any, records: Sequence[m.Record]) -> None:
        """Store records of ids that were prepared with `expect`: a backend gets them with settlements."""
        steps.settled(store, law("B5"), *(self._end(record) for record in records))

    def _end(self, record: m.Record) -> m.Settlement:
        verdict = m.Done() if record.status is m.TaskStatus.SUCCESS else m.Fail("no use")
        return m.Settlement(self._receipts[record.id], verdict, record)
