"""An interrupt hits the job that it is for, and no other."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import cast
from unittest.mock import Mock

import pytest

from pyxqueue.codec import Codec
from pyxqueue.errors import CancelRequested, TimeLimitExceeded
from pyxqueue.model.message import Message
from pyxqueue.options import TaskOptions
from pyxqueue.registry import TaskSpec
from pyxqueue.serializers.json import JSONSerializer
from pyxqueue.worker.coroutines import CoroutineRunner
from pyxqueue.worker.execution import Execution
from pyxqueue.worker.interrupts import SignalInterrupter, ThreadInterrupter
from tests.support.interrupting import places
from tests.support.until import PATIENCE

from .harness import beside


@pytest.fixture
def interrupter() -> Iterator[SignalInterrupter]:
    before = signal.getsignal(signal.SIGALRM)
    yield SignalInterrupter()
    signal.signal(signal.SIGALRM, before)


def replace(patch: pytest.MonkeyPatch, **functions: Callable[..., object]) -> None:
    """Replace functions of `signal`, for the interrupter alone."""
    patch.setattr("pyxqueue.worker.interrupts.signal", SimpleNamespace(**vars(signal) | functions))


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


def test_a_signal_of_which_nothing_came(interrupter: SignalInterrupter, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is sent again, until the job was cancelled: it may have come just as Python began to wait."""
    sent: list[object] = []
    with interrupter.limit("mine", TaskOptions()):
        with monkeypatch.context() as patch:
            replace(patch, pthread_kill=lambda *_: sent.append(1))
            interrupter.cancel("mine")
        with pytest.raises(CancelRequested):
            interrupter.cancel("mine")
        interrupter.cancel("mine")
    assert sent == [1]


def test_a_time_limit_whose_signal_came_to_nothing(
    interrupter: SignalInterrupter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The monitor sends it again, once the time is up and no longer than until the job was interrupted."""
    replace(monkeypatch, setitimer=lambda *_: None)
    interrupted = 0
    with interrupter.limit("early", TaskOptions(timeout=60)):
        interrupter.check()
    with interrupter.limit("late", TaskOptions(timeout=0.001)):
        for _ in range(3):
            try:
                interrupter.check()
            except TimeLimitExceeded:
                interrupted += 1
    interrupter.check()
    assert interrupted == 1


def test_a_signal_that_comes_when_the_job_has_ended(interrupter: SignalInterrupter) -> None:
    """It is not raised in what ends the job, so that the job does not count as running for ever."""
    frame = Mock(f_code=SignalInterrupter.__exit__.__code__)
    with interrupter.limit("mine", TaskOptions()):
        interrupter._asked = ("mine", 1)
        interrupter._on_alarm(signal.SIGALRM, frame)


def test_an_interrupt_that_comes_when_the_job_has_ended() -> None:
    """Whatever it interrupts, the job does not run any more, so that no other is interrupted in its place."""
    interrupter = ThreadInterrupter()
    task = TaskSpec("job", lambda: None, TaskOptions())
    codec = Codec.of("queue", [JSONSerializer()], None)

    def run() -> None:
        limit = interrupter.limit("mine", TaskOptions(timeout=60))
        Execution(task, Message("id", "job"), (), {}, codec, lambda _: None).run(limit, asyncio.run)

    for place in places(run):
        assert not interrupter.running, place


def test_a_coroutine_that_is_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends, whatever the loop that runs it was doing, and the next one runs as usual."""
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)  # some interrupts come in finalizers
    runners: list[CoroutineRunner] = []

    async def work() -> int:
        for _ in range(3):
            await asyncio.sleep(0)
        return 1

    def run_all() -> int:
        runners.append(CoroutineRunner(lambda *_: None))
        runners[0].run(work())
        for _ in places(lambda: runners[-1].run(work())):
            assert runners[-1].run(work()) == 1
            runners.append(CoroutineRunner(lambda *_: None))
            runners[-1].run(work())
        return len(runners)

    try:
        assert cast("int", beside(run_all).result(PATIENCE)) > 10
    finally:
        for runner in runners:
            for one in runner._runners:  # also those that an interrupt has kept from being used again
                one.close()


PROFILED = """
import sys
from pyxqueue.options import TaskOptions
from pyxqueue.worker.interrupts import ThreadInterrupter

interrupter = ThreadInterrupter()
try:
    with interrupter.limit("job", TaskOptions()):
        interrupter.cancel("job")
except BaseException as error:
    print(type(error).__name__)
sys.setprofile(lambda *_: None)
(lambda: None)()
"""


def test_a_profiler_after_an_interrupt() -> None:
    """A task that is profiled, or debugged, runs in a thread in which another was interrupted."""
    done = subprocess.run(
        [sys.executable, "-c", PROFILED], capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    assert done.stdout == "CancelRequested\n"
