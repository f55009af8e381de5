"""Measure what limits cost on Redis: memory of a task that waits, and the time to admit one, by how many wait.

    python benchmarks/gates.py                       # 1,000, 10,000 and 100,000 tasks, ten behind each key
    python benchmarks/gates.py --tasks 1000000

It starts a private server. The first task of each key is ready; the others wait in its line. A round claims some of
them and settles them, which admits the next of their lines.
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
    for count in parser.parse_args().tasks:
        print(measure(count), flush=True)


if __name__ == "__main__":
    main()
