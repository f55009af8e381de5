"""Measure what limits cost on Redis: memory of a task that waits, and the time to admit one, by how many wait.

    python benchmarks/gates.py                       # 1,000, 10,000 and 100,000 tasks, ten behind each key
    python benchmarks/gates.py --tasks 1000000

It starts a private server. The first task of each key is ready; the others wait in its line. A round claims some of
them and settles them, which admits the next of their lines.

    python benchmarks/gates.py --rates               # what rates cost: to begin a task, and to turn one away
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import closing

from redis import Redis

from pyxqueue.backends.redis import ConnectionConfig, RedisBackend
from pyxqueue.ids import new_id
from pyxqueue.model.message import FLOW_VERSION, Done, Message, Record, Settlement, TaskStatus
from pyxqueue.model.rates import Pace
from pyxqueue.protocols import StoreOptions
from pyxqueue.testing.servers import Server

BEHIND_EACH = 10
BATCH = 256
ROUNDS = 20
CLAIMED = 50


def messages(count: int, *, gated: bool) -> Iterator[list[Message]]:
    """Return messages in batches; `gated`: with a limit by one of `count / 10` keys."""
    for start in range(0, count, BATCH):
        yield [
            Message(
                new_id(),
                "app.render",
                b"[[%d],{}]" % number,
                gates=(f"app.render/{number % (count // BEHIND_EACH)}",) if gated else (),
                v=FLOW_VERSION if gated else 1,
                delay_ms=0 if gated else 3_600_000,
            )
            for number in range(start, min(count, start + BATCH))
        ]


def used(client: Redis) -> int:
    found: int = client.info("memory")["used_memory"]
    return found


def filled(backend: RedisBackend, client: Redis, count: int, *, gated: bool) -> tuple[float, float]:
    """Enqueue tasks, and return how many bytes and µs each took."""
    before, begun = used(client), time.perf_counter()
    for batch in messages(count, gated=gated):
        backend.enqueue(batch)
    took = time.perf_counter() - begun
    return (used(client) - before) / count, took / count * 1e6


def admitted(backend: RedisBackend) -> float:
    """Settle some tasks, each of which admits another, and return the µs for each."""
    spent, ended = 0.0, 0
    for _ in range(ROUNDS):
        deliveries = backend.claim("bench", CLAIMED, 0)
        settlements = [
            Settlement(one.receipt, Done(), Record(one.message.id, TaskStatus.SUCCESS, b"null", fence=one.fence))
            for one in deliveries
        ]
        begun = time.perf_counter()
        backend.settle(settlements)
        spent += time.perf_counter() - begun
        ended += len(deliveries)
    return spent / ended * 1e6


def begun(backend: RedisBackend) -> float:
    """Ask whether claimed tasks may start, and return the µs for each. They stay in flight."""
    spent, asked = 0.0, 0
    for _ in range(ROUNDS):
        receipts = [one.receipt for one in backend.claim("bench", CLAIMED, 0)]
        started = time.perf_counter()
        backend.begin(receipts)
        spent += time.perf_counter() - started
        asked += len(receipts)
    return spent / asked * 1e6


def measure_rates(count: int) -> str:
    """One rate for each of `count` keys, with one task each: begin some of them, and turn others away."""
    with (
        Server() as server,
        closing(Redis.from_url(server.url)) as client,
        closing(RedisBackend(ConnectionConfig.from_client(client), StoreOptions("rated"))) as backend,
    ):
        backend.limits().set_rate("api", Pace(1, 3_600_000_000))
        for start in range(0, count, BATCH):
            backend.enqueue(
                [
                    Message(new_id(), "app.fetch", gates=(f"rate:api/{number}",), v=FLOW_VERSION)
                    for number in range(start, min(count, start + BATCH))
                ]
            )
        begin = begun(backend)
        backend.limits().set_rate("api", Pace(0, 3_600_000_000))
        away = begun(backend)
    return f"{count:9,} keys of a rate: {begin:4.0f} µs to begin a task, {away:4.0f} µs to turn one away"


def measure(count: int) -> str:
    with Server() as server, closing(Redis.from_url(server.url)) as client:
        config = ConnectionConfig.from_client(client)
        with closing(RedisBackend(config, StoreOptions("delayed"))) as delayed:
            plain, _ = filled(delayed, client, count, gated=False)
        with closing(RedisBackend(config, StoreOptions("gated"))) as backend:
            backend.limits().set("app.render", 1)
            size, enqueue = filled(backend, client, count, gated=True)
            depth, settle = backend.depth(), admitted(backend)
    return (
        f"{count:9,} tasks, {depth.blocked:9,} wait behind {count // BEHIND_EACH:7,} keys: {size:4.0f} bytes each, "
        f"{size - plain:+4.0f} to a delayed one; {enqueue:4.0f} µs to enqueue one, {settle:4.0f} µs to end one and "
        f"admit the next"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--rates", action="store_true")
    given = parser.parse_args()
    for count in given.tasks:
        print(measure_rates(max(count, 2 * ROUNDS * CLAIMED)) if given.rates else measure(count), flush=True)


if __name__ == "__main__":
    main()
