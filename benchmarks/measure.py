"""Measure one contestant, once, on an empty store; one line of JSON on standard output.

This is run in a process of its own: ``python benchmarks/measure.py bare --url redis://…``.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import psutil
from attrs import frozen
from contestants.base import ANSWER, PUSHED_VARIABLE, URL_VARIABLE, Contestant, TimesItself, Way, server_url
from redis import Redis

LOOK_EVERY = 0.002
GIVE_UP_SECONDS = 20.0


@frozen
class Sizes:
    """How much is done for each number."""

    drain: int
    enqueue: int
    latency: int
    warm_up: int


class Stuck(Exception):  # noqa: N818 - it says what happened
    """No more tasks are completed."""


def seconds(entry: Contestant, way: Way, numbers: Sequence[int]) -> float:
    """How long it takes to enqueue the numbers, or to call with the one number and wait for its result."""
    if isinstance(entry, TimesItself):
        return entry.seconds(way, numbers)
    start = time.perf_counter()
    if way == "bulk":
        entry.enqueue_bulk(numbers)
    elif way == "one":
        for number in numbers:
            entry.enqueue_one(number)
    elif (answer := entry.call_and_wait(numbers[0])) != numbers[0]:
        raise Stuck(f"the result of {numbers[0]} is {answer!r}")
    return time.perf_counter() - start


def enqueue_rates(entry: Contestant, sizes: Sizes) -> dict[str, float]:
    """Calls per second, one by one and in bulk, with no worker around."""
    numbers = range(sizes.enqueue)
    for number in range(sizes.warm_up):
        entry.enqueue_one(number)
    return {
        "enqueue": len(numbers) / seconds(entry, "one", numbers),
        "bulk": len(numbers) / seconds(entry, "bulk", numbers),
    }


def latencies(entry: Contestant, sizes: Sizes) -> dict[str, float]:
    """Milliseconds from a call to its result, one after the other, with workers that wait."""
    with workers(entry):
        times = [seconds(entry, "call", [number]) * 1000 for number in range(sizes.warm_up + sizes.latency)]
    times = sorted(times[sizes.warm_up :])
    return {"median": statistics.median(times), "p99": times[int(len(times) * 0.99)]}


def drain_rate(entry: Contestant, sizes: Sizes) -> dict[str, float]:
    """Tasks per second, from a full queue to an empty one.

    The workers are up, connected and warm; while the queue is filled they are stopped as by SIGSTOP, and the clock
    starts when they are let go.
    """
    callers = psutil.Process().children()
    with workers(entry):
        entry.enqueue_bulk(range(sizes.warm_up))
        wait_until(entry, sizes.warm_up)
        frozen_workers = [one for one in psutil.Process().children(recursive=True) if one not in callers]
        with locked(server_url()):
            for process in frozen_workers:
                process.send_signal(signal.SIGSTOP)
            while any(process.status() == psutil.STATUS_RUNNING for process in frozen_workers):
                time.sleep(LOOK_EVERY)
        try:
            entry.enqueue_bulk(range(sizes.drain))
            cpu = {process.pid: process.cpu_times() for process in frozen_workers}
        finally:
            start = time.perf_counter()
            for process in frozen_workers:
                process.send_signal(signal.SIGCONT)
        wait_until(entry, sizes.warm_up + sizes.drain)
        seconds = time.perf_counter() - start
        used = sum(sum(process.cpu_times()[:2]) - sum(cpu[process.pid][:2]) for process in frozen_workers)
    return {"drain": sizes.drain / seconds, "cpu": used / sizes.drain * 1e6}


@contextmanager
def locked(url: str) -> Iterator[None]:
    """Hold the lock of a SQLite file meanwhile: a worker that is stopped while it has the lock would stop all others.

    It takes a process of its own, for locks are kept per process. A server needs nothing of the kind.
    """
    if not url.startswith("sqlite:"):
        yield
        return
    program = (
        "import sqlite3, sys; db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60); "
        "db.execute('BEGIN EXCLUSIVE'); print(flush=True); sys.stdin.read(); db.execute('ROLLBACK')"
    )
    path = url.removeprefix("sqlite:///").partition("?")[0]
    command = [sys.executable, "-c", program, path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:  # noqa: S603 - ours
        assert holder.stdin is not None
        assert holder.stdout is not None
        holder.stdout.readline()
        yield
        holder.stdin.close()


def wait_until(entry: Contestant, total: int) -> None:
    """Wait until the store says that `total` calls are done."""
    done, changed = -1, time.monotonic()
    while (now_done := entry.completed(total)) < total:
        if now_done != done:
            done, changed = now_done, time.monotonic()
        elif time.monotonic() - changed > GIVE_UP_SECONDS:
            raise Stuck(f"{done} of {total} were done, and for {GIVE_UP_SECONDS} s no more")
        time.sleep(LOOK_EVERY)


@contextmanager
def workers(entry: Contestant) -> Iterator[None]:
    entry.start_workers()
    try:
        yield
    finally:
        entry.stop_workers()


PHASES: dict[str, Callable[[Contestant, Sizes], dict[str, float]]] = {
    "enqueue": enqueue_rates,
    "drain": drain_rate,
    "latency": latencies,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("--phase", choices=PHASES, required=True)
    parser.add_argument("--url", required=True)
    for size in ("drain", "enqueue", "latency", "warm-up"):
        parser.add_argument(f"--{size}", type=int, required=True)
    options = parser.parse_args()
    os.environ[URL_VARIABLE] = options.url
    os.environ["PYTHONPATH"] = sys.path[0]  # for the worker programs
    if options.phase == "latency":
        os.environ[PUSHED_VARIABLE] = "1"
    if not options.url.startswith("sqlite:"):  # a file is new, a server may have something in it
        Redis.from_url(options.url).flushall()
    entry: Contestant = importlib.import_module(f"contestants.{options.name}").Entry()
    entry.prepare()
    sizes = Sizes(options.drain, options.enqueue, options.latency, options.warm_up)
    numbers = PHASES[options.phase](entry, sizes)
    print(ANSWER + json.dumps({"about": {"workers": entry.workers, **entry.guarantees}, "numbers": numbers}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
