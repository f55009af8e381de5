"""The in-memory backend keeps every law."""

import pytest

from pyxqueue.testing.contract import BackendContract
from pyxqueue.testing.memory import MemoryHarness


class TestMemory(BackendContract):
    @pytest.fixture
    def harness(self) -> MemoryHarness:
        return MemoryHarness()
