"""The command `doctor`: what is wrong with a queue and its store."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from pyxqueue import TaskQueue
from pyxqueue.model.findings import Finding
from pyxqueue.testing.servers import Server

from ..conftest import kinds_to_test
from .conftest import Command
from .jobs import claim, enqueue


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(kinds_to_test()[0]) as server:
        yield server


def found(url: str, *, topic: str) -> list[Finding]:
    """What is found about one topic, on a queue with one task."""
    with closing(TaskQueue(url, "shop")) as queue:
        queue.task(name="job")(lambda: None).with_options(task_id="one")()
        return [finding for finding in queue.admin.diagnose() if finding.topic == topic]


def levels(url: str, topic: str) -> list[str]:
    return [finding.level for finding in found(url, topic=topic)]


def configure(server: Server, **settings: Any) -> None:
    with Redis.from_url(server.url) as client:
        for name, value in settings.items():
            client.config_set(name.replace("_", "-"), value)


def test_the_text(queue: TaskQueue, command: Command) -> None:
    """One line for each finding, with what to do about it below; the exit code says that something is bad."""
    enqueue(queue, "r1")

    result = command("doctor")

    lines = result.stdout.splitlines()
    assert result.exit_code == 1
    assert "bad   workers       no worker is running; waiting or in flight: 1 task" in lines
    assert lines[lines.index("bad   workers       no worker is running; waiting or in flight: 1 task") + 1].endswith(
        "-> start workers: `pyxqueue worker MODULE`"
    )
    assert max(map(len, lines[1:])) <= 80
    assert all(
        finding["level"] in ("ok", "warning", "error") for finding in json.loads(command("doctor", "--json").stdout)
    )


def test_a_warning_is_an_error_if_asked_for(queue: TaskQueue, command: Command) -> None:
    """The server of the tests keeps nothing on disk, which is a warning."""
    claim(queue, "h1")
    assert command("doctor").exit_code == 0
    assert command("doctor", "--strict").exit_code == 1


def test_paused_and_failed(queue: TaskQueue, command: Command) -> None:
    """What an operator has done, or should see."""
    claim(queue, "h1")
    command("pause")
    command("pause", "--task", "jobs.add")
    said = command("doctor").stdout
    assert "the queue is paused" in said
    assert "the task jobs.add is paused" in said


def test_a_policy_that_drops_tasks(server: Server) -> None:
    """It is bad once there is a limit at which it would be applied."""
    assert levels(server.url, "eviction") == ["ok"]
    configure(server, maxmemory_policy="allkeys-lru")
    assert levels(server.url, "eviction") == ["warning"]
    configure(server, maxmemory="100mb")
    assert levels(server.url, "eviction") == ["error"]


def test_memory(server: Server) -> None:
    """How full it is, and whether it has a limit."""
    assert levels(server.url, "memory limit") == ["warning"]
    with Redis.from_url(server.url) as client:
        used = int(client.info("memory")["used_memory"])
    configure(server, maxmemory=used * 20)
    assert (levels(server.url, "memory"), levels(server.url, "memory limit")) == (["ok"], [])
    configure(server, maxmemory=used + used // 8)
    (finding,) = found(server.url, topic="memory")
    assert finding.level in ("warning", "error")
    assert "of its limit" in finding.text


def test_persistence(server: Server) -> None:
    """None, snapshots, an append-only file; and an append-only file that cannot be written."""
    texts = [found(server.url, topic="persistence")[0].text]
    for settings in ({"save": "3600 1"}, {"appendonly": "yes"}):
        configure(server, **settings)
        texts.append(found(server.url, topic="persistence")[0].text)
    assert texts == [
        "none: a crash or a restart loses all tasks",
        "snapshots alone: a crash loses what came after the last one",
        "append-only file, appendfsync everysec",
    ]


def test_a_replica(server: Server) -> None:
    """Writes would be refused; the finding says where to connect."""
    with Server(server.kind, args=("--replicaof", f"127.0.0.1 {server.port}", "--replica-read-only", "no")) as replica:
        (finding,) = found(replica.url, topic="role")
    assert (finding.level, finding.remedy) == ("error", "connect to the master, or through redis+sentinel://")


def test_rights(server: Server) -> None:
    """What this user may not do is said; what the docs give is enough."""
    with Redis.from_url(server.url) as client:
        client.execute_command("ACL", "SETUSER", "some", "on", ">word", "resetchannels", "allkeys", "+@all")
    url = server.url.replace("://", "://some:word@")
    (finding,) = found(url, topic="rights")
    assert (finding.level, finding.text) == ("error", "this user may not subscribe")
    with Redis.from_url(server.url) as client:
        client.execute_command("ACL", "SETUSER", "some", "allchannels", "-info", "-config")
    assert levels(url, "rights") == ["ok"]
    assert found(url, topic="server")[0].text == "this user may not run INFO, so nothing is known of the server"


def test_connections(server: Server) -> None:
    """The server is short of them."""
    assert levels(server.url, "connections") == ["ok"]
    with closing(Redis.from_url(server.url)) as client:
        more = [client.connection_pool.get_connection() for _ in range(10)]
        configure(server, maxclients=13)
        assert levels(server.url, "connections") == ["warning"]
        for connection in more:
            connection.disconnect()


def test_a_file(tmp_path: Path) -> None:
    """The journal, the disk and the pages of a SQLite file."""
    url = f"sqlite:///{tmp_path}/queue.db"
    assert [levels(url, topic) for topic in ("engine", "durability", "pages")] == [["ok"]] * 3
    assert found(f"{url}?durability=full", topic="durability")[0].text == "full: what was accepted survives a power cut"


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The finding says how much room is left."""
    usage = type("usage", (), {"free": 5 * 1024**2})
    monkeypatch.setattr("shutil.disk_usage", lambda _path: usage)
    (finding,) = found(f"sqlite:///{tmp_path}/queue.db", topic="disk")
    assert (finding.level, "5 MB are free" in finding.text) == ("warning", True)


def test_a_damaged_page(tmp_path: Path) -> None:
    """The finding says what SQLite says."""
    path = tmp_path / "queue.db"
    with closing(TaskQueue(f"sqlite:///{path}", "shop")) as queue:
        queue.task(name="job")(len).map([("x" * 3_000,) for _ in range(60)])
    raw = path.read_bytes()
    end = raw.rindex(b"xxxxxxxx") // 4096 * 4096  # a page with arguments alone: SQLite looks at its first bytes
    path.write_bytes(raw[:end] + b"\xff" * 8 + raw[end + 8 :])
    with closing(TaskQueue(f"sqlite:///{path}", "shop")) as queue:
        pages = [finding for finding in queue.admin.diagnose() if finding.topic == "pages"]
    assert [finding.level for finding in pages] == ["error"]
    assert pages[0].text.startswith("damaged: ")
