"""What classes of priority cost: the time of a claim of one message and of 256, with one class in use and with two.

``python benchmarks/priorities.py [URL]``, of an empty database on a server that nothing else uses.
"""

from __future__ import annotations

import sys
import time
from statistics import median
from uuid import uuid4

from pyxqueue.backends.redis import ConnectionConfig, RedisBackend
from pyxqueue.model.message import Message
from pyxqueue.protocols import StoreOptions

ROUNDS = 40


def claim_us(url: str, limit: int, priorities: tuple[int, ...]) -> float:
    """The median of the microseconds of a claim while enough messages of each priority are ready."""
    backend = RedisBackend(ConnectionConfig.from_url(url), StoreOptions(f"priorities-{uuid4().hex}"))
    count = limit * ROUNDS
    for start in range(0, count, 256):
        size = min(256, count - start)
        for priority in priorities:
            ids = (f"{priority}.{number}" for number in range(start, start + size))
            backend.enqueue([Message(task_id, "job", b"[[1],{}]", priority=priority) for task_id in ids])
    backend.claim("w", 1, 0)
    times = []
    for _ in range(ROUNDS - 1):
        begun = time.perf_counter()
        found = backend.claim("w", limit, 0)
        times.append(time.perf_counter() - begun)
        assert len(found) == limit
    backend.remove_group("cg")
    backend.close()
    return median(times) * 1e6


def main(url: str) -> None:
    for limit in (1, 16, 256):
        plain, two = claim_us(url, limit, (0,)), claim_us(url, limit, (60, 0))
        print(f"claim of {limit:3}: {plain:7,.0f} µs, with two classes {two:7,.0f} µs")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "redis://127.0.0.1:6379/15")
