"""The in-memory backend keeps every law."""

import pytest

from pyxqueue.testing.contract import BackendContract
from pyxqueue.testing.contract.priorities import PriorityLaws
from pyxqueue.testing.memory import MemoryHarness


class TestMemory(PriorityLaws, BackendContract):
    @pytest.fixture
    def harness(self) -> MemoryHarness:
        return MemoryHarness()
