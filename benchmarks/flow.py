"""What each feature of flow control costs on Redis in CPU for one task, of the client and of the server.

    python benchmarks/flow.py [--tasks 5000] [--rounds 3]

It starts a private server. Tasks are called in bulk, claimed, asked about where they must be, and settled; those that
wait for a limit are also admitted, and of flows the results are read that tasks get. Each number is the least of all
rounds, in microseconds: other work on the machine makes a round dearer, never cheaper.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import Any
from uuid import uuid4

from attrs import frozen
from cost import BATCH, Meter, record
from redis import Redis

from pyxqueue import Concurrency, Rate, TaskQueue, Unique, chain, chord
from pyxqueue.backends.redis import RedisBackend
from pyxqueue.client.canvas import Canvas
from pyxqueue.inputs import Results
from pyxqueue.model.message import Delivery, Done, Message, Settlement, StartStatus
from pyxqueue.testing.servers import Server
from pyxqueue.ticking import Ticker, store_of_schedules
from pyxqueue.worker.inputs import InputReader
from pyxqueue.worker.steps import StepKeeper

SCHEDULES = 100
SECONDS = 2
CHAIN, CHORD = 3, 1_000
"""How many tasks such a flow has; a chord one more, which reads the results of the others."""


@frozen
class Feature:
    """Options of a task, and how many calls there are with each key."""

    options: Mapping[str, Any]
    each_key: int = 1


FEATURES = {
    "nothing of it": Feature({}),
    "a priority": Feature({"priority": 60}),
    "an expiry": Feature({"expires": 3600}),
    "`Unique`, a call that is accepted": Feature({"unique": Unique(by=("key",))}),
    "`Concurrency`, with room": Feature({"limits": [Concurrency(1_000_000)]}),
    "`Concurrency(1, by=...)`, nine of ten wait": Feature({"limits": [Concurrency(1, by="key")]}, each_key=10),
    "`Rate`, with room": Feature({"limits": [Rate(1_000_000, per=1, burst=1_000_000)]}),
}


def run_all(backend: RedisBackend, reader: InputReader | None = None) -> int:
    """Claim and settle until nothing is left; `reader`: read the results that tasks get. Returns how many ended."""
    ended = 0
    while True:
        backend.maintain(BATCH)
        if not (deliveries := backend.claim("worker", BATCH, 0)):
            return ended
        if asked := [one.receipt for one in deliveries if one.must_begin]:
            assert set(backend.begin(asked)) == {StartStatus.RUN}
        if reader is not None:
            read_results(reader, deliveries)
        assert all(backend.settle([settled(one) for one in deliveries]))
        ended += len(deliveries)


def read_results(reader: InputReader, deliveries: Sequence[Delivery]) -> None:
    """Read the results of other tasks, each of which is 1, that are arguments of these."""
    for one in deliveries:
        if isinstance(one.message, Message) and one.message.after:
            args, _ = reader.fill(reader.codec.open_call(one.message))
            assert {value for arg in args for value in (arg if isinstance(arg, Results) else [arg])} == {1}


def settled(delivery: Delivery) -> Settlement:
    return Settlement(delivery.receipt, Done(), record(delivery))


def measured(feature: Feature, url: str, server: Redis, tasks: int) -> tuple[float, float]:
    """The microseconds of a task, of the client and of the server."""
    with closing(TaskQueue(url, stream_key=f"flow-{uuid4().hex}", eager=False)) as queue:
        task = queue.task(name="echo", **feature.options)(lambda key, number: (key, number))
        backend = queue.stores.backend
        assert isinstance(backend, RedisBackend)
        task.map([(-1, 0)])  # what the first use costs
        assert run_all(backend) == 1
        keys = max(1, tasks // feature.each_key)
        calls = [(number % keys, number) for number in range(tasks)]
        meter = Meter(server)
        meter.measure("all", lambda: task.map(calls))
        assert meter.measure("all", lambda: run_all(backend)) == tasks
    return meter.used["all"][0] / tasks * 1e6, meter.used["all"][1] / tasks * 1e6


def flowing(name: str, url: str, server: Redis, tasks: int) -> tuple[float, float]:
    """The microseconds of each task of flows of this form."""
    with closing(TaskQueue(url, stream_key=f"flow-{uuid4().hex}", eager=False)) as queue:
        task = queue.task(name="echo")(lambda value: value)
        forms: dict[str, tuple[int, Canvas]] = {
            "chain": (CHAIN, chain(*[task.of(1), *[task.of()] * (CHAIN - 1)])),
            "chord": (CHORD + 1, chord([task.of(1)] * CHORD, task.of())),
        }
        size, form = forms[name]
        backend = queue.stores.backend
        assert isinstance(backend, RedisBackend)
        codec = queue.core.codec
        reader = InputReader(backend, codec, StepKeeper(backend, codec, lambda: False, lambda *_: 0.0))
        form()  # what the first use costs
        assert run_all(backend, reader) == size
        meter, count = Meter(server), max(1, tasks // size)
        for _ in range(count):
            meter.measure("all", form)
        assert meter.measure("all", lambda: run_all(backend, reader)) == count * size
    return tuple(side / count / size * 1e6 for side in meter.used["all"])  # type: ignore[return-value] # of two


def name_paused(url: str, server: Redis, tasks: int, *, own: bool) -> tuple[float, float]:
    """The microseconds of a task while its own name is paused, which waits and runs after the pause; or while another
    name is paused, so that its start is asked about."""
    with closing(TaskQueue(url, stream_key=f"flow-{uuid4().hex}", eager=False)) as queue:
        task, paused = queue.task(name="echo")(lambda number: number), "echo" if own else "other"
        backend = queue.stores.backend
        assert isinstance(backend, RedisBackend)

        def run(count: int) -> None:
            task.map([(number,) for number in range(count)])
            while own and (deliveries := backend.claim("worker", BATCH, 0)):
                assert set(backend.begin([one.receipt for one in deliveries])) == {StartStatus.LATER}
            if own:
                queue.admin.resume(task=paused)
            assert run_all(backend) == count

        meter = Meter(server)
        for step, count in (("first use", 1), ("all", tasks)):
            queue.admin.pause(task=paused)
            meter.measure(step, lambda: run(count))  # noqa: B023 - runs before the next
    return meter.used["all"][0] / tasks * 1e6, meter.used["all"][1] / tasks * 1e6


def dropped(url: str, server: Redis, tasks: int) -> tuple[float, float]:
    """The microseconds of a call of a unique task that meets one which is live."""
    with closing(TaskQueue(url, stream_key=f"flow-{uuid4().hex}", eager=False)) as queue:
        task = queue.task(name="echo", unique=Unique())(lambda key: key)
        task(1)
        meter = Meter(server)
        handles = meter.measure("all", lambda: task.map([(1,)] * tasks))
        assert not any(handle.created for handle in handles)
    return meter.used["all"][0] / tasks * 1e6, meter.used["all"][1] / tasks * 1e6


def ticks(url: str, server: Redis) -> tuple[float, float]:
    """The microseconds of a tick, which enqueues its task."""
    with closing(TaskQueue(url, stream_key=f"flow-{uuid4().hex}", eager=False)) as queue:
        task = queue.task(name="echo")(lambda: None)
        for number in range(SCHEDULES):
            queue.schedules.upsert(f"s{number}", task, every=1, overlap="allow")
        ticker = Ticker(store_of_schedules(queue.stores.backend), queue.core.codec)
        meter, end = Meter(server), time.monotonic() + SECONDS
        while time.monotonic() < end:
            time.sleep(max(0.0, meter.measure("all", ticker.tick)))
        count = sum(one.runs for one in queue.schedules)
    return meter.used["all"][0] / count * 1e6, meter.used["all"][1] / count * 1e6


def least(rounds: int, measure: Callable[[], tuple[float, float]]) -> tuple[float, float]:
    found = [measure() for _ in range(rounds)]
    return min(client for client, _ in found), min(server for _, server in found)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with Server() as server, Redis.from_url(server.url) as client:
        print(f"server: {server.kind}; the least of {options.rounds} rounds of {options.tasks:,} tasks\n")
        print("| a task with | client, µs | server, µs |\n|---|---|---|")
        rows: dict[str, Callable[[], tuple[float, float]]] = {
            name: lambda one=one: measured(one, server.url, client, options.tasks) for name, one in FEATURES.items()
        }
        rows["`Unique`, a call that is dropped"] = lambda: dropped(server.url, client, options.tasks)
        rows["a `chain` of three, each of them"] = lambda: flowing("chain", server.url, client, options.tasks)
        rows["a `chord` of 1,000, each of them"] = lambda: flowing("chord", server.url, client, options.tasks)
        rows["nothing of it, while the name of another is paused"] = lambda: name_paused(
            server.url, client, options.tasks, own=False
        )
        rows["a name that is paused, which waits and then runs"] = lambda: name_paused(
            server.url, client, options.tasks, own=True
        )
        rows["a tick of a schedule, with its call"] = lambda: ticks(server.url, client)
        for name, measure in rows.items():
            used = least(options.rounds, measure)
            print(f"| {name} | {used[0]:.0f} | {used[1]:.0f} |", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
