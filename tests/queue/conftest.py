"""A queue on a store in this process, which runs nothing until a test says so."""

from __future__ import annotations

import pytest

from pyxqueue import TaskQueue


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the developer's shell has set is not for these tests."""
    for name in ("PYXQUEUE_URL", "PYXQUEUE_EAGER", "PYXQUEUE_LEASE", "PYXQUEUE_SEAL_KEYS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def queue() -> TaskQueue:
    return TaskQueue("memory://", stream_key="q")
