"""Fork a process, end it, kill its group."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from typing import NoReturn

from ..errors import BrokerError
from ..printable import complain
from ..worker.events import log

_LAST_WORDS = 2.0
"""Seconds in which a process that ends may write out what is buffered."""
_GET_CHILD_SUBREAPER = 37


def fork_is_safe() -> bool:
    """Forking copies one thread and the locks of all; macOS's frameworks do not survive it at all."""
    return sys.platform != "darwin" and threading.active_count() == 1


def fork() -> int:
    """`os.fork` with nothing left in the output buffers that both processes would then write."""
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
            # In a thread: a handler that waits for a reader must not keep a process that has ended.
            last = threading.Thread(target=_write_last, daemon=True)
            last.start()
            last.join(_LAST_WORDS)
        finally:
            os._exit(code)  # whatever happens: an exception must not climb into the parent's code that we carry


def _write_last() -> None:
    logging.shutdown()
    _flush()


def _flush() -> None:
    """Write out what is buffered; a stream that is closed, or whose reader is gone, is not worth a process."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()


def own_group(pid: int) -> None:
    """A group of its own, so that what tasks start can be ended with it. Parent and child both ask: no race."""
    with contextlib.suppress(PermissionError, ProcessLookupError):
        os.setpgid(pid, 0)


def adopts_orphans() -> bool:
    """Return whether orphaned processes become children of this process, as for PID 1 and a subreaper."""
    if os.getpid() == 1:
        return True
    if sys.platform != "linux":
        return False
    answer = ctypes.c_int(0)
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_GET_CHILD_SUBREAPER, ctypes.byref(answer), 0, 0, 0)
    return bool(answer.value)


def kill_group(pid: int) -> None:
    """Kill the process and whatever it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):  # gone, or (macOS) only a zombie is left of it
        os.killpg(pid, signal.SIGKILL)
