"""Random sequences of everything that can happen, compared step by step with the in-memory backend."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from harness import FilesHarness
from hypothesis import HealthCheck, settings

from pyxqueue.testing.machine import backend_machine


@contextmanager
def fresh() -> Iterator[FilesHarness]:
    with TemporaryDirectory() as folder:
        yield FilesHarness(Path(folder))


TestFilesMachine = backend_machine(fresh).TestCase
TestFilesMachine.settings = settings(
    max_examples=10, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
