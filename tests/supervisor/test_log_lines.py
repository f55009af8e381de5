"""Neither the supervisor nor its workers wait for the log."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from unittest.mock import Mock

import pytest

from pyxqueue.supervisor import log_process
from pyxqueue.supervisor.log_process import LogWriter
from pyxqueue.supervisor.log_thread import QueuedLines, queued_lines
from pyxqueue.worker.events import log
from tests.support.until import until


class Blocking(logging.Handler):
    """Writes each line into a file when it has read a byte from a pipe."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.reader, self.writer = os.pipe()

    def emit(self, record: logging.LogRecord) -> None:
        os.read(self.reader, 1)
        with self.path.open("a") as file:
            file.write(self.format(record) + "\n")


def tended(writer: LogWriter) -> LogWriter:
    """Do what one more round of the supervisor's loop does."""
    writer.tend()
    return writer


@pytest.fixture
def handler(tmp_path: Path) -> Iterator[Blocking]:
    handler = Blocking(tmp_path / "lines")
    handler.path.touch()
    logging.getLogger("pyxqueue").addHandler(handler)
    yield handler
    logging.getLogger("pyxqueue").removeHandler(handler)
    os.close(handler.reader)


def test_the_supervisor_does_not_wait_for_a_handler(handler: Blocking) -> None:
    """Another process writes its lines; the log says how many did not fit."""
    with closing(LogWriter()) as writer:
        for number in range(5_000):
            log.warning("line %d %s", number, "x" * 100)
        assert handler.path.read_text() == ""
        assert writer._relay.dropped > 1_000
        dropped = writer._relay.dropped
        os.write(handler.writer, b"x" * 20_000)  # from now on it does not wait
        until(lambda: tended(writer)._relay.pending == b"" and not writer._relay.dropped, "all lines are sent")

    lines = handler.path.read_text().splitlines()
    assert lines[0].startswith("line 0 x")
    assert lines[-1] == f"{dropped} log lines were dropped because the log was not read fast enough"
    assert len(lines) == 5_000 - dropped + 1


def test_a_handler_that_never_returns_does_not_keep_the_supervisor(handler: Blocking) -> None:
    """At the end the process that writes is killed, and this one has its handlers again."""
    with closing(LogWriter()) as writer:
        log.warning("never written")

    with pytest.raises(ProcessLookupError):
        os.kill(writer.pid, 0)
    assert handler.path.read_text() == ""
    assert logging.getLogger("pyxqueue").handlers == [handler]


def test_a_killed_writer_is_replaced(handler: Blocking) -> None:
    """The log says so."""
    os.write(handler.writer, b"x" * 100)
    with closing(LogWriter()) as writer:
        before = writer.pid
        os.kill(before, signal.SIGKILL)
        until(lambda: tended(writer).pid != before, "there is another")
        log.warning("after it")

    said = handler.path.read_text().splitlines()
    assert said == ["the process that writes the log was killed: started another", "after it"]


def test_a_killed_writer_that_cannot_be_replaced_now(handler: Blocking, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is tried again, and lines wait until then; a supervisor that ends meanwhile loses only these."""
    os.write(handler.writer, b"x" * 100)
    failing = Mock(side_effect=BlockingIOError("no room"))
    with closing(LogWriter()) as writer:
        os.kill(writer.pid, signal.SIGKILL)
        with monkeypatch.context() as full:
            full.setattr(log_process, "fork", failing)
            until(lambda: tended(writer).pid == 0, "no other can be started")
            tended(writer)
            log.warning("meanwhile")
        tended(writer)

    assert failing.call_count == 2
    text = "the process that writes the log was killed"
    said = handler.path.read_text().splitlines()
    assert said == [f"{text}, and no other can be started now: no room", "meanwhile", f"{text}: started another"]

    writer = LogWriter()
    os.kill(writer.pid, signal.SIGKILL)
    monkeypatch.setattr(log_process, "fork", failing)
    until(lambda: tended(writer).pid == 0, "no other can be started")
    writer.close()
    assert logging.getLogger("pyxqueue").handlers == [handler]


def test_a_record_is_complete_in_the_other_process(tmp_path: Path) -> None:
    """It has its traceback and its extra attributes, and goes to the handlers that it would have had here."""
    file = tmp_path / "lines"
    handler = logging.FileHandler(file)
    handler.setFormatter(logging.Formatter("%(name)s %(task_id)s %(message)s"))
    log.addHandler(handler)
    try:
        with closing(LogWriter()):
            try:
                raise ValueError("the cause")
            except ValueError:
                log.exception("it broke with %s", "words", extra={"task_id": "t1"})
    finally:
        log.removeHandler(handler)
        handler.close()

    text = file.read_text()
    assert "pyxqueue.worker t1 it broke with words\n  Traceback" in text
    assert "ValueError: the cause" in text


def test_a_child_of_the_supervisor_logs_by_itself(handler: Blocking) -> None:
    """It has the program's handlers again, and the supervisor's socket is closed in it."""
    os.write(handler.writer, b"x" * 100)
    writer = LogWriter()
    child = os.fork()
    if child == 0:
        writer.leave()
        log.warning("from the child")
        os._exit(0 if writer._relay.sock is None else 1)

    assert os.waitpid(child, 0)[1] == 0
    assert handler.path.read_text() == "from the child\n"
    writer.close()


def test_a_full_queue_of_lines_is_not_waited_for() -> None:
    """The line about what was dropped takes the only room there is, and the next line is dropped too."""
    relay = QueuedLines()
    line = logging.makeLogRecord({"msg": "line"})
    for _ in range(1_001):
        relay.enqueue(line)
    assert relay.dropped == 1
    relay.lines.get()

    relay.enqueue(line)

    assert (relay.dropped, relay.lines.qsize()) == (1, 1_000)


def test_no_thread_of_a_worker_waits_for_the_log(handler: Blocking) -> None:
    """Another thread writes the lines in order, and how many were dropped."""
    with queued_lines():
        for number in range(1_500):
            log.warning("line %d", number)
        assert handler.path.read_text() == ""
        os.write(handler.writer, b"x" * 2_000)
        until(lambda: "line 500" in handler.path.read_text(), "they are written")
        log.warning("the last")
        until(lambda: "the last" in handler.path.read_text(), "it is written")

    lines = handler.path.read_text().splitlines()
    assert lines[0] == "line 0"
    assert "log lines were dropped" in lines[-2]
    assert log.handlers == []
    assert not any(thread.name == "pyxqueue-log" for thread in threading.enumerate())
