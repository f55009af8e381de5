"""Making worker processes: by fork where that is safe, else by starting the interpreter anew."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from typing import NoReturn

from ..errors import BrokerError
from ..printable import complain
from .events import hear_logs, log
from .held import HeldTable
from .lines import queued_lines
from .worker import Worker

_LAST_WORDS = 2.0
"""Seconds in which a process that ends may write out what is buffered."""
_GET_CHILD_SUBREAPER = 37
_LOOK_EVERY = 1.0
"""Seconds between two looks whether the supervisor is there."""

MakeWorker = Callable[[str, HeldTable], Worker]
"""Makes the worker of a process, from its consumer name and its table; called in that process."""


def fork_is_safe() -> bool:
    """Forking copies one thread and the locks of all; macOS's frameworks do not survive it at all."""
    return sys.platform != "darwin" and threading.active_count() == 1


class ForkStarter:
    """Forks a child that already has the tasks."""

    def __init__(self, make: MakeWorker) -> None:
        self._make = make

    def __call__(self, consumer: str, table: HeldTable, close_inherited: Callable[[], None]) -> int:
        # Until the child has a handler of its own, a signal would run the supervisor's in it, and be lost.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        supervisor = os.getpid()
        pid = fork()
        if pid:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            _own_group(pid)
            return pid

        def body() -> int:
            close_inherited()
            return serve(self._make, consumer, table, supervisor)

        return end_process(body)


def fork() -> int:
    """`os.fork` with nothing left in the output buffers that both processes would then write."""
    _flush()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # about threads: the caller has decided
        return os.fork()


def end_process(body: Callable[[], int]) -> NoReturn:
    """Be a forked process: run `body` and exit with its code, without what the parent registered for its own exit."""
    code = 1
    try:
        code = body()
    except BrokerError as error:  # the store's own words say more than where it was asked
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


class SpawnStarter:
    """Starts a new interpreter that imports the tasks. `command` is extended by the consumer, the table's fd and the
    pid of the supervisor."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = list(command)

    def __call__(self, consumer: str, table: HeldTable, close_inherited: Callable[[], None]) -> int:  # noqa: ARG002
        command = [*self._command, consumer, str(table.fd), str(os.getpid())]
        process = subprocess.Popen(command, pass_fds=[table.fd], process_group=0)  # noqa: S603 - our own interpreter
        process.returncode = 0  # the supervisor reaps it; Popen must not
        return process.pid


_PID = "<pid>"


def consumer_name(prefix: str, index: int, boot: str) -> str:
    """The name of a worker process that is about to be made, for `with_pid`: unique by `boot`."""
    return f"{prefix}worker-{index}-{_PID}-{boot}"


def with_pid(name: str, pid: int) -> str:
    """The name with the process's pid in it, which only exists after both sides must know the name."""
    return name.replace(_PID, str(pid))


def serve(make: MakeWorker, name: str, table: HeldTable, supervisor: int) -> int:
    """Be a worker process of the process `supervisor`; answers its exit code."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGINT, lambda *_: None)  # the terminal's ^C is for the supervisor to judge
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _own_group(0)
    stopped = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    hear_logs()
    if sys.stdout is not None:
        with contextlib.suppress(AttributeError, ValueError):  # no text stream, or a closed one
            sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr] # what a task printed outlives a kill
    worker = make(with_pid(name, os.getpid()), table)
    signal.signal(signal.SIGTERM, lambda *_: worker.stop())
    if stopped:
        worker.stop()
    _let_forks_be_ordinary()
    threading.Thread(target=_outlive, args=(worker, supervisor), name="pyxqueue-orphan", daemon=True).start()
    with queued_lines():
        worker.run()
    if os.getppid() != supervisor:
        kill_group(os.getpid())  # nobody else is left to end what tasks have started
    return 0


def _outlive(worker: Worker, supervisor: int) -> None:
    """End this process when its worker cannot go on, or its supervisor is gone and the guard has not killed it.

    Without a supervisor nobody renews leases: what runs may end within one, after that somebody else will run it.
    """
    while os.getppid() == supervisor:
        if worker.broken.wait(_LOOK_EVERY):
            time.sleep(_LOOK_EVERY)  # it may still settle what has ended
            os._exit(1)
    log.warning("the supervisor of %s is gone, and so is its guard: it ends", worker.consumer)
    worker.stop()
    with contextlib.suppress(BrokerError):
        time.sleep(worker.broker.lease() / 1000)
    kill_group(os.getpid())


def _let_forks_be_ordinary() -> None:
    """A process that a task forks is no worker: signals do to it what they do to any, from the first moment on."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGALRM)
    masks = threading.local()

    def before() -> None:
        masks.before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)

    def after() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, masks.before)

    def after_in_child() -> None:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)
        after()

    os.register_at_fork(before=before, after_in_parent=after, after_in_child=after_in_child)


def _own_group(pid: int) -> None:
    """A group of its own, so that what tasks start can be ended with it. Parent and child both ask: no race."""
    with contextlib.suppress(PermissionError, ProcessLookupError):
        os.setpgid(pid, 0)


def adopts_orphans() -> bool:
    """Whether processes that have lost their parent become children of this one: PID 1 does, and who asked for it."""
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
