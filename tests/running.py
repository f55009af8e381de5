"""Programs that people would start from a shell, each in a process and a folder of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from attrs import field, frozen

from .support.trees import WITHOUT_TELEMETRY

ROOT = Path(__file__).parent.parent
WITH_TELEMETRY = {"PYTHONPATH": str(ROOT)}
"""A variable for programs that need OpenTelemetry."""
PATIENCE = 240
"""Seconds until a program counts as hung: the kit runs for half a minute alone, and for longer beside other tests."""


@frozen
class Place:
    """A folder to run programs in, and the store they find in ``PYXQUEUE_URL``; None: the default, a file in there."""

    folder: Path
    url: str | None
    more: Mapping[str, str] = field(factory=dict)
    """Further variables of the environment."""

    @property
    def environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYXQUEUE")}
        store = {} if self.url is None else {"PYXQUEUE_URL": self.url}
        path = os.pathsep.join([str(WITHOUT_TELEMETRY), str(ROOT)])
        return {**inherited, **store, "PYTHONPATH": path, **self.more}

    def run(self, *args: str, options: Sequence[str] = ()) -> str:
        """Run a program to its end and return what it printed; it must exit with 0."""
        done = subprocess.run(
            [sys.executable, "-W", "error", *options, *args],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, f"{args} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    @contextmanager
    def worker(self, *args: str, output: Path | None = None) -> Iterator[subprocess.Popen[bytes]]:
        """Run workers while inside, and stop them as an operator would; they must end well."""
        log = output or self.folder / "worker.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-W", "error", *args], cwd=self.folder, env=self.environment, stdout=file, stderr=file
            )
        try:
            yield process
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE)
            assert process.returncode == 0, log.read_text()
        except BaseException as error:
            error.add_note(f"the worker's output:\n{log.read_text()}")
            raise
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def printed(source: str) -> list[str]:
    """What a program says it prints: the comments behind its ``print(...)`` calls, also those of several lines, or the
    lines of comment right below one."""
    lines, below = [], False
    for line in source.splitlines():
        bare = line.strip().startswith("print(") and "#" not in line
        below = bare or (below and line.startswith("# "))
        if below and not bare:
            lines.append(line.removeprefix("# "))
        call, mark, said = line.strip().partition(")  # ")
        if mark and (not call or call.startswith("print(")):
            lines.append(said)
    return lines


def assert_printed(source: str, output: str) -> None:
    """The lines that the comments promise are in the output, in this order."""
    left = iter(output.splitlines())
    for promised in printed(source):
        assert promised in left, f"not printed (in this order): {promised!r}\n{output}"
