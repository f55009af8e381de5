"""The Redis user that the documentation recommends has the permissions that a queue needs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from redis import Redis

from pyxqueue import TaskQueue
from pyxqueue.cli import main
from pyxqueue.testing.servers import Server, ServerKind

from ..conftest import kinds_to_test
from ..running import PATIENCE, Place

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "workers.md"
JOBS = """
from pyxqueue import TaskQueue, track

queue = TaskQueue(stream_key="shop")

@queue.task
def add(a, b=0):
    return sum(track([a, b]))

@queue.task
def fail():
    raise ValueError("no such customer")
"""


@pytest.fixture(params=kinds_to_test())
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    kind: ServerKind = request.param
    with Server(kind) as server, Redis.from_url(server.url) as client:
        for line in re.findall(r"^ACL SETUSER .*", PAGE.read_text(), re.MULTILINE):
            client.execute_command(*line.split())
        yield server


@pytest.fixture
def url(server: Server) -> str:
    """The URL with the login of that user."""
    return server.url.replace("://", "://shop:password@")


def run(url: str, *args: str) -> Result:
    environment = {"PYXQUEUE_URL": url, "PYXQUEUE_QUEUE": "shop"}
    return CliRunner().invoke(main, args, env=environment, catch_exceptions=False)


def denied(server: Server) -> list[object]:
    """The commands that the server has denied."""
    with Redis.from_url(server.url, protocol=2) as client:
        entries = [(entry["reason"], entry["object"]) for entry in client.acl_log()]
    # How the server keeps its data is asked, and left out of the answer where that is refused.
    return [(reason, what) for reason, what in entries if what.partition("|")[0] != "config"]


def test_everything_works(server: Server, url: str, tmp_path: Path) -> None:
    """Workers, callers and every command; the server denies nothing."""
    place = Place(tmp_path, url, {})
    (tmp_path / "jobs.py").write_text(JOBS)
    queue = TaskQueue(url, stream_key="shop")
    add, fail = (queue.task(name=f"jobs.{name}")(lambda *_args: None) for name in ("add", "fail"))
    with place.worker("-m", "pyxqueue", "worker", "jobs", "-p", "1"):
        done, failed = add.with_options(delay=0.01)(1, 2), fail()
        assert done.get(PATIENCE) == 3
        with pytest.raises(Exception, match="no such customer"):
            failed.get(PATIENCE)
        commands = [
            ("info",), ("info", "--json"), ("task", done.task_id), ("failed",), ("groups",), ("tasks",),
            ("top",), ("timeline", done.task_id), ("failed", "--by", "kind"), ("failed", "--name", "jobs.*"),
            ("tasks", "--name", "jobs.*"), ("tasks", "--place", "ready"),
        ]  # fmt: skip
        assert [run(url, *command).exit_code for command in commands] == [0] * len(commands)
        assert "server: " in run(url, "info").stdout
    assert {one.name: one.ended["success"] for one in queue.admin.statistics().totals} == {
        "jobs.add": 1,
        "jobs.fail": 0,
    }
    waiting = add.with_options(delay=60)(4)

    for command in (
        ("retry", "--name", "jobs.fail", "-y"), ("cancel", failed.task_id), ("purge", "-y", "--history"),
        ("move", "--queue", "shop", url, f"sqlite:///{tmp_path}/q.db"),
        ("move", "--queue", "shop", f"sqlite:///{tmp_path}/q.db", url),
        ("cancel", waiting.task_id), ("delete", "-y", waiting.task_id), ("purge", "--failed", "-y"),
        ("remove-group", "-y", "cg"),
    ):  # fmt: skip
        result = run(url, *command)
        assert (command, result.exit_code, result.stderr) == (command, 0, "")

    queue.close()
    assert denied(server) == []


def test_info_works_without_the_permission_for_info(server: Server, url: str) -> None:
    """A user without the permission for INFO sees the queue, without the facts about the server."""
    with Redis.from_url(server.url) as client:
        client.execute_command("ACL", "SETUSER", "shop", "-info")
    queue = TaskQueue(url, stream_key="shop")
    queue.task(name="jobs.add")(lambda: None)()
    queue.close()

    result = run(url, "info")

    assert result.exit_code == 0
    assert "server: unknown: this user may not run INFO" in result.stdout
    assert "no worker is running" in result.stdout
