"""Real servers for every test, one process of each kind per test process, started when first asked for."""

from __future__ import annotations

import gc
import os
import re
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TypeAlias

import pytest
from hypothesis import HealthCheck, settings
from redis import Redis

from pyxqueue.testing.servers import KINDS, Server, ServerKind, available, has_wheel

OTHER_QUEUE = re.compile(r"\{?(test|kit)-[0-9a-f]{32}")
"""A queue of another test, whose workers may need a moment to end."""
Servers: TypeAlias = Callable[[ServerKind], Server]

# A time limit per example would be a timing assertion.
settings.register_profile("pyxqueue", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("pyxqueue")


MEMORY = Path("/dev/shm")
"""A folder of Linux whose files are in memory."""
ROOM = 2**30
"""Bytes; the largest test writes 160 MB."""


def folder_for_files() -> str | None:
    """The folder for the files of tests; None: the usual one.

    SQLite waits for the disk with each transaction, which took a quarter of the whole run. In memory it does the same
    calls without the wait, and the file outlives the death of every process, as on a disk.
    """
    if "TMPDIR" in os.environ or not os.access(MEMORY, os.W_OK):
        return None
    found = os.statvfs(MEMORY)
    return str(MEMORY) if found.f_bavail * found.f_frsize >= ROOM else None


if folder := folder_for_files():
    os.environ["TMPDIR"] = folder  # for pytest's own folders, and for programs that tests start
    tempfile.tempdir = None


def required(kind: ServerKind) -> bool:
    """True if a test run without this server would prove less than it says."""
    return has_wheel(kind) or (kind == "path" and os.environ.get("CI") == "true")


def kinds_to_test() -> list[ServerKind]:
    """A required kind that is missing stays in, and its tests fail."""
    return [kind for kind in KINDS if required(kind) or kind in available()]


def pytest_collection() -> None:
    """Let the garbage collector rest until all tests are found: it took a third of that time, and found nothing."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Keep the collector from what lasts as long as the run: it would look at all tests again and again, which took a
    tenth of the whole run."""
    gc.enable()
    gc.collect()
    gc.freeze()


def pytest_report_header() -> str:
    tested = kinds_to_test()
    left_out = [kind for kind in KINDS if kind not in tested]
    note = f" (left out, not to be had here: {', '.join(left_out)})" if left_out else ""
    return f"servers: {', '.join(tested)}{note}"


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """The shared server of a kind. A test that pauses or kills a server starts one of its own with `Server`."""
    started: dict[ServerKind, Server] = {}
    with ExitStack() as stack:

        def get(kind: ServerKind) -> Server:
            if kind not in started:
                started[kind] = stack.enter_context(Server(kind))
            return started[kind]

        yield get


@pytest.fixture(scope="session", params=kinds_to_test())
def redis_server(request: pytest.FixtureRequest, servers: Servers) -> Server:
    """The shared server of each kind in turn; most tests want `redis_url`."""
    return servers(request.param)


@pytest.fixture
def stream_key() -> str:
    """A queue name that no other test has."""
    return f"test-{uuid.uuid4().hex}"


@pytest.fixture
def redis_url(redis_server: Server, stream_key: str) -> Iterator[str]:
    """The URL of each kind of server, for a test that keeps to the keys of its `stream_key`."""
    with Redis.from_url(redis_server.url, protocol=2, socket_timeout=10) as client:
        client.flushall()  # tests of other kinds leave their keys on the shared server
        yield redis_server.url
        keys = [key.decode(errors="replace") for key in client.scan_iter()]
        strays = [key for key in strays_among(keys, stream_key) if not OTHER_QUEUE.match(key)]
        client.flushall()
    assert not strays, f"keys outside of {stream_key!r} and {{{stream_key}}}:...: {strays}"


def strays_among(keys: list[str], stream_key: str) -> list[str]:
    """The keys that do not belong to the queue: they would not share its slot, or touch another queue."""
    return sorted(key for key in keys if key != stream_key and not key.startswith(f"{{{stream_key}}}:"))
