"""Signs of life for whatever monitors the supervisor: a file that it touches, and messages to systemd.

The supervisor runs no user code, so a busy task does not keep it from giving them; and they say nothing about the
store, so an outage of the store does not restart every worker.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from ..errors import ConfigurationError
from ..printable import quoted
from ..worker.events import log

HEARTBEAT = "PYXQUEUE_HEARTBEAT"
"""The environment variable that names the file."""
EVERY = 1.0
"""Seconds between two touches of the file."""


class SignsOfLife:
    """Touches a file, and tells systemd when the workers are ready, alive and stopping, as the environment asks for it.

    The file is the one in ``PYXQUEUE_HEARTBEAT``. The messages go to the socket that systemd names in
    ``NOTIFY_SOCKET``, every half of its ``WATCHDOG_USEC`` (sd_notify(3), sd_watchdog_enabled(3)). Raises
    `ConfigurationError` if the file cannot be written.
    """

    def __init__(self, environ: Mapping[str, str], monotonic: Callable[[], float] = time.monotonic) -> None:
        heartbeat = environ.get(HEARTBEAT, "")
        self._file = Path(heartbeat) if heartbeat else None
        self._notify = _address(environ.get("NOTIFY_SOCKET", ""))
        self._watchdog = _half(environ)
        self._monotonic = monotonic
        self._ready = self._failed = False
        self._touch_at = self._tell_at = 0.0
        self._touch()

    def give(self, *, ready: bool) -> None:
        """Give the signs that are due. `ready`: whether all worker processes have started."""
        now = self._monotonic()
        if ready and not self._ready:
            self._ready = True
            self._tell("READY=1")
        if now >= self._touch_at:
            self._touch_at = now + EVERY
            self._touch()
        if self._watchdog and now >= self._tell_at:
            self._tell_at = now + self._watchdog
            self._tell("WATCHDOG=1")

    def longest(self) -> float:
        """Return the most seconds between two calls of `give`."""
        return min(EVERY, self._watchdog or EVERY)

    def stopping(self) -> None:
        """Tell systemd that the workers stop."""
        self._tell("STOPPING=1")

    def end(self) -> None:
        """Delete the file: nothing is alive any more."""
        if self._file is not None:
            with suppress(OSError):
                self._file.unlink()

    def _touch(self) -> None:
        if self._file is None:
            return
        try:
            self._file.touch()
        except OSError as error:
            if not self._touch_at:
                raise ConfigurationError(
                    f"the heartbeat file {quoted(str(self._file))} cannot be written ({error.strerror}): name one in a "
                    f"folder that exists and that this user can write"
                ) from None
            if not self._failed:
                log.warning("the heartbeat file cannot be written now: %s", error)
            self._failed = True
        else:
            self._failed = False

    def _tell(self, message: str) -> None:
        if not self._notify:
            return
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as to:
            to.setblocking(False)  # systemd is not to hold up the supervisor
            to.sendto(message.encode(), self._notify)


def _address(name: str) -> str:
    """Return the address of systemd's socket; empty if there is none, or it is of an unknown kind."""
    if name.startswith("@"):  # in the abstract namespace
        return "\0" + name[1:]
    return name if name.startswith("/") else ""


def _half(environ: Mapping[str, str]) -> float:
    """Return half of the seconds after which systemd ends a silent process; 0 if it does not watch this one."""
    text, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    ours = not pid or pid == str(os.getpid())
    return int(text) / 2_000_000 if ours and text.isascii() and text.isdigit() and len(text) < 16 else 0.0
