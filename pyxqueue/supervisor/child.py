"""A worker process: signals, the log, and its end when the supervisor has died."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator

from ..errors import BrokerError
from ..ids import new_id
from ..inflight import InFlightTable
from ..printable import MAX_TRACEBACK, class_of, printable, text_of
from ..worker.events import log
from ..worker.logs import enable_logs
from ..worker.worker import Worker
from .endings import Endings
from .log_thread import queued_lines
from .processes import kill_group, own_group

_LONGEST_TEXT = MAX_TRACEBACK + 500
_LOOK_EVERY = 1.0
"""Seconds between two checks that the supervisor is alive."""

MakeWorker = Callable[[str, InFlightTable], Worker]
"""Makes the worker of a process, from its consumer name and its table; called in that process."""


_PID = "<pid>"


def boot() -> str:
    """Return the number of this machine, and 48 random bits: machines may have the same number."""
    return f"{uuid.getnode():012x}-{new_id()[-8:]}"


def consumer_name(prefix: str, index: int, boot: str) -> str:
    """Return the consumer name of a worker process that is about to start; `boot` makes it unique. `with_pid` completes
    it."""
    return f"{prefix}worker-{index}-{_PID}-{boot}"


def with_pid(name: str, pid: int) -> str:
    """Return the name with the pid, which is only known when both processes have the name already."""
    return name.replace(_PID, str(pid))


@contextlib.contextmanager
def importing(table: InFlightTable, what: str) -> Iterator[None]:
    """Tell the supervisor what this process imports to start. The supervisor logs why an import failed; this
    process does not, since it is one of many that are started again and again. Raises `SystemExit`."""
    table.start.say(f"it imported {what}")
    try:
        yield
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the supervisor logs it
        cause = error.__cause__ or error
        why = printable(f"{class_of(cause)}: {text_of(cause)}")
        table.start.say(f"it imported {what} ({why})\n{text_of(error)[:_LONGEST_TEXT]}")
        raise SystemExit(2) from None


def serve(make: MakeWorker, name: str, table: InFlightTable, supervisor: int) -> int:
    """Run a worker process under the process `supervisor`; return its exit code."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGINT, lambda *_: None)  # ^C in the terminal is for the supervisor to handle
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    own_group(0)
    table.stacks.enable()
    stopped = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    enable_logs()
    _write_lines_at_once()
    worker = make(with_pid(name, os.getpid()), table)
    if worker.lifetime is not None and (used := worker.lifetime.excess()):
        allowed = f"max_memory_per_child={worker.lifetime.max_memory:g}"
        table.start.say(f"it used {used:.0f} MiB of memory before its first task, more than {allowed} allows")
        return 2
    endings = Endings(worker)

    def stop(*_: object) -> None:
        endings.asked()
        worker.stop()

    if worker.plugins is not None:
        table.start.say("its plugins started")
    endings.begin()
    table.start.say("", done=True)
    signal.signal(signal.SIGTERM, stop)
    if stopped:
        stop()
    _let_forks_be_ordinary()
    gc.freeze()  # what was imported lasts: a collection then neither visits it nor copies its pages from the parent
    threading.Thread(
        target=_exit_when_orphaned, args=(worker, table, supervisor, endings), name="pyxqueue-orphan", daemon=True
    ).start()
    with queued_lines():
        try:
            worker.run()
        finally:
            endings.end()
    if worker.retired:
        table.start.say(worker.retired, done=True)
    if os.getppid() != supervisor:
        kill_group(os.getpid())  # no other process is left to end what tasks have started
    return 0


def _write_lines_at_once() -> None:
    """Keep the lines that a task prints before it is killed."""
    if sys.stdout is not None:
        with contextlib.suppress(AttributeError, ValueError):  # no text stream, or a closed one
            sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]


def _exit_when_orphaned(worker: Worker, table: InFlightTable, supervisor: int, endings: Endings) -> None:
    """End this process when its worker has failed, or when its supervisor and the watchdog have died; and give the
    supervisor signs of life.

    Without a supervisor no lease is renewed. Running tasks have one lease to end; after that, other workers run them.
    """
    while not (is_orphan := os.getppid() != supervisor):
        table.contact.alive(time.monotonic())
        if worker.broken.wait(_LOOK_EVERY):
            break
    try:
        if is_orphan:
            log.warning("worker %s: the supervisor and its watchdog died; this process exits", worker.consumer)
            worker.stop()
            with contextlib.suppress(BrokerError):
                time.sleep(worker.lease_ms() / 1000)
        else:
            time.sleep(_LOOK_EVERY)  # the worker may still settle what has ended
        endings.stop_plugins()
    except BaseException:  # noqa: BLE001 - logged; nobody is left to raise it to
        log.exception("worker %s exits all the same", worker.consumer)
    finally:  # whatever was raised: nobody else ends this process
        if is_orphan:
            kill_group(os.getpid())
        os._exit(1)


def _let_forks_be_ordinary() -> None:
    """Restore default signal handlers at once in a process that a task forks, because it is not a worker."""
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
