"""What the log says about worker processes that do not start."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from pyxqueue.inflight import InFlightTable
from pyxqueue.supervisor import children, start_log
from pyxqueue.supervisor.care import QueueAccess
from pyxqueue.supervisor.children import Child
from pyxqueue.supervisor.start_log import StartLog
from pyxqueue.supervisor.starters import pyxqueue_command, spawn_worker
from pyxqueue.supervisor.supervisor import Supervisor
from pyxqueue.worker.events import Throttle
from pyxqueue.worker.options import WorkerOptions
from tests.support.until import until

from .test_supervisor import FakeBroker, Starter, die
from .test_supervisor import supervise as run_supervisor

RAISES = r"""
class Odd(Exception):
    def __str__(self):
        return "\x1b]52;c;eA==\x07\nERROR forged\n" + "x" * 10_000_000

raise Odd
"""


def supervise(folder: Path, code: str, processes: int, done: Callable[[], object]) -> None:
    """Run a supervisor of processes that import a module with this code, until `done`."""
    (folder / "jobs.py").write_text(code)
    command = pyxqueue_command("--sys-path", str(folder), "--app", "jobs", "child")
    names = iter(range(1_000))
    one = Supervisor(
        WorkerOptions(processes=processes, grace=0),
        partial(spawn_worker, command),
        [QueueAccess(FakeBroker)],  # type: ignore[arg-type]
        name=lambda _: f"w{next(names)}",
    )

    def stop() -> None:
        try:
            until(done, "the test's condition")
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=stop)
    thread.start()
    one.run()
    thread.join()


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The warnings and errors from before the supervisor was stopped."""
    texts = [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]
    return [text for text in texts if "running nothing" not in text]


def test_a_module_that_cannot_be_imported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """The log names it, with the error and a printable traceback of limited length, a few times for many processes.
    The processes themselves log nothing."""
    failures = tmp_path / "failures"
    supervise(
        tmp_path,
        f"open({str(failures)!r}, 'a').write('x')\n{RAISES}",
        4,
        lambda: failures.exists() and failures.stat().st_size > 8,
    )

    told = lines(caplog)
    assert len(told) == 3
    assert "ended with 2 while it imported jobs (Odd: \\x1b]52;c;eA==\\x07\\nERROR forged" in told[0]
    assert "fix that, or stop the workers; it is started again in" in told[0]
    assert 'jobs.py", line' in told[0]
    for text in told:
        assert len(text) < 20_000
        assert text.replace("\n", "").isprintable()
        assert not [line for line in text.splitlines() if line.startswith("ERROR")]
    assert "Odd" not in capfd.readouterr().err


def test_a_module_that_ends_the_process(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It leaves no reason; the log names the module all the same."""
    supervise(tmp_path, "import os; os._exit(7)", 1, lambda: lines(caplog))

    assert "ended with 7 while it imported jobs; fix that" in lines(caplog)[0]


def test_a_module_that_hangs(tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log names it once."""
    begun = tmp_path / "begun"

    def done() -> bool:
        if begun.exists():
            monkeypatch.setattr(start_log, "_SLOW", 0.0)
        return bool(lines(caplog))

    supervise(tmp_path, f"import signal\nopen({str(begun)!r}, 'w').close()\nsignal.pause()", 1, done)

    assert "has not started after" in lines(caplog)[0]
    assert lines(caplog)[0].endswith("while it imported jobs")


def child(index: int) -> Child:
    return Child(index, pid=1, consumer=f"w{index}", table=InFlightTable(), born=time.monotonic() - 100)


def test_a_few_failures_are_logged_and_the_first_after_a_start(caplog: pytest.LogCaptureFixture) -> None:
    """A hundred failures make three lines; when a process has started, the next failure is logged at once."""
    log, good = StartLog(Throttle("%d more", 3, monotonic=lambda: 1.0)), child(0)
    for index in range(100):
        log.failed(child(index), 1)
        log.look([])
    assert len(lines(caplog)) == 3

    good.table.start.say("", done=True)
    log.look([good])
    log.failed(child(100), 1)

    assert lines(caplog)[3] == "97 more"
    assert lines(caplog)[4].startswith("worker process w100 ended with 1 while it started")


def test_a_slow_start_is_logged_once_for_each_process_and_a_few_times_for_all(caplog: pytest.LogCaptureFixture) -> None:
    """A process that has started is not slow."""
    log, many = StartLog(), [child(index) for index in range(100)]
    many[0].table.start.say("", done=True)
    for _ in range(3):
        log.look(many)

    assert [text.split()[2] for text in lines(caplog)] == ["w1", "w2", "w3"]


def test_what_a_process_says_of_its_start_is_bounded() -> None:
    """The supervisor can read it, whatever the text is."""
    table = InFlightTable()

    table.start.say("\udcff" + "é" * 10_000_000)

    assert table.start.text().startswith("\\udcffé")
    assert len(table.start.text()) < 16_384
    assert not table.start.done
    assert not table.busy()


def test_a_process_that_lives_long_without_starting_is_not_sound(monkeypatch: pytest.MonkeyPatch) -> None:
    """There are pauses, too, if a module takes some seconds to fail."""
    monkeypatch.setattr(children, "_STABLE", -1.0)
    starter = Starter(die)

    run_supervisor(starter, FakeBroker(), lambda: len(starter.born) == 4)

    assert starter.born[3] - starter.born[2] > 0.3
