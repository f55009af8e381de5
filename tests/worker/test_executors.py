"""Executors run functions, and interrupters interrupt the right ones."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from functools import partial

import pytest

from pyxqueue.errors import CancelRequested, TimeLimitExceeded
from pyxqueue.options import TaskOptions
from pyxqueue.worker import interrupts
from pyxqueue.worker.batch_sizer import MAX_BATCH
from pyxqueue.worker.executors import Inline, Threads
from pyxqueue.worker.interrupts import SignalInterrupter, ThreadInterrupter
from pyxqueue.worker.places import Ahead, Places
from tests.support.until import until


def not_broken(error: BaseException) -> None:
    raise AssertionError from error


def raising(error: BaseException) -> Callable[[], None]:
    def run() -> None:
        raise error

    return run


def test_places_count() -> None:
    """Room is what is left of the places; waiting ends when something ends."""
    places = Places(2, Ahead(8))
    places.add()
    assert places.room() == 1
    places.add()
    assert places.room() == 0
    threading.Timer(0.05, places.remove).start()
    places.wait_room(20)
    assert places.room() == 1


def test_places_wake_no_thread_in_vain(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that waits until few are left is not woken by each one that ends before."""
    places = Places(4, Ahead(8))
    woken: list[int] = []
    notify = places._changed.notify_all

    def note() -> None:
        woken.append(places.busy)
        notify()

    monkeypatch.setattr(places._changed, "notify_all", note)
    for _ in range(4):
        places.add()
    waiting = threading.Thread(target=places.wait_idle, daemon=True)
    waiting.start()
    until(lambda: places._wanted, "the thread waits")
    for _ in range(4):
        places.remove()
    waiting.join(20)

    assert not waiting.is_alive()
    assert woken == [0]


def test_inline_has_room_for_a_batch() -> None:
    """It runs them one after the other, in the caller's thread."""
    ran: list[tuple[int, int]] = []
    inline = Inline(ThreadInterrupter())
    inline.open(not_broken)

    assert inline.room() == MAX_BATCH
    inline.submit(lambda: ran.append((1, threading.get_ident())))
    inline.submit(lambda: ran.append((2, threading.get_ident())))

    assert ran == [(1, threading.get_ident()), (2, threading.get_ident())]


def test_threads_take_what_they_can_run() -> None:
    """`submit` returns False if no thread becomes free in time; `close` waits for what has started."""
    began: list[int] = []
    go = threading.Event()

    def run(number: int) -> None:
        began.append(number)
        go.wait(20)

    threads = Threads(1)
    threads.open(not_broken)
    assert threads.submit(partial(run, 0))
    assert not threads.submit(partial(run, 1))
    assert threads.room() == 0
    threading.Timer(0.05, go.set).start()
    assert threads.submit(partial(run, 2), 20)
    until(lambda: began == [0, 2], "it has started")
    threads.close()
    threads.wait_idle()


def test_a_thread_that_fails_is_reported() -> None:
    """Otherwise the worker would go on with one thread less."""
    broke: list[BaseException] = []
    error = SystemExit("planted")
    threads = Threads(1)
    threads.open(broke.append)
    threads.submit(raising(error))
    threads.wait_idle()
    threads.close()

    assert broke == [error]


def test_a_signal_interrupts_once() -> None:
    """A job is interrupted once however often it is cancelled, and a late request does not hit the next job."""
    interrupter, first, second = SignalInterrupter(), object(), object()
    cleaned = False
    with interrupter.limit(first, TaskOptions()):
        try:
            interrupter.cancel(first)
            threading.Event().wait(5)
        except CancelRequested:
            interrupter.cancel(first)
            interrupter.cancel(first)
            cleaned = True
    interrupter.cancel(first)
    with interrupter.limit(second, TaskOptions()):
        interrupter.cancel(first)

    assert cleaned


def test_a_signal_ends_a_job_at_its_time_limit() -> None:
    """The error names the limit, and the limit does not hold for the next job."""
    interrupter = SignalInterrupter()
    with pytest.raises(TimeLimitExceeded, match=r"of 0\.05 s"), interrupter.limit(object(), TaskOptions(timeout=0.05)):
        threading.Event().wait(20)
    with interrupter.limit(object(), TaskOptions()):
        threading.Event().wait(0.1)


def test_a_thread_is_interrupted_twice_for_its_time_limit() -> None:
    """At the limit, and half way from there to the hard limit, because the task may swallow the first error."""
    now = 0.0
    interrupter = ThreadInterrupter(lambda: now)
    one, caught = object(), []
    with interrupter.limit(one, TaskOptions(timeout=5.0, hard_timeout=9.0)):
        for now in (4.9, 5.1, 6.9, 7.1, 8.0, 100.0):
            try:
                interrupter.check()
                until(lambda: False, "the interruption", 0.05)
            except TimeLimitExceeded:
                caught.append(now)
            except AssertionError:
                pass

    assert caught == [5.1, 7.1]
    interrupter.check()


def test_a_thread_is_cancelled_once_for_each_request() -> None:
    """A second request interrupts again; seeing the same request again does not."""
    interrupter, one, caught = ThreadInterrupter(), object(), []
    with interrupter.limit(one, TaskOptions()):
        for times in (1, 1, 2, 2):
            try:
                interrupter.cancel(one, times)
                until(lambda: False, "the interruption", 0.05)
            except CancelRequested:
                caught.append(times)
            except AssertionError:
                pass

    assert caught == [1, 2]


def test_an_interrupt_that_was_not_raised_yet_is_withdrawn() -> None:
    """It does not hit the next task of the thread."""
    interrupter, one = ThreadInterrupter(), object()
    asked = threading.Event()

    def ask() -> None:
        interrupter.cancel(one)
        asked.set()

    other = threading.Thread(target=ask)
    with contextlib.suppress(CancelRequested), interrupter.limit(one, TaskOptions()):
        other.start()
        asked.wait(20)
    other.join()
    until(lambda: True, "some bytecode has run")


def test_the_end_of_a_job_withdraws_its_interrupts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that was interrupted leaves nothing behind in its thread, and one that was not does nothing for that."""
    raised: list[object] = []
    monkeypatch.setattr(interrupts, "_raise_in", lambda _thread, error: raised.append(error))
    interrupter, one = ThreadInterrupter(), object()

    with interrupter.limit(one, TaskOptions()):
        interrupter.cancel(one)
    with interrupter.limit(one, TaskOptions()):
        pass

    assert raised == [CancelRequested, interrupts._Withdrawn]


def test_a_signal_interrupts_twice_for_the_time_limit() -> None:
    """A task that swallows the first error gets another one before its process is killed."""
    interrupter, caught = SignalInterrupter(), 0
    with interrupter.limit(object(), TaskOptions(timeout=0.05, hard_timeout=0.15)):
        while caught < 2:
            try:
                threading.Event().wait(20)
            except TimeLimitExceeded:
                caught += 1

    assert caught == 2


def test_a_signal_cancels_once_for_each_request() -> None:
    """Seeing the same request again does not interrupt."""
    interrupter, job, caught = SignalInterrupter(), object(), []
    with interrupter.limit(job, TaskOptions()):
        for times in (1, 1, 2, 2):
            try:
                interrupter.cancel(job, times)
            except CancelRequested:
                caught.append(times)

    assert caught == [1, 2]
