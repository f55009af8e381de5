"""The duty that deletes failed tasks beyond the limits of a queue."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from pyxqueue import ConfigurationError
from pyxqueue.backends.memory import MemoryBackend, MemoryStore
from pyxqueue.clock import FakeClock
from pyxqueue.errors import BrokerError
from pyxqueue.model.failed import FailedLimits
from pyxqueue.model.message import Message, TaskInfo, TaskStatus
from pyxqueue.protocols import StoreOptions
from pyxqueue.supervisor.duties.failed import BATCH, EVERY, PAUSE, FailedDuty, failed_duty

START_MS = 1_767_225_600_000
DAY_MS = 86_400_000


@pytest.fixture
def clock() -> FakeClock:
    clock = FakeClock()
    clock.advance(START_MS - clock())
    return clock


@pytest.fixture
def backend(clock: FakeClock) -> MemoryBackend:
    return MemoryBackend(MemoryStore(clock), StoreOptions("q"))


def fail(backend: MemoryBackend, *ids: str) -> None:
    backend.adopt([TaskInfo(one, TaskStatus.FAILURE, Message(one, "job"), reason="ValueError: no") for one in ids])


def left(backend: MemoryBackend) -> int:
    return backend.depth().failed


Make = Callable[..., tuple[FailedDuty, list[str]]]


@pytest.fixture
def make(backend: MemoryBackend) -> Make:
    def make(ttl_ms: int | None = None, keep: int | None = None, of: str = "") -> tuple[FailedDuty, list[str]]:
        names: list[str] = []
        return failed_duty(backend, FailedLimits(ttl_ms, keep), names.append, of), names

    return make


def test_one_line_says_what_a_sweep_has_deleted(
    make: Make, backend: MemoryBackend, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """How many, because of which limit, and from which to which; each is counted by its name."""
    duty, names = make(DAY_MS, 1, " of the queue shop")
    fail(backend, "a", "b")
    clock.advance(DAY_MS)
    fail(backend, "c", "d")

    with caplog.at_level(logging.INFO):
        pause = duty.step([], 0.0)

    (record,) = caplog.records
    assert record.getMessage() == (
        "deleted 3 failed tasks of the queue shop: 2 older than 86400 s (failed_ttl), 1 beyond the newest 1 "
        "(max_failed); the oldest is a, failed 2026-01-01T00:00:00Z, the newest c, failed 2026-01-02T00:00:00Z"
    )
    assert (names, left(backend), pause) == (["job"] * 3, 1, EVERY)


def test_a_sweep_without_a_find_is_silent(make: Make, backend: MemoryBackend, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is deleted, counted or logged."""
    duty, names = make(DAY_MS, 10)
    fail(backend, "a")

    with caplog.at_level(logging.INFO):
        duty.step([], 0.0)

    assert (left(backend), names, caplog.records) == (1, [], [])


def test_many_are_deleted_in_steps(make: Make, backend: MemoryBackend, caplog: pytest.LogCaptureFixture) -> None:
    """The other duties have their turn between two of them, and the log has one line for all."""
    duty, names = make(keep=0)
    fail(backend, *(f"f{number:04}" for number in range(2 * BATCH + 5)))

    with caplog.at_level(logging.INFO):
        pauses = [duty.step([], 0.0) for _ in range(3)]

    assert pauses == [PAUSE, PAUSE, EVERY]
    assert (left(backend), len(names), len(caplog.records)) == (0, 2 * BATCH + 5, 1)
    assert "deleted 517 failed tasks: 517 beyond the newest 0 (max_failed)" in caplog.text


def test_a_sweep_that_is_cut_off_is_told(
    make: Make, backend: MemoryBackend, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What it had deleted by then is in the log."""
    duty, _ = make(keep=0)
    fail(backend, *(f"f{number:04}" for number in range(BATCH)))
    duty.step([], 0.0)

    def refuse(*_: Any) -> Any:
        raise BrokerError("no")

    monkeypatch.setattr(backend, "drop_failed", refuse)
    with caplog.at_level(logging.INFO), pytest.raises(BrokerError):
        duty.step([], 0.0)

    assert "deleted 256 failed tasks" in caplog.text


@pytest.mark.parametrize(("ttl_ms", "seconds"), [(100, 1.0), (40_000, 10.0), (DAY_MS, EVERY), (None, EVERY)])
def test_a_short_limit_is_looked_at_more_often(ttl_ms: int | None, seconds: float, make: Make) -> None:
    """Four times in that time, at most once a second."""
    duty, _ = make(ttl_ms, 10)

    assert duty.step([], 0.0) == seconds


def test_a_store_that_cannot_do_it_is_refused() -> None:
    """The error names the options."""
    with pytest.raises(ConfigurationError, match=r"object does not limit .*: leave out failed_ttl= and max_failed="):
        failed_duty(object(), FailedLimits(1), lambda _: None, "")  # type: ignore[arg-type]
