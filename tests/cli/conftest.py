"""Fixtures for commands on a real server."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest
from click.testing import CliRunner, Result
from redis import Redis

from pyxqueue import TaskQueue
from pyxqueue.cli import main

from ..conftest import Servers, kinds_to_test

Command: TypeAlias = Callable[..., Result]
Write: TypeAlias = Callable[[str], str]


@pytest.fixture
def url(servers: Servers) -> Iterator[str]:
    """The URL of one server: the backend has tests of its own for the others."""
    server = servers(kinds_to_test()[0])
    with Redis.from_url(server.url) as client:
        client.flushall()  # also before: other tests use the server, and these look at all keys
        yield server.url
        client.flushall()


@pytest.fixture
def keys(url: str) -> Iterator[Callable[[], list[bytes]]]:
    """Returns all keys on the server."""
    with Redis.from_url(url) as client:
        yield lambda: sorted(client.scan_iter())


@pytest.fixture
def queue(url: str, stream_key: str) -> Iterator[TaskQueue]:
    """The queue on which the commands act, with one task."""
    queue = TaskQueue(url, stream_key=stream_key)

    @queue.task(name="jobs.add")
    def add(a: int, b: int = 0) -> int:
        return a + b

    yield queue
    queue.close()


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, url: str, stream_key: str) -> Command:
    """Runs `pyxqueue` with the server and the queue in its environment."""
    for name in list(os.environ):
        if name.startswith("PYXQUEUE"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PYXQUEUE_URL", url)
    monkeypatch.setenv("PYXQUEUE_QUEUE", stream_key)

    def run(*args: str, answer: str | None = None, color: bool = False) -> Result:
        return CliRunner().invoke(main, args, input=answer, catch_exceptions=False, prog_name="pyxqueue", color=color)

    return run


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes a module under a new name, and returns the name."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)

    def write(source: str) -> str:
        name = f"app_{uuid.uuid4().hex}"
        (tmp_path / f"{name}.py").write_text(source)
        return name

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]
