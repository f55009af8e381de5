"""How one worker process of pyxqueue copes with other kinds of work than a no-op: beside what would be ideal.

    python benchmarks/work.py [--quick | --smoke] [--only threads,depth]

It starts a private server and prints one table. Coroutines only wait, so their ideal is the number at once divided by
the wait; that of threads is what as many bare threads do. For the other rows the no-op is the yardstick.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from attrs import frozen
from mixed import PROCESSES as MIXED_PROCESSES
from mixed import Arrivals, Held, Run, percentile, waits_in_one_line
from mixed import work as mixed_work
from redis import Redis

from pyxqueue import TaskQueue
from pyxqueue.testing.servers import Server

HERE = Path(__file__).parent
LOOK_EVERY = 0.005
GIVE_UP_SECONDS = 120.0
KIB = 1024


@frozen
class Row:
    what: str
    number: float
    unit: str
    ideal: float | None = None


@frozen
class Place:
    """A server that is empty at the start of each row."""

    url: str
    server: Redis
    tasks: int
    depths: Sequence[int]
    idle_seconds: float
    calls: int

    def queue(self) -> TaskQueue:
        self.server.flushall()
        return TaskQueue(self.url, stream_key="work", eager=False)


def wait_until_empty(queue: TaskQueue) -> None:
    deadline = time.monotonic() + GIVE_UP_SECONDS
    while (depth := queue.stores.backend.depth()).ready or depth.in_flight or depth.delayed:
        if time.monotonic() > deadline:
            raise SystemExit(f"not empty after {GIVE_UP_SECONDS:.0f} s: {depth}")
        time.sleep(LOOK_EVERY)


@contextmanager
def working(queue: TaskQueue, **options: int) -> Iterator[None]:
    queue.start(**{"nworkers": 1, **options})
    try:
        yield
    finally:
        queue.shutdown()
        queue.close()


def rate(queue: TaskQueue, fill: Callable[[], int], warm: Callable[[], object], **options: int) -> float:
    """Tasks per second, from a full queue to an empty one, with a worker that is warm. It is stopped meanwhile."""
    others = psutil.Process().children(recursive=True)  # the server and its guard
    with working(queue, **options):
        warm()
        wait_until_empty(queue)
        family = [one for one in psutil.Process().children(recursive=True) if one not in others]
        for one in family:
            one.suspend()
        count = fill()
        start = time.perf_counter()
        for one in family:
            one.resume()
        wait_until_empty(queue)
        return count / (time.perf_counter() - start)


def noop(number: Any) -> Any:
    return number


def inline(place: Place) -> Iterator[Row]:
    queue = place.queue()
    echo = queue.task(name="echo")(noop)

    def fill() -> int:
        echo.map([(number,) for number in range(place.tasks)])
        return place.tasks

    yield Row("no-ops", rate(queue, fill, lambda: echo(0)), "tasks/s")


def threads(place: Place) -> Iterator[Row]:
    queue = place.queue()
    nap = queue.task(name="nap")(lambda _number: time.sleep(0.001))

    def fill() -> int:
        nap.map([(number,) for number in range(place.tasks)])
        return place.tasks

    number = rate(queue, fill, lambda: nap(0), threads=16)
    yield Row("16 threads, tasks wait 1 ms", number, "tasks/s", bare_threads(16, place.tasks))


def bare_threads(threads: int, naps: int) -> float:
    """Naps of 1 ms per second that so many threads take, each in a loop of its own."""

    def loop() -> None:
        for _ in range(naps // threads + 1):
            time.sleep(0.001)

    them = [threading.Thread(target=loop) for _ in range(threads)]
    start = time.perf_counter()
    for one in them:
        one.start()
    for one in them:
        one.join()
    return (naps // threads + 1) * threads / (time.perf_counter() - start)


def coroutines(place: Place) -> Iterator[Row]:
    for wait, at_once in ((0.01, 100), (0.1, 1_000)):
        queue = place.queue()

        @queue.task(name="nap")
        async def nap(_number: int, wait: float = wait) -> None:
            await asyncio.sleep(wait)

        def fill(nap: Any = nap) -> int:
            nap.map([(number,) for number in range(2 * place.tasks)])
            return 2 * place.tasks

        title = f"async, {at_once:,} at once wait {wait * 1000:.0f} ms"
        number = rate(queue, fill, lambda nap=nap: nap(0), concurrency=at_once)
        yield Row(title, number, "tasks/s", at_once / wait)


def answers(place: Place) -> Iterator[Row]:
    """From a call to its result, beside a bare echo between two processes, which takes the same two hops."""
    queue = place.queue()
    echo = queue.task(name="echo")(noop)
    with working(queue):
        yield from percentiles("call to result", place.calls, lambda: echo(1).get(timeout=60))
    place.server.flushall()
    place.server.xgroup_create("echo", "group", mkstream=True)
    pid = os.fork()
    if pid == 0:
        serve_echo(place.url)
    try:
        yield from percentiles("bare echo", place.calls, lambda: bare_call(place.server))
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def percentiles(what: str, count: int, call: Callable[[], object]) -> Iterator[Row]:
    times = []
    for _ in range(count + count // 10):
        start = time.perf_counter()
        call()
        times.append((time.perf_counter() - start) * 1000)
    times = sorted(times[count // 10 :])
    yield Row(f"{what}, median", statistics.median(times), "ms")
    yield Row(f"{what}, 99th percentile", times[int(count * 0.99)], "ms")


def bare_call(server: Redis) -> None:
    server.xadd("echo", {"body": "x" * 60})
    server.blpop(["reply"])


def serve_echo(url: str) -> None:
    """Answer each entry of the stream, and remove it, until the process is killed."""
    with Redis.from_url(url, protocol=2) as server:
        while True:
            for _, entries in server.xreadgroup("group", "consumer", {"echo": ">"}, count=1, block=1_000):
                for entry, _ in entries:
                    with server.pipeline() as pipeline:
                        pipeline.lpush("reply", b"1").xack("echo", "group", entry).xdel("echo", entry)
                        pipeline.execute()


def mixed(place: Place) -> Iterator[Row]:
    """Long tasks among short ones: waits, beside those of a simulated line, and what waits beside an idle process."""
    for load, burst, share in ((0.1, 1, 0.05), (0.5, 1, 0.15), (0.5, 100, 0.15)):
        arrivals = Arrivals.at_random(max(5, int(place.tasks * share)), load, burst)
        waits, ideal, held = mixed_waits(place.queue(), arrivals)
        of = f"at {load:.0%} load" + (f", {burst} at once" if burst > 1 else "")
        yield Row(f"1 % take 1 s, {of}, 99th percentile of waits", waits * 1000, "ms", ideal * 1000)
        yield Row(f"1 % take 1 s, {of}, longest held beside an idle process", held * 1000, "ms")


def mixed_waits(queue: TaskQueue, arrivals: Arrivals) -> tuple[float, float, float]:
    """Return, in seconds: the 99th percentile of the waits, that of the simulation, and what `Held.longest` returns."""
    task = queue.task(name="work")(mixed_work)
    with working(queue, nworkers=MIXED_PROCESSES):
        while len({one.get(timeout=60)[2] for one in task.map([(0.001,)] * 20)}) < MIXED_PROCESSES:
            pass  # until both have started
        with Held(queue) as held:
            handles, moments, start = [], [], time.monotonic()
            for moment, duration in zip(arrivals.moments, arrivals.durations, strict=True):
                time.sleep(max(0.0, start + moment - time.monotonic()))
                moments.append(time.monotonic())
                handles.append(task(duration))
            runs = {one.task_id: Run(*one.get(timeout=GIVE_UP_SECONDS)) for one in handles}
        ran = list(runs.values())
        waits = [run.start - moment for run, moment in zip(ran, moments, strict=True)]
        ideal = waits_in_one_line(moments, [run.end - run.start for run in ran])
        return percentile(waits, 0.99), percentile(ideal, 0.99), held.longest(runs)


def progress(place: Place) -> Iterator[Row]:
    """A task that reports its progress in a tight loop."""
    queue = place.queue()

    @queue.task(name="count")
    def count(steps: int) -> float:
        start = time.perf_counter()
        for step in range(steps):
            queue.update_task_progress(step)
        return (time.perf_counter() - start) / steps

    with working(queue):
        least = min(count(10 * place.tasks).get(timeout=60) for _ in range(5))
    yield Row("a call that reports progress, in a tight loop", least * 1e6, "µs")


def depth(place: Place) -> Iterator[Row]:
    for count in place.depths:
        yield from beside_delayed(place, count)
        queue = place.queue()
        echo = queue.task(name="echo")(noop)
        start = time.perf_counter()
        echo.map((number,) for number in range(count))
        yield Row(f"enqueue {count:,} in bulk", count / (time.perf_counter() - start), "calls/s")
        start = time.perf_counter()
        with working(queue):
            wait_until_empty(queue)
            yield Row(f"drain {count:,}, start included", count / (time.perf_counter() - start), "tasks/s")


def beside_delayed(place: Place, count: int) -> Iterator[Row]:
    """Enqueue and run tasks while so many others are delayed."""
    queue = place.queue()
    echo = queue.task(name="echo")(noop)
    echo.with_options(delay=86_400).map((number,) for number in range(count))
    start = time.perf_counter()
    last = list(echo.map((number,) for number in range(place.tasks)))[-1]
    yield Row(f"enqueue beside {count:,} delayed", place.tasks / (time.perf_counter() - start), "calls/s")
    start = time.perf_counter()
    with working(queue):
        last.get(timeout=GIVE_UP_SECONDS)
        yield Row(f"drain beside {count:,} delayed", place.tasks / (time.perf_counter() - start), "tasks/s")


def idle(place: Place) -> Iterator[Row]:
    """A worker and its supervisor with nothing to do."""
    queue = place.queue()
    echo = queue.task(name="echo")(noop)
    others = psutil.Process().children(recursive=True)  # the server and its guard
    with working(queue):
        echo(1).get(timeout=60)
        time.sleep(min(1.0, place.idle_seconds))
        family = [one for one in psutil.Process().children(recursive=True) if one not in others]
        before, commands = cpu(family), sent(place.server)
        time.sleep(place.idle_seconds)
        used, more = cpu(family) - before, sent(place.server) - commands - 1  # the look itself
        yield Row("idle", more / place.idle_seconds, "commands/s")
        yield Row("idle", used / place.idle_seconds * 100, "% of a core")


def memory(place: Place) -> Iterator[Row]:
    """What `pyxqueue worker` starts: a worker, its supervisor, the watchdog and the process that writes the log."""
    place.server.flushall()
    environment = {**os.environ, "BENCH_URL": place.url}
    command = [sys.executable, "-m", "pyxqueue", "worker", "start", "--processes", "1"]
    program = subprocess.Popen(command, cwd=HERE, env=environment, stderr=subprocess.DEVNULL)  # noqa: S603 - ours
    queue = TaskQueue(place.url, stream_key="start", eager=False)
    try:
        queue.task(name="start.first")(lambda: 0.0)().get(timeout=60)
        root = psutil.Process(program.pid)
        family = [root, *root.children(recursive=True)]
        worker = max(family, key=psutil.Process.num_threads)
        yield Row("`pyxqueue worker`, the worker process, RSS", worker.memory_info().rss / KIB**2, "MB")
        if hasattr(root.memory_full_info(), "pss"):
            used = sum(one.memory_full_info().pss for one in family)
            yield Row("`pyxqueue worker`, all its processes, PSS", used / KIB**2, "MB")
    finally:
        program.terminate()
        program.wait()
        queue.close()


def starting(place: Place) -> Iterator[Row]:
    for package in ("redis", "pyxqueue"):
        yield Row(f"import {package}", import_ms(package), "ms")
    yield Row("from start() to the first line of a task", start_ms(place), "ms")
    yield Row("the same in a program with threads", start_ms(place, "--threads"), "ms")


def start_ms(place: Place, *flags: str) -> float:
    """The least of five starts, each in a new process."""
    command = [sys.executable, str(HERE / "start.py"), *flags]
    environment = {**os.environ, "BENCH_URL": place.url}
    return min(
        float(subprocess.check_output(command, env=environment, stderr=subprocess.DEVNULL))  # noqa: S603 - ours
        for _ in range(5)
    )


def cpu(family: Sequence[psutil.Process]) -> float:
    return sum(sum(one.cpu_times()[:2]) for one in family)


def sent(server: Redis) -> int:
    return int(server.info("stats")["total_commands_processed"])


def import_ms(package: str) -> float:
    """The least of five imports, each in a new process."""
    program = f"import time; start = time.perf_counter(); import {package}; print(time.perf_counter() - start)"
    command = [sys.executable, "-c", program]
    return min(float(subprocess.check_output(command)) for _ in range(5)) * 1000  # noqa: S603 - our own interpreter


ROWS: dict[str, Callable[[Place], Iterator[Row]]] = {
    "inline": inline,
    "threads": threads,
    "coroutines": coroutines,
    "answers": answers,
    "mixed": mixed,
    "progress": progress,
    "depth": depth,
    "idle": idle,
    "memory": memory,
    "starting": starting,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(ROWS), help="rows, separated by commas")
    parser.add_argument("--quick", action="store_true", help="fewer tasks, and no queue of a million")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes: does it work at all?")
    options = parser.parse_args()
    tasks, depths, seconds = 20_000, (10_000, 100_000, 1_000_000), 10.0
    calls = 2_000
    if options.quick:
        tasks, depths, seconds = 10_000, (10_000, 100_000), 5.0
        calls = 1_000
    if options.smoke:
        tasks, depths, seconds = 40, (40,), 0.2
        calls = 20
    print("| one worker process | number | ideal | share |\n|---|---|---|---|")
    with Server() as started, Redis.from_url(started.url) as server:
        place = Place(started.url, server, tasks, depths, seconds, calls)
        for name in options.only.split(","):
            for row in ROWS[name](place):
                ideal = f"{row.ideal:,.0f} | {row.number / row.ideal:.0%}" if row.ideal else "– | –"  # noqa: RUF001
                shown = f"{row.number:,.0f}" if row.number >= 100 else f"{row.number:.3g}"
                print(f"| {row.what} | {shown} {row.unit} | {ideal} |", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
