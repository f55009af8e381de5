"""The in-memory backend keeps every law."""

import pytest

from pyxqueue.testing.contract import BackendContract, ScheduleContract
from pyxqueue.testing.memory import MemoryHarness


class TestMemory(BackendContract, ScheduleContract):
    @pytest.fixture
    def harness(self) -> MemoryHarness:
        return MemoryHarness()
