"""The log lines of a worker, written by a thread of their own."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from logging.handlers import QueueHandler

from ..printable import complain
from ..worker.events import log

_LINES = 1_000
"""How many lines may wait."""
_PATIENCE = 1.0
"""How many seconds the last lines have to be written."""


def dropped_lines(count: int) -> logging.LogRecord:
    text = "%d log lines were dropped because the log was not read fast enough"
    return log.makeRecord(log.name, logging.WARNING, __file__, 0, text, (count,), None)


class QueuedLines(QueueHandler):
    """Keeps a worker's own lines for a thread that writes them."""

    def __init__(self) -> None:
        self.lines: queue.Queue[logging.LogRecord | None] = queue.Queue(_LINES)
        super().__init__(self.lines)
        self.dropped = 0

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        return record  # it stays in this process

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            if self.dropped:
                self.lines.put_nowait(dropped_lines(self.dropped))
                self.dropped = 0
            self.lines.put_nowait(record)
        except queue.Full:  # another thread may have filled the queue
            self.dropped += 1


@contextmanager
def queued_lines() -> Iterator[None]:
    """Have pyxqueue's own lines written by a thread, so that no other thread of the worker waits for the log."""
    handlers, propagate = log.handlers, log.propagate
    direct = logging.Logger(log.name)  # noqa: LOG001 - a copy that keeps the handlers
    direct.handlers, direct.propagate, direct.parent = handlers, propagate, log.parent
    relay = QueuedLines()

    def write() -> None:
        while (record := relay.lines.get()) is not None:
            try:
                direct.callHandlers(record)
            except BaseException as error:  # noqa: BLE001 - a handler may raise anything
                complain(error)

    thread = threading.Thread(target=write, name="pyxqueue-log", daemon=True)
    thread.start()
    log.handlers, log.propagate = [relay], False
    try:
        yield
    finally:
        log.handlers, log.propagate = handlers, propagate
        with suppress(queue.Full):
            relay.lines.put(None, timeout=_PATIENCE)
        thread.join(_PATIENCE)
