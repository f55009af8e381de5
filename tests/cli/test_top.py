"""The command `top`: as text, as JSON, and live on a terminal."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from attrs import define
from redis import Redis

from pyxqueue import TaskQueue
from pyxqueue.model.message import Extension, Message, Progress
from pyxqueue.model.statistics import BUCKETS, Histogram, StatisticsBatch, TaskCounts
from pyxqueue.testing.servers import Server

from ..running import PATIENCE
from .conftest import Command
from .jobs import WORKER, claim, enqueue, fail


def count(queue: TaskQueue, name: str, ended: Mapping[str, int], bucket: int, number: int = 1) -> None:
    """Send what a worker has counted: all runs took a time of one bucket."""
    runs = sum(ended.values())
    histogram = Histogram(tuple(runs if each == bucket else 0 for each in range(BUCKETS)), runs)
    batch = StatisticsBatch(f"s-{name}", number, [TaskCounts(name, ended, histogram, histogram)])
    assert queue.stores.backend.add_statistics(batch)  # type: ignore[attr-defined]  # the store of this test has it


def test_top_prints_once_where_there_is_no_terminal(queue: TaskQueue, command: Command) -> None:
    """What is where, the slowest tasks first, what runs with its progress, and what is wrong."""
    count(queue, "jobs.quick", {"success": 90}, 0)
    count(queue, "jobs.slow", {"success": 3, "failure": 1}, 9)
    fail(queue, "f1")
    delivery = claim(queue, "h1")
    queue.stores.backend.extend([Extension(delivery.receipt, Progress(1, 2))])
    enqueue(queue, "r1", "r2")

    shown = command("top").stdout
    lines = [line.split() for line in shown.splitlines()]

    assert "ready 2  in flight 1  delayed 0  failed 1  oldest" in shown
    assert "done " in shown
    assert [line[0] for line in lines if line and line[0].startswith("jobs.")] == ["jobs.slow", "jobs.quick"]
    assert next(line for line in lines if line and line[0] == "jobs.slow")[-1] == "25%"
    assert next(line for line in lines if "█████░░░░░" in line)[:2] == ["0242ac120002:4242", "jobs.add"]
    assert "! 2 wait, every worker is busy" in shown
    assert "! 1 failed: ValueError 1" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_top_names_the_task_that_kills_its_process(queue: TaskQueue, command: Command) -> None:
    """First the one of whose runs the largest part does it, however often others died beside it."""
    count(queue, "jobs.rare", {"success": 50, "crashed": 6}, 0)
    count(queue, "jobs.deadly", {"crashed": 4}, 0)

    shown, wrong = command("top").stdout.splitlines(), json.loads(command("top", "--json").stdout)["groups"][0]["wrong"]

    assert wrong[-2:] == [
        "the process of jobs.deadly died 4 times within 10 min, while it ran",
        "the process of jobs.rare died 6 times within 10 min, while it ran",
    ]
    assert f"! {wrong[-2]}" in shown
    assert "\x1b" not in shown


def test_top_says_what_was_not_kept(queue: TaskQueue, command: Command) -> None:
    """What a failover has lost is wrong, by task; failed tasks that a limit has deleted are beside those there are."""
    counts = [TaskCounts("jobs.mail", lost=2, dropped=5), TaskCounts("jobs.scan", lost=1_234, dropped=1)]
    assert queue.stores.backend.lease_ms()  # registers the group
    assert queue.stores.backend.add_statistics(StatisticsBatch("s", 1, counts))  # type: ignore[attr-defined]  # as above
    fail(queue, "f1")

    shown, [group] = command("top").stdout, json.loads(command("top", "--json").stdout)["groups"]

    assert "failed 1  dropped 6" in shown
    assert "! a failover has lost 1,234 jobs.scan within 10 min: the callers' logs say which" in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert group["dropped"] == 6
    assert [line for line in group["wrong"] if "failover" in line] == [
        "a failover has lost 1,234 jobs.scan within 10 min: the callers' logs say which",
        "a failover has lost 2 jobs.mail within 10 min: the callers' logs say which",
    ]


def test_top_as_json(queue: TaskQueue, command: Command) -> None:
    """Rates of a second, and numbers for each task."""
    count(queue, "jobs.slow", {"success": 3, "retry": 1}, 9)
    claim(queue, "h1")

    [group] = json.loads(command("top", "--json").stdout)["groups"]

    assert group["depth"]["in_flight"] == 1
    assert 0 < group["rates"]["done"] <= 3
    assert group["rates"]["in"] is None
    [task] = group["tasks"]
    assert (task["task"], task["runs"], task["failed_share"]) == ("jobs.slow", 4, 0.25)
    assert 2.5 < task["p95"] <= 5
    assert [(one["id"], one["task"], one["on"]) for one in group["running"]] == [
        ("h1", "jobs.add", "0242ac120002:4242")
    ]
    assert [(one["name"], one["in_flight"]) for one in group["workers"]] == [(WORKER, 1)]


def test_a_look_has_a_bounded_number_of_requests(queue: TaskQueue, url: str, command: Command) -> None:
    """As many with 200 workers and 1,000 failed tasks as with one of each."""
    fail(queue, "f1")
    claim(queue, "h1")

    def requests() -> int:
        with Redis.from_url(url) as client:
            before = client.info("stats")["total_reads_processed"]
            assert command("top", "--json").exit_code == 0
            return int(client.info("stats")["total_reads_processed"] - before)

    few = requests()
    queue.stores.backend.enqueue([Message(f"m{number}", "jobs.add") for number in range(200)])
    for number in range(200):
        queue.stores.backend.claim(f"worker-1-{number + 1}-0242ac120003-1e9gmXli", 1, 0)
    for number in range(300):
        fail(queue, f"g{number}")

    assert requests() <= few + 2
    assert few < 40


@define
class Terminal:
    """A program on a terminal of its own."""

    pid: int
    fd: int
    seen: str = ""

    def until(self, text: str) -> str:
        """Read until the text has been printed. Returns what came since the last call."""
        end = time.monotonic() + PATIENCE
        while text not in self.seen:
            assert time.monotonic() < end, f"there is no {text!r} in {self.seen!r}"
            if select.select([self.fd], [], [], 1)[0]:
                self.seen += os.read(self.fd, 65_536).decode(errors="replace")
        found, self.seen = self.seen, ""
        return found

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def ended(self) -> int:
        """Return the exit code, once the terminal is as before."""
        self.until("\x1b[?25h\x1b[?1049l")
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@contextmanager
def on_terminal(folder: Path, *words: str, url: str) -> Iterator[Terminal]:
    pid, fd = pty.fork()
    if pid == 0:
        os.chdir(folder)
        kept = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
        environment = {**kept, "PYXQUEUE_URL": url, "PYXQUEUE_QUEUE": "shop", "TERM": "xterm"}
        os.execve(sys.executable, [sys.executable, "-m", "pyxqueue", *words], environment)
    terminal = Terminal(pid, fd)
    terminal.resize(24, 80)
    try:
        yield terminal
    finally:
        try:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass  # it has ended
        os.close(fd)


@pytest.mark.parametrize("end", ["q", "\x03"])
def test_the_live_screen_ends_calmly(tmp_path: Path, end: str) -> None:
    """With q and with ^C: exit code 0, no traceback, and the terminal as before. A resize draws again."""
    url = f"sqlite:///{tmp_path}/q.db"
    with closing(TaskQueue(url, stream_key="shop")) as queue:
        queue.task(name="jobs.add")(lambda: None)()
    with on_terminal(tmp_path, "top", "--every", "3600", url=url) as terminal:
        assert "ready 1" in terminal.until("q quit")
        terminal.resize(6, 30)
        drawn = terminal.until("q quit")
        os.write(terminal.fd, end.encode())

        assert terminal.ended() == 0
    assert drawn.count("\n") <= 5
    assert "Traceback" not in terminal.seen


def test_the_live_screen_waits_for_a_store_that_is_away(tmp_path: Path) -> None:
    """The last look stays, with a line that says so; when the store is back it goes on."""
    with Server("valkey") as server:
        url = server.url
        with closing(TaskQueue(url, stream_key="shop")) as queue:
            queue.task(name="jobs.add")(lambda: None)()
        with on_terminal(tmp_path, "top", "--every", "0.2", url=url) as terminal:
            terminal.until("ready 1")
            server.kill()
            terminal.until("trying again")
            os.write(terminal.fd, b"q")

            assert terminal.ended() == 0
