"""What watches over a tree of workers learns that they start, live and stop."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest
from click.testing import CliRunner

from pyxqueue.cli import main
from tests.support.until import until

from .app import App, Site
from .conftest import StartTree


def test_systemd_and_the_heartbeat(
    start_tree: StartTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, app: App, site: Site
) -> None:
    """Ready when the processes have started, alive while a task holds the interpreter, stopping at the signal; a
    supervisor that stands still is found by the age of its file."""
    beat = tmp_path / "beat"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(30)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "400000")
        monkeypatch.setenv("PYXQUEUE_HEARTBEAT", str(beat))
        tree = start_tree("-p", "1")

        def hear(message: bytes) -> bool:
            return systemd.recv(4096) == message

        until(lambda: hear(b"READY=1"), "it is ready")
        app["hold_gil"](3)
        until(lambda: site.of("start"), "it holds the interpreter")
        os.utime(beat, (0, 0))
        until(lambda: hear(b"WATCHDOG=1"), "it lives")
        until(lambda: beat.stat().st_mtime > 0, "it is touched")
        assert _health(beat, 15) == 0

        tree.signal(signal.SIGSTOP)
        os.utime(beat, (0, 0))
        assert _health(beat, 15) == 1
        tree.signal(signal.SIGCONT)

        tree.signal(signal.SIGTERM)
        until(lambda: hear(b"STOPPING=1"), "it stops")
        assert tree.wait(30) == 0
        assert not beat.exists()
        assert _health(beat, 15) == 1


def _health(beat: Path, within: int) -> int:
    return CliRunner().invoke(main, ["health", "--heartbeat", str(beat), "--within", str(within)]).exit_code
