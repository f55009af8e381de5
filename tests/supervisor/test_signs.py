"""The signs of life that a supervisor gives: a file that it touches, and the messages of systemd."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyxqueue import ConfigurationError
from pyxqueue.supervisor.signs import SignsOfLife


class Clock:
    """A monotonic clock that a test moves."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    """The socket of systemd."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.setblocking(False)
        yield listening


def heard(systemd: socket.socket) -> list[str]:
    messages = []
    while True:
        try:
            messages.append(systemd.recv(4096).decode())
        except BlockingIOError:
            return messages


def test_the_file_is_touched_every_second(tmp_path: Path, clock: Clock) -> None:
    """It exists from the start to the end, and is touched no more often than that."""
    file = tmp_path / "beat"
    signs = SignsOfLife({"PYXQUEUE_HEARTBEAT": str(file)}, clock)
    touched = []
    for now in (100.0, 100.5, 101.0, 101.9, 102.0):
        os.utime(file, (0, 0))
        clock.now = now
        signs.give(ready=False)
        touched.append(file.stat().st_mtime > 0)
    signs.end()

    assert touched == [True, False, True, False, True]
    assert not file.exists()


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    """It is refused at the start; the error says what to do."""
    with pytest.raises(ConfigurationError, match=r"cannot be written \(No such file or directory\): name one in"):
        SignsOfLife({"PYXQUEUE_HEARTBEAT": str(tmp_path / "missing" / "beat")})


def test_a_file_that_cannot_be_written_later(tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """The workers go on, and the log says it once."""
    folder = tmp_path / "run"
    folder.mkdir()
    signs = SignsOfLife({"PYXQUEUE_HEARTBEAT": str(folder / "beat")}, clock)
    signs.give(ready=True)
    (folder / "beat").unlink()
    folder.rmdir()
    for clock.now in (101.0, 102.0, 103.0):
        signs.give(ready=True)
    signs.end()

    assert [record.message.partition(":")[0] for record in caplog.records] == [
        "the heartbeat file cannot be written now"
    ]


def test_systemd_is_told(systemd: socket.socket, clock: Clock) -> None:
    """Ready once all processes have started, alive twice in each period, and stopping."""
    environ = {"NOTIFY_SOCKET": systemd.getsockname(), "WATCHDOG_USEC": "4000000", "WATCHDOG_PID": str(os.getpid())}
    signs = SignsOfLife(environ, clock)
    signs.give(ready=False)
    assert heard(systemd) == ["WATCHDOG=1"]
    clock.now += 1.9
    signs.give(ready=True)
    assert heard(systemd) == ["READY=1"]
    clock.now += 0.1
    signs.give(ready=True)
    assert heard(systemd) == ["WATCHDOG=1"]
    signs.stopping()
    assert heard(systemd) == ["STOPPING=1"]


def test_the_loop_turns_often_enough_for_the_watchdog(clock: Clock) -> None:
    """However short its period is."""
    assert SignsOfLife({"WATCHDOG_USEC": "300000"}, clock).longest() == 0.15
    assert SignsOfLife({}, clock).longest() == 1.0


@pytest.mark.parametrize(
    "environ",
    [
        {"NOTIFY_SOCKET": "relative"},
        {"NOTIFY_SOCKET": "/nowhere/notify"},
        {"NOTIFY_SOCKET": "@pyxqueue-nobody-listens"},
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"},
    ],
)
def test_what_is_not_for_this_process(environ: dict[str, str], clock: Clock) -> None:
    """A socket that is not there, or a watchdog of another process, is passed over."""
    signs = SignsOfLife(environ, clock)
    signs.give(ready=True)
    signs.stopping()
    signs.end()

    assert signs.longest() == 1.0


def test_systemd_that_reads_nothing_holds_nobody_up(systemd: socket.socket, clock: Clock) -> None:
    """Its buffer is full: the message is lost, and the call returns."""
    signs = SignsOfLife({"NOTIFY_SOCKET": systemd.getsockname(), "WATCHDOG_USEC": "2"}, clock)
    for _ in range(2_000):
        clock.now += 1
        signs.give(ready=True)

    assert heard(systemd)[0] == "READY=1"
