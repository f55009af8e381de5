"""A fire drill: ``python incident.py`` makes a shop at three in the morning, in which everything has gone wrong.

It starts a Redis server of its own, the workers of two hosts, and a dashboard. Then tens of thousands of tasks wait
behind exports that do not end, payments have failed, one task has killed its process, the host web2 has lost its power,
and the memory of the server is nearly full. It prints how to look at all that, and ends with the Enter key. The page on
incidents in the documentation goes through it, question by question.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path

from redis import Redis

from pyxqueue import TaskQueue, current_task
from pyxqueue.testing.servers import Server

# The lease is long, so that what the dead host held stays where it is while people look.
queue = TaskQueue(stream_key="shop", lease=1800)
PATIENCE = 120
"""Seconds to wait for something before it is taken to be broken."""
PHOTO, PHOTOS = "x" * 131_072, 160
FULL = 0.9
"""Which part of the server's memory is used."""


class PaymentRefusedError(Exception):
    """The bank says no."""


@queue.task(name="shop.mail")
def mail(order: int) -> str:
    """Write a mail; it is quick."""
    return f"Your order {order:,} is on its way."


@queue.task(name="shop.render")
def render(pages: int) -> None:
    """Make an invoice; it is slow."""
    time.sleep(0.2 * pages)


@queue.task(name="shop.charge")
def charge(order: int) -> None:
    """Fail, in one of two ways."""
    if order % 3:
        raise PaymentRefusedError("the card has expired")
    raise ConnectionError("bank.example does not respond")


@queue.task(name="shop.thumbnail")
def thumbnail(photo: str) -> None:
    """Die on a damaged file, as a library written in C may."""
    if photo.startswith("damaged"):
        os.kill(os.getpid(), signal.SIGKILL)


@queue.task(name="shop.archive")
def archive(photo: str) -> int:
    """Keep a photo, which is among the arguments and fills the memory of the server."""
    return len(photo)


@queue.task(name="shop.export")
def export(rows: int) -> None:
    """Report progress, and never end."""
    current_task().progress(120, rows, "rows")
    while True:
        time.sleep(1)


def until(look: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not look():
        if time.monotonic() > deadline:
            sys.exit(f"not within {PATIENCE} s: {what}")
        time.sleep(0.05)


def start(stack: ExitStack, words: Sequence[str], **more: str) -> subprocess.Popen[bytes]:
    """Run ``pyxqueue`` with these words, until the stack is left at the latest."""
    process = subprocess.Popen(  # noqa: S603 - it is this program's own words
        [sys.executable, "-m", "pyxqueue", *words],
        cwd=Path(__file__).parent,
        env={**os.environ, **more},
        stdout=subprocess.PIPE if words[0] == "dashboard" else subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    stack.callback(end, process)
    return process


def end(process: subprocess.Popen[bytes]) -> None:
    """Stop a program as an operator does."""
    process.terminate()
    process.wait(PATIENCE)
    if process.stdout is not None:
        process.stdout.close()


def workers(stack: ExitStack, host: str, count: int) -> subprocess.Popen[bytes]:
    """Start worker processes that say that they are on this host."""
    return start(stack, ["worker", "incident", "-p", str(count), "--grace", "1"], PYXQUEUE_HOST=host)


def all_ended() -> bool:
    """Whether all has ended except the export of the dead host."""
    depth = queue.admin.info().depth
    return depth is not None and depth.waiting == 0 and depth.in_flight == 1


def exports() -> int:
    """How many exports run, as everybody can see."""
    return sum(
        task.progress is not None and task.id in {run.id for run in worker.facts.runs}
        for worker in queue.admin.workers()
        if worker.facts
        for task in worker.tasks
    )


def power_cut(stack: ExitStack) -> None:
    """Let a host die that runs an export."""
    dead = workers(stack, "web2", 1)
    export(9_000)
    until(lambda: exports() == 1, "web2 runs an export")
    dead.kill()  # the watchdog sees to it that no process is left


def evening() -> None:
    """Let the shop work for a while: most is well, payments fail. Then one photo kills its process."""
    with ExitStack() as stack:
        workers(stack, "web1", 2)
        mail.map((order,) for order in range(60))
        render.map((2,) for _ in range(6))
        charge.map((order,) for order in range(30))
        until(all_ended, "all has ended")
    with ExitStack() as stack:
        workers(stack, "web1", 1)
        thumbnail("damaged.jpg")
        until(all_ended, "the photo has failed")


def night(stack: ExitStack, backlog: int) -> None:
    """Let exports hold every worker, then enqueue what nobody runs any more."""
    workers(stack, "web1", 2)
    export.map((rows,) for rows in (4_000, 2_000))
    until(lambda: exports() == 3, "web1 runs two exports")
    archive.map((PHOTO,) for _ in range(PHOTOS))
    mail.map((order,) for order in range(backlog - PHOTOS))
    until(lambda: any(one.facts and one.facts.lost for one in queue.admin.workers(tasks=0)), "web2 is missed")


def fill(server: Server) -> None:
    """Limit the memory of the server to a little more than it uses."""
    with Redis.from_url(server.url) as client:
        client.config_set("maxmemory", int(client.info("memory")["used_memory"] / FULL))


def dashboard(stack: ExitStack) -> str:
    """Start the dashboard, and return what it says: where it is."""
    if importlib.util.find_spec("starlette") is None:
        return 'for the dashboard: pip install "pyxqueue[dashboard]"'
    said = start(stack, ["dashboard", "--listen", "127.0.0.1:0"]).stdout
    assert said is not None
    return said.readline().decode().partition(",")[0]


def say(lines: Iterable[str]) -> None:
    print(*lines, sep="\n", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=50_000, help="how many tasks wait (50,000)")
    options = parser.parse_args()
    with Server() as server, ExitStack() as stack:
        os.environ["PYXQUEUE_URL"] = server.url
        stack.callback(queue.close)
        say([f"breaking the shop at {server.url} ..."])
        power_cut(stack)
        evening()
        night(stack, options.tasks)
        fill(server)
        where = dashboard(stack)
        say([f"export PYXQUEUE_URL={server.url} PYXQUEUE_QUEUE=shop", "pyxqueue info", where, "Enter ends it"])
        sys.stdin.readline()


if __name__ == "__main__":
    main()
