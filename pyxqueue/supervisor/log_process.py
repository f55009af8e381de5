"""The process that writes the supervisor's log. If the reader of the log stalls, lines are lost, but no lease, time
limit or signal.

The supervisor must not wait for a log handler. A second thread cannot do that for it, because the supervisor forks. So
another process has the handlers of the program.
"""

from __future__ import annotations

import logging
import os
import pickle
import select
import signal
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from logging.handlers import SocketHandler
from typing import IO, Any

from ..printable import complain
from ..worker.events import log
from .log_thread import dropped_lines
from .processes import end_process, fork

_BUFFER = 256 * 1024
"""How many bytes of records may wait in the supervisor, besides those in the socket."""
_PATIENCE = 1.0
"""How many seconds the last lines have to be written."""
_LOGGERS = ("pyxqueue", "redis")
"""The loggers whose records go to the process. The supervisor runs no other code."""


class _Relay(SocketHandler):
    """Writes records into a socket without waiting. Keeps what does not fit, up to a limit, and counts the rest."""

    def __init__(self) -> None:
        super().__init__("", None)
        self.pending = bytearray()
        self.dropped = 0

    def send(self, s: Any) -> None:
        if self.dropped and len(self.pending) < _BUFFER // 2:
            count, self.dropped = self.dropped, 0
            self.pending += self.makePickle(dropped_lines(count))
        if len(self.pending) + len(s) > _BUFFER:
            self.dropped += 1
        else:
            self.pending += s
        self.push()

    def push(self) -> None:
        """Send what can be sent without waiting."""
        with suppress(OSError):
            while self.pending and self.sock is not None:
                del self.pending[: self.sock.send(self.pending)]

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802 - it would print to stderr
        self.dropped += 1


class LogWriter:
    """The supervisor's end of the process that writes its log."""

    def __init__(self) -> None:
        self.pid = 0
        """0 while there is no process."""
        self._relay = _Relay()
        self._before: list[tuple[logging.Logger, list[logging.Handler], bool]] = []
        self._start()
        self._divert()

    def tend(self) -> None:
        """Send what waits. Starts another process if the last one was killed, as soon as the system has room for it."""
        pid = self.pid
        if pid and _ended(pid):
            self._relay.close()
            self.pid = 0
        if not self.pid:
            self._start_again(was_killed=pid != 0)
        if self._relay.dropped and len(self._relay.pending) < _BUFFER // 2:
            self._relay.send(b"")
        self._relay.push()

    def leave(self) -> None:
        """Restore the handlers, in a process that was forked from the supervisor."""
        self._restore()
        self._relay.pending.clear()
        self._relay.close()

    def close(self) -> None:
        """End the process when it has written the last lines, or after a moment. Restores the handlers in this one."""
        self._restore()
        relay, deadline = self._relay, time.monotonic() + _PATIENCE
        connection = relay.sock
        if connection is None:  # the process was killed, and no other could be started
            return
        relay.send(b"")
        while relay.pending and _ready(connection, deadline, to_write=True):
            before = len(relay.pending)
            relay.push()
            if len(relay.pending) == before:
                break  # the process is gone
        with suppress(OSError):
            connection.shutdown(socket.SHUT_WR)
        if not _ready(connection, deadline, to_write=False):  # it closes its end when everything is written
            os.kill(self.pid, signal.SIGKILL)
        relay.close()
        with suppress(ChildProcessError):
            os.waitpid(self.pid, 0)

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        try:
            self.pid = fork()
        except OSError:
            ours.close()
            theirs.close()
            raise
        if self.pid == 0:
            self._restore()
            ours.close()
            end_process(lambda: _write(theirs))
        theirs.close()
        ours.setblocking(False)
        self._relay.sock = ours

    def _start_again(self, *, was_killed: bool) -> None:
        try:
            self._start()
        except OSError as error:
            if was_killed:
                log.error("the process that writes the log was killed, and no other can be started now: %s", error)
        else:
            log.warning("the process that writes the log was killed: started another")

    def _divert(self) -> None:
        for name in _LOGGERS:
            top = logging.getLogger(name)
            others = [one for one in list(top.manager.loggerDict.values()) if isinstance(one, logging.Logger)]
            for one in [top, *(one for one in others if one.name.startswith(f"{name}."))]:
                self._before.append((one, one.handlers, one.propagate))
                one.handlers, one.propagate = [], True
            top.handlers, top.propagate = [self._relay], False

    def _restore(self) -> None:
        for one, handlers, propagate in self._before:
            one.handlers, one.propagate = handlers, propagate
        self._before.clear()


def _write(connection: socket.socket) -> int:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)
    os.setpgid(0, 0)
    with connection, connection.makefile("rb") as lines:
        for record in _records(lines):
            try:
                logging.getLogger(record.name).callHandlers(record)
            except BaseException as error:  # noqa: BLE001 - a handler may raise anything
                complain(error)
        logging.shutdown()  # while the supervisor still waits for this process
    return 0


def _records(lines: IO[bytes]) -> Iterator[logging.LogRecord]:
    while len(header := lines.read(4)) == 4:
        length = struct.unpack(">L", header)[0]
        if len(text := lines.read(length)) < length:
            return
        yield logging.makeLogRecord(pickle.loads(text))  # noqa: S301 - our own process wrote it


def _ended(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return True


def _ready(connection: socket.socket, deadline: float, *, to_write: bool) -> bool:
    poll = select.poll()
    poll.register(connection, select.POLLOUT if to_write else select.POLLIN)
    return bool(poll.poll(max(0.0, deadline - time.monotonic()) * 1000))
