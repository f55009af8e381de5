"""Fork a process, end it, kill its group."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import select
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterable
from typing import NoReturn

from ..errors import BrokerError
from ..printable import complain
from ..worker.events import log

_LAST_WORDS = 2.0
"""How many seconds an ending process has to write buffered output."""
_GET_CHILD_SUBREAPER = 37


def fork_is_safe() -> bool:
    """Return whether this process may fork. A fork has one of its threads, but the locks of all of them; and the
    frameworks of macOS do not survive it."""
    return sys.platform != "darwin" and threading.active_count() == 1


def fork() -> int:
    """Fork, with empty output buffers: both processes would write what is in them."""
    _flush()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # about threads: the caller has decided
        return os.fork()


def end_process(body: Callable[[], int]) -> NoReturn:
    """Run `body` in a forked process and exit with its code, without what the parent registered for its own exit."""
    code = 1
    try:
        code = body()
    except BrokerError as error:  # its message says more than a traceback
        log.error("this process ends: %s", error)
    except BaseException as error:  # noqa: BLE001 - whatever it was, this process must end here
        complain(error)
    finally:
        try:
            # In a thread: a handler that waits for its reader must not keep this process alive.
            last = threading.Thread(target=_write_last, daemon=True)
            last.start()
            last.join(_LAST_WORDS)
        finally:
            os._exit(
                code
            )  # in any case: an exception must not reach the code of the parent, which is below on the stack


def _write_last() -> None:
    logging.shutdown()
    _flush()


def _flush() -> None:
    """Write what is buffered. A stream that is closed, or whose reader is gone, is ignored."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()


def readable(fds: Iterable[int], seconds: float) -> set[int]:
    """Wait until some of these file descriptors can be read, at most for so long, and return them. Unlike `select`, it
    takes numbers of 1,024 and more, which a program with many open files has."""
    poll = select.poll()
    for fd in fds:
        poll.register(fd, select.POLLIN)
    return {fd for fd, _ in poll.poll(max(0.0, seconds) * 1000)}


def own_group(pid: int) -> None:
    """Put a process into a group of its own, so that `kill_group` also kills what its tasks start. Parent and child
    both call this, so the group exists when either needs it."""
    with contextlib.suppress(PermissionError, ProcessLookupError):
        os.setpgid(pid, 0)


def adopts_orphans() -> bool:
    """Return whether orphaned processes become children of this process, as for PID 1 and a subreaper."""
    if os.getpid() == 1:
        return True
    if sys.platform != "linux":
        return False
    adopts = ctypes.c_int(0)
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_GET_CHILD_SUBREAPER, ctypes.byref(adopts), 0, 0, 0)
    return bool(adopts.value)


def how_it_ended(code: int) -> str:
    """Return in words how a process ended, from its exit code as `os.waitstatus_to_exitcode` has it."""
    if code >= 0:
        return f"the process exited with code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:  # a real-time signal has no name
        name = f"signal {-code}"
    return f"the process was ended by {name}{' (out of memory?)' if name == 'SIGKILL' else ''}"


def kill_group(pid: int) -> None:
    """Kill a process and the processes that it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):  # gone, or (macOS) only a zombie is left of it
        os.killpg(pid, signal.SIGKILL)
