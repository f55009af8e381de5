"""SQLite does what the in-memory backend does, whatever happens: with either journal."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from pyxqueue.backends.sqlite.versions import Version
from pyxqueue.testing.machine import backend_machine

from ..support.sqlite_harness import SQLiteHarness, always, never

JOURNALS = pytest.mark.parametrize("safe_for_wal", [never, always], ids=["rollback", "wal"])


def run(safe_for_wal: Callable[[Version], bool], *, examples: int, steps: int) -> None:
    machine = backend_machine(lambda: closing(SQLiteHarness(safe_for_wal=safe_for_wal)))
    run_state_machine_as_test(
        machine, settings=settings(max_examples=examples, stateful_step_count=steps, deadline=None)
    )


@JOURNALS
def test_sqlite_follows_the_model(safe_for_wal: Callable[[Version], bool]) -> None:
    """Claims, verdicts, leases, progress and administration in any order, as the model does them."""
    run(safe_for_wal, examples=12, steps=40)


@pytest.mark.soak
@JOURNALS
def test_sqlite_follows_the_model_for_long(safe_for_wal: Callable[[Version], bool]) -> None:
    """The same with many more and longer sequences."""
    run(safe_for_wal, examples=1000, steps=80)
