"""``pyxqueue metrics``: the text for Prometheus, printed or served."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pyxqueue import TaskQueue
from pyxqueue.model.statistics import StatisticsBatch, TaskCounts
from pyxqueue.protocols import HasStatistics
from pyxqueue.testing import drain
from pyxqueue.testing.servers import Server

from ..running import PATIENCE, Place

JOBS = """
from pyxqueue import TaskQueue
queue = TaskQueue(stream_key="shop")

@queue.task
def pay(): ...
"""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A folder with tasks, on a store in which one has run."""
    place = Place(tmp_path, f"sqlite:///{tmp_path}/queue.db", {})
    (tmp_path / "jobs.py").write_text(JOBS)
    queue = TaskQueue(place.url, stream_key="shop")
    queue.task(name="jobs.pay")(lambda: 1)()
    drain(queue)
    queue.close()
    return place


def read(text: str) -> dict[str, float]:
    """Samples by their names and labels; a parser has accepted the text."""
    return {
        f"{one.name}{sorted(one.labels.values())}": one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }


@contextmanager
def served(place: Place, *args: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The program, and the URL that it says."""
    command = [sys.executable, "-W", "error", "-m", "pyxqueue", "metrics", *args, "--listen", "127.0.0.1:0"]
    with subprocess.Popen(
        command, cwd=place.folder, env=place.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            found = re.fullmatch(r"metrics at (http://127\.0\.0\.1:\d+/metrics)\n", process.stdout.readline())
            assert found is not None, process.stderr and process.stderr.read()
            yield found[1], process
        finally:
            process.kill()


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=PATIENCE) as reply:
        assert reply.headers["Content-Type"].startswith("text/plain")
        text: str = reply.read().decode()
        return text


def test_once_prints_them(place: Place) -> None:
    """Of the queue of a module, or of a queue by its name."""
    for args in (["jobs"], ["--queue", "shop"]):
        samples = read(place.run("-m", "pyxqueue", "metrics", *args, "--once"))

        assert samples["pyxqueue_tasks_ended_total['cg', 'jobs.pay', 'shop', 'success']"] == 1
        assert samples["pyxqueue_up['cg', 'shop']"] == 1


def test_a_name_cannot_move_the_cursor(place: Place) -> None:
    """Another program may have stored any name. A parser reads it back with its escapes."""
    with closing(TaskQueue(place.url, stream_key="shop")) as queue:
        stored = queue.stores.backend
        assert isinstance(stored, HasStatistics)
        assert stored.add_statistics(StatisticsBatch("me", 1, [TaskCounts("\x1b]52;c;x\x07\u202e", {"success": 3})]))

    text = place.run("-m", "pyxqueue", "metrics", "--queue", "shop", "--once")

    assert text.replace("\n", "").isprintable()
    assert read(text)[r"pyxqueue_tasks_ended_total['\\x1b]52;c;x\\x07\\u202e', 'cg', 'shop', 'success']"] == 3


def test_they_are_served_until_it_is_stopped(place: Place) -> None:
    """Under one path; a signal ends the program well."""
    with served(place, "jobs") as (url, process):
        assert read(fetch(url))["pyxqueue_queue_tasks['cg', 'history', 'shop']"] == 1
        with pytest.raises(urllib.error.HTTPError, match="404"):
            fetch(url + "x")

        process.send_signal(signal.SIGTERM)

        assert process.wait(PATIENCE) == 0


def test_a_store_that_is_down(place: Place) -> None:
    """The program goes on: its queues are shown as down, and as usual again when the store is back."""
    with Server("valkey") as server:
        place = Place(place.folder, server.url, {})
        with served(place, "jobs") as (url, _):
            assert read(fetch(url))["pyxqueue_up['cg', 'shop']"] == 1
            server.kill()
            samples = read(fetch(url))
            assert samples["pyxqueue_up['cg', 'shop']"] == 0
            assert "pyxqueue_queue_tasks['cg', 'ready', 'shop']" not in samples
            server.restart()
            assert read(fetch(url))["pyxqueue_up['cg', 'shop']"] == 1


def test_slow_clients_cannot_pile_up(place: Place) -> None:
    """Of many that send nothing, a few are waited for; the others are turned away at once."""
    with served(place, "jobs") as (url, _), ExitStack() as stack:
        host, port = url.removeprefix("http://").removesuffix("/metrics").split(":")
        silent = [stack.enter_context(socket.create_connection((host, int(port)))) for _ in range(8)]
        turned_away = stack.enter_context(socket.create_connection((host, int(port))))

        turned_away.settimeout(PATIENCE)
        assert turned_away.recv(100).startswith(b"HTTP/1.0 503")
        for one in silent:
            one.close()


@pytest.mark.parametrize("listen", ["9464", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:70000", ""])
def test_an_address_that_is_none(place: Place, listen: str) -> None:
    """It says what to give."""
    done = subprocess.run(
        [sys.executable, "-m", "pyxqueue", "metrics", "jobs", "--listen", listen],
        cwd=place.folder, env=place.environment, capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip

    assert done.returncode == 2
    assert "give an address and a port, such as 127.0.0.1:9464" in done.stderr
