"""``pyxqueue worker --reload``: restart the workers when a file changes.

The watcher is the parent process of the workers and does not import their tasks, so a file that cannot be imported
stops the workers but not the watcher. The workers hold a pipe to the watcher: if it is killed, they stop.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Sequence
from types import FrameType

from attrs import define, field

from ..errors import ConfigurationError
from ..log import get_logger
from ..supervisor.starters import pyxqueue_command

log = get_logger("pyxqueue.reload")

_TICK = 200
"""How often the file watcher reports, in milliseconds, if no file has changed."""


@define(eq=False)
class Watcher:
    """Runs `command` with ``--parent-fd``, and restarts it when a Python file under `folder` changes."""

    command: Sequence[str]
    folder: str
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _stop: threading.Event = field(factory=threading.Event, init=False)

    def run(self) -> None:
        """Run until SIGTERM or SIGINT has stopped the workers. A second signal is passed on to them too."""
        try:
            from watchfiles import PythonFilter, watch  # noqa: PLC0415 - an extra
        except ImportError as error:
            raise ConfigurationError("--reload needs watchfiles: pip install 'pyxqueue[reload]'") from error
        previous = {number: signal.signal(number, self._on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
        reader, writer = os.pipe()
        try:
            # Watching begins before the first item is yielded. Workers that start then do not miss a change.
            for changed in watch(
                self.folder,
                watch_filter=PythonFilter(),
                stop_event=self._stop,
                rust_timeout=_TICK,
                yield_on_timeout=True,
            ):
                if changed:
                    log.info("changed: %s", ", ".join(sorted({path for _, path in changed})))
                if changed or self._process is None:
                    self._end()
                    self._start(reader)
        finally:
            self._end()
            os.close(reader)
            os.close(writer)
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _start(self, parent: int) -> None:
        if not self._stop.is_set():
            command = [*self.command, "--parent-fd", str(parent)]
            # The workers get a session of their own, so that ^C reaches the watcher only, which passes it on.
            self._process = subprocess.Popen(command, pass_fds=[parent], start_new_session=True)  # noqa: S603 - ours

    def _end(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        again = self._stop.is_set()
        self._stop.set()
        if again and self._process is not None:
            self._process.terminate()


def reloading_command(
    app: str, folder: str, imports: Sequence[str], flags: Sequence[str], others: Sequence[str] = ()
) -> list[str]:
    """Return the command that a `Watcher` runs to start the workers. `others`: further apps that they serve."""
    more = [word for module in imports for word in ("--import", module)]
    more += [word for other in others for word in ("--also", other)]
    return pyxqueue_command("--path", folder, "--app", app, *more, "worker", *flags)
