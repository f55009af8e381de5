"""What priority classes cost in Redis: the server's time for a claim of 1, 16 and 256 messages, with class 0 alone
and with two classes in which enough messages are ready.

``python benchmarks/priorities.py [URL]``, of an empty database on a server that nothing else uses.
"""

from __future__ import annotations

import sys
from uuid import uuid4

import redis

from pyxqueue.backends.redis import ConnectionConfig, RedisBackend
from pyxqueue.model.message import Message
from pyxqueue.protocols import StoreOptions

ROUNDS = 40


def claim_us(url: str, limit: int, priorities: tuple[int, ...]) -> float:
    """The mean of the microseconds that the server spends on a claim."""
    backend = RedisBackend(ConnectionConfig.from_url(url), StoreOptions(f"priorities-{uuid4().hex}"))
    count = limit * ROUNDS
    for start in range(0, count, 256):
        numbers = range(start, min(start + 256, count))
        for priority in priorities:
            backend.enqueue([Message(f"{priority}.{one}", "job", b"[[1],{}]", priority=priority) for one in numbers])
    backend.claim("w", 1, 0)
    server = redis.Redis.from_url(url)
    server.config_resetstat()
    for _ in range(ROUNDS - 1):
        assert len(backend.claim("w", limit, 0)) == limit
    stats = server.info("commandstats")
    claims = stats.get("cmdstat_evalsha", stats["cmdstat_xreadgroup"])
    assert claims["calls"] == ROUNDS - 1
    backend.remove_group("cg")
    backend.close()
    return float(claims["usec_per_call"])


def main(url: str) -> None:
    for limit in (1, 16, 256):
        plain, two = claim_us(url, limit, (0,)), claim_us(url, limit, (60, 0))
        print(f"claim of {limit:3}: {plain:7,.0f} µs, with two classes {two:7,.0f} µs")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "redis://127.0.0.1:6379/15")
