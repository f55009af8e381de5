"""The SQLite backend keeps every law: with either journal, and with either driver."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from pyxqueue.backends.sqlite.driver import apsw
from pyxqueue.testing.contract import BackendContract, ScheduleContract

from ..support.sqlite_harness import SQLiteHarness, always


class TestRollbackJournal(BackendContract, ScheduleContract):
    @pytest.fixture
    def harness(self) -> Iterator[SQLiteHarness]:
        with closing(SQLiteHarness()) as harness:
            yield harness


class TestWal(BackendContract, ScheduleContract):
    @pytest.fixture
    def harness(self) -> Iterator[SQLiteHarness]:
        with closing(SQLiteHarness(safe_for_wal=always)) as harness:
            yield harness


class TestApsw(BackendContract, ScheduleContract):
    @pytest.fixture
    def harness(self) -> Iterator[SQLiteHarness]:
        driver = apsw()
        assert driver is not None, "the tests need the package apsw"
        with closing(SQLiteHarness(driver, always)) as harness:
            yield harness
