"""An interrupt hits the job that it is for, and no other."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from pyxqueue.errors import CancelRequested, TimeLimitExceeded
from pyxqueue.options import TaskOptions
from pyxqueue.worker.interrupts import SignalInterrupter


@pytest.fixture
def interrupter() -> Iterator[SignalInterrupter]:
    before = signal.getsignal(signal.SIGALRM)
    yield SignalInterrupter()
    signal.signal(signal.SIGALRM, before)


def test_a_signal_for_another_job_is_ignored(interrupter: SignalInterrupter) -> None:
    """A job whose time limit has not passed goes on."""
    with interrupter.limit("mine", TaskOptions(timeout=60)):
        interrupter.cancel("another")
        os.kill(os.getpid(), signal.SIGALRM)


def test_the_running_job_is_cancelled(interrupter: SignalInterrupter) -> None:
    """The signal raises `CancelRequested` in it."""
    with pytest.raises(CancelRequested), interrupter.limit("mine", TaskOptions()):
        interrupter.cancel("mine")


def test_the_time_limit(interrupter: SignalInterrupter) -> None:
    """It also ends a sleep."""
    with pytest.raises(TimeLimitExceeded, match=r"0\.05 s"), interrupter.limit("mine", TaskOptions(timeout=0.05)):
        signal.pause()
