"""The in-memory backend keeps every law."""

import pytest

from pyxqueue.testing.contract import BackendContract, ScheduleContract
from pyxqueue.testing.contract.priorities import PriorityLaws
from pyxqueue.testing.memory import MemoryHarness


class TestMemory(PriorityLaws, BackendContract, ScheduleContract):
    @pytest.fixture
    def harness(self) -> MemoryHarness:
        return MemoryHarness()
