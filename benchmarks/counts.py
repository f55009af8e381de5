"""Count what a task costs: commands, Python calls and bytes, which do not depend on how fast the machine is.

    python benchmarks/counts.py            # compare with counts.json, fail where a count has grown
    python benchmarks/counts.py --update   # store what was counted as the new baseline

It starts a private server. A count may exceed its baseline a little (`SLACK`, `FEW`): batches depend on time,
and so do whether a result is there at the first look, and how often what an idle worker does every few seconds falls
into the time in which it is counted.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from redis import Redis

from pyxqueue import TaskQueue, chain, chord
from pyxqueue.testing import drain
from pyxqueue.testing.servers import Server

BASELINE = Path(__file__).with_suffix(".json")
SLACK = {"call": 1.4, "drain": 1.2, "idle": 1.25}
"""By the first word of a count; the others have `USUAL_SLACK`."""
USUAL_SLACK = 1.1
FEW = 0.05
TASKS = 1_024
CALLS = 50
FLOWS = {"chain": (100, 3), "chord": (3, 101)}
"""How many are counted, and how many tasks each has."""
DRAINS = 4
"""Of so many the least counts: what a process that had to wait for the processor gives back is claimed again."""
IDLE_SECONDS = 12.0
"""Twice the longest interval at which an idle worker and its supervisor look after anything."""
END = "counted"


def count_calls(action: Callable[[], object]) -> int:
    """How many Python functions this thread calls in `action`, whoever's they are."""
    calls = 0

    def profile(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(profile)
    try:
        action()
    finally:
        sys.setprofile(None)
    return calls


class Commands:
    """Commands that clients sent, and `redis.call`s of scripts, as MONITOR shows them."""

    def __init__(self) -> None:
        self.sent = 0
        self.called = 0

    def read(self, server: Redis, ready: threading.Event) -> None:
        with server.monitor() as monitor:
            ready.set()
            for command in monitor.listen():
                if END in command["command"]:
                    return
                if command["client_type"] == "lua":
                    self.called += 1
                else:
                    self.sent += 1


@contextmanager
def counting(server: Redis) -> Iterator[Commands]:
    """Count commands until the block ends."""
    commands, ready = Commands(), threading.Event()
    reader = threading.Thread(target=commands.read, args=(server, ready))
    reader.start()
    ready.wait()
    try:
        yield commands
    finally:
        server.echo(END)
        reader.join()


def memory(server: Redis) -> int:
    return int(server.info("memory")["used_memory"])


def size_of(server: Redis, stream_key: str) -> int:
    """The bytes of the keys of a queue: without the buffers of clients, which are as large as those of few tasks."""
    keys = [stream_key, *server.scan_iter(match=f"{{{stream_key}}}:*", count=1_000)]
    with server.pipeline(transaction=False) as pipeline:
        for key in keys:
            pipeline.memory_usage(key, samples=0)
        return sum(size or 0 for size in pipeline.execute())


def of_tasks(url: str, server: Redis) -> dict[str, float]:
    """Enqueue and drain no-ops in this process."""
    queue = TaskQueue(url, stream_key="counts", eager=False)
    echo = queue.task(name="echo")(lambda number: number)
    echo.map([(0,), (0,)])
    echo(0)
    drain(queue)  # everything is connected, and the scripts are loaded
    empty = memory(server)
    with counting(server) as single:
        calls_single = count_calls(lambda: [echo(number) for number in range(TASKS)])
    with counting(server) as bulk:
        calls_bulk = count_calls(lambda: echo.map([(number,) for number in range(TASKS)]))
    queued = memory(server)
    calls_drain = count_calls(lambda: drain(queue))
    finished = memory(server)
    queue.close()
    found = {
        "enqueue: commands": single.sent,
        "enqueue: redis.calls": single.called,
        "enqueue: Python calls": calls_single,
        "bulk: commands": bulk.sent,
        "bulk: redis.calls": bulk.called,
        "bulk: Python calls": calls_bulk,
        "run one at a time: Python calls": calls_drain / 2,
        "bytes queued": (queued - empty) / 2,
        "bytes finished": (finished - empty) / 2,
    }
    return {key: value / TASKS for key, value in found.items()}


def of_flows(url: str, server: Redis, name: str) -> dict[str, float]:
    """Enqueue and run chains of three no-ops, or chords of a hundred and one that adds up, in this process."""
    queue = TaskQueue(url, stream_key=name, eager=False)
    echo = queue.task(name="echo")(lambda number: number)
    total = queue.task(name="total")(sum)
    count, tasks = FLOWS[name]
    forms = {
        "chain": chain(echo.of(1), echo.of(), echo.of()),
        "chord": chord([echo.of(number) for number in range(tasks - 1)], total.of()),
    }
    forms[name]()
    drain(queue)  # everything is connected, and the scripts are loaded
    empty = size_of(server, name)
    with counting(server) as enqueue:
        calls_enqueue = count_calls(lambda: [forms[name]() for _ in range(count)])
    queued = size_of(server, name)
    with counting(server) as run:
        calls_run = count_calls(lambda: drain(queue))
    finished = size_of(server, name)
    queue.close()
    found = {
        "enqueue: commands": enqueue.sent,
        "enqueue: redis.calls": enqueue.called,
        "enqueue: Python calls": calls_enqueue,
        "run: commands": run.sent,
        "run: redis.calls": run.called,
        "run: Python calls": calls_run,
        "bytes queued": queued - empty,
        "bytes finished": finished - empty,
    }
    return {f"{name}, {key}": value / (count * tasks) for key, value in found.items()}


def drained(url: str, server: Redis, number: int) -> tuple[int, int]:
    """How many commands are sent and called while one worker process starts and drains a queue."""
    queue = TaskQueue(url, stream_key=f"drain{number}", eager=False)
    echo = queue.task(name="echo")(lambda number: number)
    last = list(echo.map([(number,) for number in range(TASKS)]))[-1]
    try:
        with counting(server) as commands:
            queue.start(1)
            last.get(timeout=60)
    finally:
        queue.shutdown()
        queue.close()
    return commands.sent, commands.called


def of_worker(url: str, server: Redis) -> dict[str, float]:
    """Drain a queue with one worker process, call with results, and see what a process sends while it is idle."""
    drains = [drained(url, server, number) for number in range(DRAINS)]
    queue = TaskQueue(url, stream_key="worker", eager=False)
    echo = queue.task(name="echo")(lambda number: number)
    queue.start(1)
    try:
        for number in range(CALLS):
            echo(number).get(timeout=60)
        with counting(server) as calls:
            for number in range(CALLS):
                echo(number).get(timeout=60)
        time.sleep(1)  # the last settlement is over, and nothing is left to be promoted
        with counting(server) as idle:
            time.sleep(IDLE_SECONDS)
    finally:
        queue.shutdown()
        queue.close()
    return {
        "drain: commands": min(sent for sent, _ in drains) / TASKS,
        "drain: redis.calls": min(called for _, called in drains) / TASKS,
        "call: commands": calls.sent / CALLS,
        "call: redis.calls": calls.called / CALLS,
        "idle: commands a second": idle.sent / IDLE_SECONDS,
    }


def count() -> tuple[str, dict[str, float]]:
    """The kind of the server, and every count."""
    with Server() as started, Redis.from_url(started.url) as server:
        found = of_tasks(started.url, server)
        for name in FLOWS:
            found |= of_flows(started.url, server, name)
        found |= of_worker(started.url, server)
        return started.kind, {key: round(value, 3) for key, value in found.items()}


def compare(found: Mapping[str, float], baseline: Mapping[str, float]) -> tuple[list[str], list[str]]:
    """One sentence for each count that has grown, and for each that has fallen; what has no baseline is left out."""
    grown, fallen = [], []
    for key in found.keys() & baseline.keys():
        moved = f"{key}: from {baseline[key]:g} to {found[key]:g}"
        if found[key] > limit(key, baseline[key]):
            grown.append(f"{moved}, at most {limit(key, baseline[key]):g} is allowed")
        elif baseline[key] > limit(key, found[key]):
            fallen.append(moved)
    return sorted(grown), sorted(fallen)


def limit(key: str, baseline: float) -> float:
    """The most that a count may be."""
    return baseline * SLACK.get(key.partition(":")[0], USUAL_SLACK) + FEW


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--update", action="store_true", help="store the counts as the new baseline")
    parser.add_argument("--baseline", type=Path, default=BASELINE, metavar="FILE")
    options = parser.parse_args()
    kind, found = count()
    if options.update:
        content = {"server": kind, "counts": found}
        options.baseline.write_text(json.dumps(content, indent=2) + "\n")
        return 0
    stored = json.loads(options.baseline.read_text())
    baseline = stored["counts"]
    if kind != stored["server"]:  # another server needs other memory for the same
        baseline = {key: value for key, value in baseline.items() if "bytes" not in key}
    for key, value in found.items():
        print(f"{key:32} {value:10g} {baseline.get(key, '-'):>10}")
    grown, fallen = compare(found, baseline)
    for line in grown:
        print(f"grown: {line}", file=sys.stderr)
    for line in fallen:
        print(f"fallen: {line}", file=sys.stderr)
    if grown or fallen:
        print("To store this as the new baseline: make bench-check ARGS=--update", file=sys.stderr)
    return 1 if grown else 0


if __name__ == "__main__":
    raise SystemExit(main())
