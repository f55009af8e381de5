"""Worker trees: a supervisor with its processes, as an operator starts it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self

from .until import until

ROOT = Path(__file__).parent.parent.parent
WITHOUT_TELEMETRY = Path(__file__).with_name("without_telemetry")
"""What programs of the tests import first from."""
FOREIGN = ("PYXQUEUE_URL", "PYXQUEUE_EAGER", "PYXQUEUE_LEASE", "PYTHONUNBUFFERED")
"""Variables that would change what a test means."""
MARK = "TEST_TREE"
"""A variable by whose value the processes of a tree are found, also those that have lost their parent."""

MORE_PATHS = "TEST_PATHS"
"""A variable with folders from which programs of the tests import, besides that of the project."""


def environment(more: Mapping[str, str]) -> dict[str, str]:
    """What programs of the tests see of this process's environment, and `more`."""
    inherited = {name: value for name, value in os.environ.items() if name not in FOREIGN}
    paths = [str(WITHOUT_TELEMETRY), str(ROOT), *filter(None, [os.environ.get(MORE_PATHS)])]
    return {**inherited, "PYTHONPATH": os.pathsep.join(paths), **more}


def run_program(module: str, more: Mapping[str, str], seconds: float = 50) -> list[str]:
    """Run a module to its end and return the lines it printed. Raises `AssertionError` if it does not exit with 0."""
    command, mark = [sys.executable, "-W", "error", "-m", module], uuid.uuid4().hex
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=environment({**more, MARK: mark}),
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    finally:
        until(lambda: kill(mark), "every process that it has left behind is gone")
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout.splitlines()


class Tree:
    """``pyxqueue worker`` with some options, in a process of its own."""

    def __init__(self, module: str, more: Mapping[str, str], log: Path, *options: str) -> None:
        self.log = log
        self._mark = uuid.uuid4().hex
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-W", "error", "-m", "pyxqueue", "worker", module, *options],
                cwd=ROOT,
                env=environment({**more, MARK: self._mark}),
                stdout=file,
                stderr=file,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def everyone(self) -> list[int]:
        """The supervisor and all that descend from it, as far as they live."""
        return marked(self._mark)

    def signal_all(self, number: signal.Signals) -> None:
        for pid in self.everyone():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def ended(self) -> bool:
        return self._process.poll() is not None

    def wait(self, seconds: float) -> int:
        """Its exit code, once it has ended. Raises `AssertionError` if it does not end in time."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the workers did not end within {seconds:g} s:\n{self.log.read_text()}") from None

    def stop(self, seconds: float = 20) -> int:
        """Stop it as an operator would, and return its exit code."""
        self.signal(signal.SIGTERM)
        return self.wait(seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        until(lambda: kill(self._mark), "every process of the tree is gone")
        self._process.wait()


def _stat(pid: int) -> list[str]:
    """The fields of ``/proc/PID/stat`` from the state on; nothing if there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def alive(pid: int) -> bool:
    """True if the process exists and has not ended; one that only waits to be reaped has."""
    found = _stat(pid)
    return bool(found) and found[0] not in "ZX"


def marked(mark: str) -> list[int]:
    """The processes that were started with this mark in their environment, and live."""
    found = []
    for entry in os.listdir("/proc"):  # noqa: PTH208 - names are enough
        with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            if entry.isdigit() and f"{MARK}={mark}".encode() in Path(f"/proc/{entry}/environ").read_bytes().split(
                b"\0"
            ):
                found.append(int(entry))
    return [pid for pid in found if alive(pid)]


def kill(mark: str) -> bool:
    """Kill every process with this mark that is there; another one may have been started since the last look. Returns
    whether there is none."""
    for pid in marked(mark):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return not marked(mark)


def threads(pid: int) -> int:
    """How many threads a process has."""
    return len(os.listdir(f"/proc/{pid}/task"))  # noqa: PTH208 - their number is enough
