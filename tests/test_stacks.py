"""What is read from the stacks that a process wrote before it died."""

from __future__ import annotations

import faulthandler
import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

import pyxqueue
from pyxqueue.inflight import InFlightTable
from pyxqueue.stacks import abort, innermost, of_tasks
from pyxqueue.supervisor.processes import fork

PACKAGE = Path(pyxqueue.__file__).parent
TASK = """  File "/srv/mail.py", line 12 in send
  File "/srv/app.py", line 80 in invite
"""
OURS = f"""  File "{PACKAGE}/worker/execution.py", line 95 in _run
  File "{PACKAGE}/worker/executors.py", line 50 in run
"""
WAITING = f"""  File "/lib/python3.13/threading.py", line 359 in wait
  File "{PACKAGE}/worker/executors.py", line 40 in _take
"""
THEIRS = """  File "/srv/helper.py", line 3 in help
  File "/lib/python3.13/threading.py", line 1012 in _bootstrap
"""


def thread(number: int, frames: str, *, current: bool = False) -> str:
    return f"{'Current thread' if current else 'Thread'} 0x{number:016x} (most recent call first):\n{frames}"


def dump(*threads: str, error: str = "Segmentation fault") -> bytes:
    told = "\n".join(threads)
    return f"Fatal Python error: {error}\n\n{told}\n\nExtension modules: apsw (total: 1)\n".encode()


def test_threads_that_run_no_task_are_left_out() -> None:
    """Of the others, those of pyxqueue are left out, and so are its frames below a task."""
    found = of_tasks(dump(thread(1, WAITING), thread(2, TASK + OURS), thread(3, THEIRS), error="Aborted"))

    assert found == f"{thread(2, TASK).rstrip()}\n\n{thread(3, THEIRS).rstrip()}"


@pytest.mark.parametrize("frames", [TASK + OURS, THEIRS, WAITING])
def test_the_thread_that_caused_the_error_comes_first(frames: str) -> None:
    """Whatever it ran: an extension module may have crashed in a thread of pyxqueue."""
    found = of_tasks(dump(thread(1, TASK + OURS), thread(2, frames, current=True)))

    assert found.startswith("Current thread 0x0000000000000002")
    assert "Thread 0x0000000000000001" in found


def test_a_thread_that_was_only_told_to_abort() -> None:
    """It is not the cause: the signal goes to the main thread."""
    found = of_tasks(dump(thread(1, TASK + OURS), thread(2, WAITING, current=True), error="Aborted"))

    assert found == thread(1, TASK).rstrip()


@pytest.mark.parametrize("raw", [b"", b"\xff", b"Fatal Python error: Aborted\n\n<no Python frame>", b"Thread 0x1"])
def test_a_dump_without_stacks(raw: bytes) -> None:
    assert of_tasks(raw) == innermost(of_tasks(raw)) == ""


def test_the_innermost_frames() -> None:
    """They are those of the first thread, in one line."""
    found = of_tasks(dump(thread(1, THEIRS), thread(2, TASK + OURS, current=True)))

    assert innermost(found) == "send (mail.py:12), called by invite (app.py:80)"


@pytest.mark.parametrize("make", [InFlightTable.shared, InFlightTable.forked])
def test_a_process_that_is_aborted(make: Callable[[], InFlightTable], tmp_path: Path) -> None:
    """It has written where it was, and left no core dump, although one is allowed."""
    table = make()
    reader, writer = os.pipe()
    pid = fork()
    if not pid:
        os.chdir(tmp_path)
        _wait(table, writer)
    assert os.read(reader, 1) == b"r"

    abort(pid)

    _, status = os.waitpid(pid, 0)
    assert os.WTERMSIG(status) == signal.SIGABRT
    assert not os.WCOREDUMP(status)
    assert innermost(table.stacks.read()).startswith("_wait (test_stacks.py:")
    table.close()
    os.close(reader)
    os.close(writer)


def _wait(table: InFlightTable, writer: int) -> NoReturn:
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (most, most))
    table.stacks.enable()
    os.write(writer, b"r")
    while True:
        signal.pause()


def test_a_process_that_is_gone() -> None:
    pid = fork()
    if not pid:
        os._exit(0)
    os.waitpid(pid, 0)

    abort(pid)


def test_a_table_of_one_process() -> None:
    """It has no file, and changes nothing in this process."""
    table, before = InFlightTable(), faulthandler.is_enabled()

    table.stacks.enable()

    assert faulthandler.is_enabled() == before
    assert table.stacks.read() == ""
    table.close()
