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
from functools import partial
from typing import Any

import psutil
from attrs import frozen
from contestants.base import (
    ANSWER,
    TYPES,
    URL_VARIABLE,
    WORK_VARIABLE,
    Contestant,
    RunsFlows,
    TimesItself,
    Way,
    server_url,
)
from redis import Redis

LOOK_EVERY = 0.002
GIVE_UP_SECONDS = 30.0
KIB = 1024
MOST = 50_000
"""No queue is filled with more tasks than this, nor with more bytes than the next one."""
MOST_BYTES = 40 * KIB**2
CHORD = 1_000
"""The tasks of a chord, not counting the one that gets their results."""


@frozen
class Sizes:
    """How much is done for each number."""

    seconds: float
    """How long a measurement should take."""
    warm: float
    """How long the first warm-up of a process takes: Node.js is at half its speed before it has compiled the most used
    functions."""
    first: int
    """How many calls the first warm-up has, and the least that is measured."""


class Stuck(Exception):  # noqa: N818 - it says what happened
    """No more tasks are completed."""


def fitting(sizes: Sizes, action: Callable[[int], float], spend: float, least: int, most: int = MOST) -> int:
    """Warm up with ever more calls, and `spend` so many seconds; return how many calls will take `sizes.seconds`.

    A slow contestant so gets fewer calls: its rate is as exact, and nobody waits for minutes.
    """
    action(sizes.first // 5)  # starts and connects what is not there yet
    spent, count = 0.0, least
    while True:
        spent += (took := action(count))
        if spent >= spend and (took >= sizes.seconds / 5 or count == most):
            return min(max(int(count * sizes.seconds / took), least), most)
        if took < sizes.seconds / 3:
            count = min(2 * count, most)


def seconds(entry: Contestant, way: Way, values: Sequence[Any]) -> float:
    """How long it takes to enqueue the values, or to call a task or a flow and wait for its result."""
    if isinstance(entry, TimesItself):
        return entry.seconds(way, values)
    start = time.perf_counter()
    if way == "bulk":
        entry.enqueue_bulk(values)
    elif way == "one":
        for value in values:
            entry.enqueue_one(value)
    else:
        expect(result(entry, way, values), sum(values) if way == "chord" else values[0])
    return time.perf_counter() - start


def result(entry: Contestant, way: Way, values: Sequence[Any]) -> object:
    """Call a task or a flow, and return its result."""
    if way == "call":
        return entry.call_and_wait(values[0])
    assert isinstance(entry, RunsFlows)
    return entry.call_chain(values[0]) if way == "chain" else entry.call_chord(values)


def expect(answer: object, expected: object) -> None:
    if answer != expected:
        raise Stuck(f"a result is {answer!r}, not {expected!r}")


def enqueue_rates(entry: Contestant, sizes: Sizes) -> dict[str, float]:
    """Calls per second, one by one and in bulk, with no worker around."""
    ways: dict[str, Way] = {"enqueue": "one", "bulk": "bulk"}
    found = {}
    for key, way in ways.items():
        count = fitting(sizes, lambda count, way=way: seconds(entry, way, range(count)), sizes.warm, sizes.first)
        found[key] = count / seconds(entry, way, range(count))
    return found


def latencies(entry: Contestant, sizes: Sizes) -> dict[str, float]:
    """Milliseconds from a call to its result, one after the other, with workers that wait."""

    def calls(count: int) -> list[float]:
        return [seconds(entry, "call", [number]) * 1000 for number in range(count)]

    with workers(entry):
        count = fitting(sizes, lambda count: sum(calls(count)) / 1000, sizes.warm, sizes.first // 5)
        times = sorted(calls(2 * count))
    return {"median": statistics.median(times), "p99": times[int(len(times) * 0.99)]}


def flow_times(entry: Contestant, sizes: Sizes) -> dict[str, float]:
    """Milliseconds from the call of a flow to its result, one after the other, with workers that wait: of a chain of
    three no-ops, and of a chord."""
    if "flows" not in entry.offers:
        return {}

    def chains(count: int) -> list[float]:
        return [seconds(entry, "chain", [number]) * 1000 for number in range(count)]

    def chords(width: int, spend: float) -> list[float]:
        times = [seconds(entry, "chord", range(width)) * 1000]
        while sum(times) < spend * 1000:
            times.append(seconds(entry, "chord", range(width)) * 1000)
        return times

    with workers(entry):
        count = fitting(sizes, lambda count: sum(chains(count)) / 1000, sizes.warm, sizes.first // 5)
        chain = statistics.median(chains(count))
        width = CHORD if sizes.seconds else sizes.first
        chords(width // 10, sizes.warm / 2)  # small ones: where they are slow, they are so by the square of the width
        return {"chain": chain, "chord": statistics.median(chords(width, sizes.seconds))}


class Drain:
    """Queues that are filled while the workers are stopped as by SIGSTOP, and drained when they are let go."""

    def __init__(self, entry: Contestant, sizes: Sizes, callers: Sequence[psutil.Process]) -> None:
        self._entry = entry
        self._sizes = sizes
        self._callers = callers
        self._enqueued = 0

    def rate(self, task: str, size: int = 0) -> tuple[float, float]:
        """Tasks per second from a full queue to an empty one, and CPU seconds of the workers for each.

        `task` is the name of one, or "types" for all of these in turns; a `size` makes the value a string as long.
        The workers are up, connected and warm.
        """
        most = min(MOST, MOST_BYTES // size) if size else MOST
        least = self._sizes.first * (10 if task == "fail" else 1)  # some look for what is due twice a second
        spend = self._sizes.seconds if self._enqueued else self._sizes.warm
        count = fitting(self._sizes, lambda count: self._warm(task, size, count), spend, least, most)
        stopped = self._stop()
        try:
            self._fill(task, size, count)
            cpu = {process.pid: process.cpu_times() for process in stopped}
        finally:
            start = time.perf_counter()
            for process in stopped:
                process.send_signal(signal.SIGCONT)
        wait_until(self._entry, self._enqueued)
        took = time.perf_counter() - start
        used = sum(sum(process.cpu_times()[:2]) - sum(cpu[process.pid][:2]) for process in stopped)
        return count / took, used / count

    def _warm(self, task: str, size: int, count: int) -> float:
        start = time.perf_counter()
        self._fill(task, size, count)
        wait_until(self._entry, self._enqueued)
        return time.perf_counter() - start

    def _fill(self, task: str, size: int, count: int) -> None:
        values: Sequence[Any] = ["x" * size] * count if size else range(count)
        if task == "types":
            each = min(50, max(1, count // TYPES))
            for block, start in enumerate(range(0, count, each)):
                self._entry.enqueue_bulk(values[start : start + each], f"type{block % TYPES}")
        else:
            self._entry.enqueue_bulk(values, task)
        self._enqueued += count

    def _stop(self) -> list[psutil.Process]:
        stopped = [one for one in psutil.Process().children(recursive=True) if one not in self._callers]
        with locked(server_url()):
            for process in stopped:
                process.send_signal(signal.SIGSTOP)
            while any(process.status() == psutil.STATUS_RUNNING for process in stopped):
                time.sleep(LOOK_EVERY)
        return stopped


def drain_rates(entry: Contestant, sizes: Sizes) -> dict[str, float]:
    """Tasks per second of no-ops, and of other tasks by the same workers."""
    with draining(entry, sizes) as drain:
        rate, cpu = drain.rate("echo")
        found = {"drain": rate, "cpu": cpu * 1e6}
        for task in ("types", "fail"):
            if task in entry.offers:
                found[task], _ = drain.rate(task)
        for key, size in (("kb1", KIB), ("kb100", 100 * KIB)):
            found[key], _ = drain.rate("echo", size)
    return found


def waiting_rate(entry: Contestant, sizes: Sizes, work: str, task: str) -> dict[str, float]:
    """Tasks per second that only wait, in threads or in coroutines of one process."""
    if work not in entry.offers:
        return {}
    with draining(entry, sizes) as drain:
        rate, _ = drain.rate(task)
    return {work: rate}


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
    """Wait until the store says that `total` calls are done.

    A look may count all rows, which takes a core from the workers. So the looks are far from each other, except at the
    beginning, when the rate is not known, and at the end that it foretells.
    """
    done, changed = -1, time.monotonic()
    first: tuple[int, float] | None = None
    while True:
        begun = time.monotonic()
        now_done, now = entry.completed(total), time.monotonic()
        if now_done >= total:
            return
        if now_done != done:
            done, changed = now_done, now
        elif now - changed > GIVE_UP_SECONDS:
            raise Stuck(f"{done} of {total} were done, and for {GIVE_UP_SECONDS} s no more")
        first = first or (now_done, begun)
        gained = now_done - first[0]
        spent = now - first[1]
        left = (total - now_done) * spent / gained if gained > 0 else 0.0
        time.sleep(max(LOOK_EVERY, min(left / 2, spent / 4), now - begun))


@contextmanager
def workers(entry: Contestant) -> Iterator[None]:
    entry.start_workers()
    try:
        yield
    finally:
        entry.stop_workers()


@contextmanager
def draining(entry: Contestant, sizes: Sizes) -> Iterator[Drain]:
    callers = psutil.Process().children()
    with workers(entry):
        yield Drain(entry, sizes, callers)


PHASES: dict[str, Callable[[Contestant, Sizes], dict[str, float]]] = {
    "enqueue": enqueue_rates,
    "inline": drain_rates,
    "latency": latencies,
    "threads": partial(waiting_rate, work="threads", task="nap"),
    "async": partial(waiting_rate, work="async", task="pause"),
    "flows": flow_times,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("--phase", choices=PHASES, required=True)
    parser.add_argument("--url", required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--warm", type=float, required=True)
    parser.add_argument("--first", type=int, required=True)
    options = parser.parse_args()
    os.environ[URL_VARIABLE] = options.url
    os.environ[WORK_VARIABLE] = options.phase
    os.environ["PYTHONPATH"] = sys.path[0]  # for the worker programs
    if not options.url.startswith("sqlite:"):  # a file is new, a server may have something in it
        Redis.from_url(options.url).flushall()
    entry: Contestant = importlib.import_module(f"contestants.{options.name}").Entry()
    entry.prepare()
    numbers = PHASES[options.phase](entry, Sizes(options.seconds, options.warm, options.first))
    print(ANSWER + json.dumps({"about": {"workers": entry.workers, **entry.guarantees}, "numbers": numbers}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
