"""Measure what a fair queue costs on Redis: bytes of a task, the time to enqueue it, and to claim and end it.

    python benchmarks/fairness.py                    # 1,000, 10,000 and 100,000 tasks of ten tenants
    python benchmarks/fairness.py --tasks 1000000

It starts a private server. The first number of each pair is that of a plain queue, the second that of a fair one.
"""

from __future__ import annotations

import argparse
import time
from contextlib import closing

from redis import Redis

from pyxqueue.backends.redis import ConnectionConfig, RedisBackend
from pyxqueue.ids import new_id
from pyxqueue.model.message import FLOW_VERSION, Done, Message, Record, Settlement, TaskStatus
from pyxqueue.protocols import StoreOptions
from pyxqueue.testing.servers import Server

TENANTS = 10
BATCH = 256
DRAINED = 2_000
CLAIMED = 16


def message(number: int, *, fair: bool) -> Message:
    if not fair:
        return Message(new_id(), "app.render", b"[[%d],{}]" % number)
    tenant = f"tenant-{number % TENANTS}"
    return Message(new_id(), "app.render", b"[[%d],{}]" % number, share=1_000, tenant=tenant, v=FLOW_VERSION)


def used(client: Redis) -> int:
    found: int = client.info("memory")["used_memory"]
    return found


def filled(backend: RedisBackend, client: Redis, count: int, *, fair: bool) -> tuple[float, float]:
    """Enqueue tasks, and return how many bytes and µs each took."""
    before, begun = used(client), time.perf_counter()
    for start in range(0, count, BATCH):
        backend.enqueue([message(number, fair=fair) for number in range(start, min(count, start + BATCH))])
    took = time.perf_counter() - begun
    return (used(client) - before) / count, took / count * 1e6


def drained(backend: RedisBackend, count: int) -> float:
    """Claim and settle tasks, and return the µs for each."""
    ended, begun = 0, time.perf_counter()
    while ended < min(count, DRAINED):
        deliveries = backend.claim("bench", CLAIMED, 0)
        backend.settle([
            Settlement(one.receipt, Done(), Record(one.message.id, TaskStatus.SUCCESS, b"null", fence=one.fence))
            for one in deliveries
        ])  # fmt: skip
        ended += len(deliveries)
    return (time.perf_counter() - begun) / ended * 1e6


def measure(count: int) -> str:
    with Server() as server, closing(Redis.from_url(server.url)) as client:
        config, found = ConnectionConfig.from_client(client), []
        for fair in (False, True):
            with closing(RedisBackend(config, StoreOptions("fair" if fair else "plain"))) as backend:
                backend.claim("bench", 1, 0)
                found.append((*filled(backend, client, count, fair=fair), drained(backend, count)))
    (bytes_0, enqueue_0, drain_0), (bytes_1, enqueue_1, drain_1) = found
    return (
        f"| {count:,} | {bytes_0:.0f}, {bytes_1:.0f} | {enqueue_0:.0f}, {enqueue_1:.0f} "
        f"| {drain_0:.0f}, {drain_1:.0f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, nargs="*", default=[1_000, 10_000, 100_000])
    counts = parser.parse_args().tasks
    print("| tasks | bytes of one | µs to enqueue one | µs to claim and end one |\n|---|---|---|---|")
    for count in counts:
        print(measure(count), flush=True)


if __name__ == "__main__":
    main()
