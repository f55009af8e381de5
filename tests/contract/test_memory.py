"""The in-memory backend keeps every law."""

import pytest

from pyxqueue.testing.contract import BackendContract, ScheduleContract
from pyxqueue.testing.contract.shared import SharedLaws
from pyxqueue.testing.memory import MemoryHarness

from ..support.memory_claims import SharingHarness


class TestMemory(BackendContract, ScheduleContract):
    @pytest.fixture
    def harness(self) -> MemoryHarness:
        return MemoryHarness()


class TestSharedClaims(SharedLaws):
    """Those of which wrong ones are made."""

    @pytest.fixture
    def harness(self) -> SharingHarness:
        return SharingHarness()
