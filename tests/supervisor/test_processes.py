"""Starting and ending worker processes."""

from __future__ import annotations

import _thread
import fcntl
import os
import re
import resource
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

from pyxqueue.errors import ConfigurationError
from pyxqueue.inflight import InFlightTable
from pyxqueue.supervisor import child as worker_process
from pyxqueue.supervisor import log_process, starters
from pyxqueue.supervisor.child import consumer_name, with_pid
from pyxqueue.supervisor.launch import check_startable
from pyxqueue.supervisor.processes import end_process, readable
from pyxqueue.supervisor.starters import fork_worker
from pyxqueue.worker.lifetime import Lifetime
from pyxqueue.worker.serving import QueueParts


class Stoppable:
    """A worker that does nothing until it is stopped."""

    parts: Sequence[QueueParts] = ()
    plugins = None
    lifetime: Lifetime | None = None
    grace = 10.0
    retired = ""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self.broken = threading.Event()

    def stop(self) -> None:
        self._stop.set()

    def run(self) -> None:
        if not self._stop.wait(10):
            raise TimeoutError("the signal was lost")


def test_a_signal_on_the_way_to_a_new_process_is_not_lost() -> None:
    """A signal that arrives before the process has its own handler stops it all the same."""
    made: Any = Stoppable()
    ours = signal.signal(signal.SIGTERM, lambda *_: None)  # as a supervisor has one, which its children inherit
    try:
        pid = fork_worker(
            lambda *_: made, "worker", InFlightTable.forked(), lambda: os.kill(os.getpid(), signal.SIGTERM)
        )
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    finally:
        signal.signal(signal.SIGTERM, ours)
    assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_a_process_that_cannot_be_forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The program that wanted it still receives its signals."""
    monkeypatch.setattr(starters, "fork", Mock(side_effect=BlockingIOError))

    with pytest.raises(BlockingIOError):
        fork_worker(lambda *_: Stoppable(), "worker", InFlightTable(), lambda: None)  # type: ignore[arg-type]

    assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


@pytest.fixture
def many_files() -> Iterator[None]:
    """This process may have more than 1,024 files open."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if before[1] < 2048:
        pytest.skip("the system does not allow so many open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(before[0], 2048), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.usefixtures("many_files")
def test_a_program_with_many_open_files() -> None:
    """It has file descriptors with large numbers, which are waited for like others."""
    ours, theirs = socket.socketpair()
    with ours, theirs, socket.socket(fileno=fcntl.fcntl(ours, fcntl.F_DUPFD_CLOEXEC, 1500)) as large:
        assert readable([large.fileno()], 0.0) == set()
        theirs.send(b".")
        assert readable([large.fileno()], 0.0) == {large.fileno()}
        assert log_process._ready(large, 0.0, to_write=False)
        assert log_process._ready(large, 0.0, to_write=True)


def test_a_name_gets_its_pid() -> None:
    """Both processes know the rest of the name before they know the pid."""
    name = consumer_name("mail-", 3, "boot")

    assert with_pid(name, 77) == "mail-worker-3-77-boot"


def test_a_process_ends_though_its_output_is_gone() -> None:
    """Buffered text whose reader is gone must not raise an exception into the parent's code."""
    read, write = os.pipe()
    os.close(read)
    pid = os.fork()
    if pid == 0:
        sys.stdout = open(write, "w", closefd=False)  # noqa: SIM115 - it lives as long as the process
        sys.stdout.write("this is not read")
        end_process(lambda: 7)
    os.close(write)

    _, status = os.waitpid(pid, 0)

    assert os.waitstatus_to_exitcode(status) == 7


@pytest.mark.parametrize(("is_orphan", "fails"), [(True, "lease_ms"), (True, "stop_plugins"), (False, "stop_plugins")])
def test_a_process_that_must_end_does_so_whatever_fails_before(
    is_orphan: bool, fails: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends also if no memory is left, or no thread to stop its plugins in: nobody else would end it."""
    worker, endings, ends = Mock(), Mock(), list[tuple[str, int]]()
    worker.lease_ms.return_value = 0
    getattr(worker if fails == "lease_ms" else endings, fails).side_effect = MemoryError
    monkeypatch.setattr(worker_process, "_LOOK_EVERY", 0.0)
    monkeypatch.setattr(worker_process, "kill_group", lambda pid: ends.append(("killed", pid)))
    own_os = SimpleNamespace(getpid=os.getpid, getppid=os.getppid, _exit=lambda code: ends.append(("exited", code)))
    monkeypatch.setattr(worker_process, "os", own_os)
    supervisor = 0 if is_orphan else os.getppid()

    worker_process._exit_when_orphaned(worker, InFlightTable.forked(), supervisor, endings)

    assert ends[0] == (("killed", os.getpid()) if is_orphan else ("exited", 1))


def test_what_a_worker_forks_is_an_ordinary_process() -> None:
    """A signal ends it, although the worker that it was forked from handles that signal."""

    def run() -> None:
        child = os.fork()
        if child == 0:
            threading.Event().wait(10)
            os._exit(0)
        os.kill(child, signal.SIGTERM)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM

    made: Any = Stoppable()
    made.run = run
    pid = fork_worker(lambda *_: made, "worker", InFlightTable.forked(), lambda: None)

    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_a_new_process_that_uses_more_memory_than_it_may() -> None:
    """It has not started, and says why."""
    made: Any = Stoppable()
    made.lifetime = Lifetime(max_memory=0.5)
    table = InFlightTable.forked()

    pid = fork_worker(lambda *_: made, "worker", table, lambda: None)

    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 2
    assert not table.start.done
    text = r"it used \d+ MiB of memory before its first task, more than max_memory_per_child=0\.5 allows"
    assert re.fullmatch(text, table.start.text())


def test_threads_that_were_replaced_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the threads of gevent or eventlet, a worker would seem to work and run nothing."""
    check_startable()

    def start_new_thread() -> None: ...

    start_new_thread.__module__ = "gevent.thread"
    monkeypatch.setattr(_thread, "start_new_thread", start_new_thread)
    with pytest.raises(ConfigurationError, match=r"^gevent\.thread has replaced Python's threads"):
        check_startable()


class Broken(Stoppable):
    """A worker that has lost a thread, and whose other threads never end."""

    def __init__(self) -> None:
        super().__init__()
        self.broken.set()
        self.consumer = "broken"

    def run(self) -> None:
        threading.Event().wait()


def test_a_process_does_not_outlive_its_worker() -> None:
    """The process ends although a thread still runs; the supervisor replaces it and releases its messages."""
    made: Any = Broken()
    pid = fork_worker(lambda *_: made, "worker", InFlightTable.forked(), lambda: None)

    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 1
