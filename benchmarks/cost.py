"""What one task costs on Redis in CPU: of the client and of the server, step by step.

    python benchmarks/cost.py [--tasks 20000] [--rounds 4]

It starts a private server. Each number is the least of all rounds, in microseconds a task: other work on the machine
makes a round dearer, never cheaper. To compare two versions of the package, run it in turns with either in PYTHONPATH.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from redis import Redis

from pyxqueue import TaskQueue
from pyxqueue.backends.redis import ConnectionConfig, RedisBackend
from pyxqueue.model.message import Delivery, Done, Record, Settlement, TaskStatus
from pyxqueue.protocols import StoreOptions
from pyxqueue.testing.servers import Server

T = TypeVar("T")
BATCH = 256


class Meter:
    """Adds up the CPU time of this process and of the server's main thread, by step."""

    def __init__(self, server: Redis) -> None:
        self.server = server
        self.used: dict[str, tuple[float, float]] = {}

    def measure(self, step: str, action: Callable[[], T]) -> T:
        client, server = time.process_time(), self._server()
        value = action()
        before = self.used.get(step, (0.0, 0.0))
        self.used[step] = before[0] + time.process_time() - client, before[1] + self._server() - server
        return value

    def _server(self) -> float:
        found = self.server.info("cpu")
        return float(found["used_cpu_user_main_thread"]) + float(found["used_cpu_sys_main_thread"])


def one_round(queue: TaskQueue, backend: RedisBackend, meter: Meter, tasks: int) -> None:
    """Enqueue, claim and settle so many tasks."""
    echo = queue.task(name="echo")(lambda number: number)

    def one_by_one() -> None:
        for number in range(tasks):
            echo(number)

    meter.measure("enqueue, one by one", one_by_one)
    meter.measure("enqueue, in bulk", lambda: echo.map([(number,) for number in range(tasks)]))
    while deliveries := meter.measure("claim", lambda: backend.claim("worker", BATCH, 0)):
        settlements = [Settlement(one.receipt, Done(), record(one)) for one in deliveries]
        accepted = meter.measure("settle", lambda: backend.settle(settlements))  # noqa: B023 - runs before the next
        assert all(accepted)


def record(delivery: Delivery) -> Record:
    return Record(delivery.message.id, TaskStatus.SUCCESS, b"1", worker="worker", fence=delivery.fence)


def table(rounds: Sequence[dict[str, tuple[float, float]]], tasks: int) -> list[str]:
    lines = ["| step | client, µs | server, µs |", "|---|---|---|"]
    for step in rounds[0]:
        count = 2 * tasks if step in ("claim", "settle") else tasks
        client, server = (min(one[step][side] for one in rounds) / count * 1e6 for side in (0, 1))
        lines.append(f"| {step} | {client:.1f} | {server:.1f} |")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=4)
    options = parser.parse_args()
    rounds = []
    with Server() as server, Redis.from_url(server.url) as client:
        print(f"server: {server.kind}; the least of {options.rounds} rounds of {options.tasks:,} tasks")
        for number in range(options.rounds):
            name = f"cost{number}"
            queue = TaskQueue(server.url, stream_key=name, eager=False)
            backend = RedisBackend(ConnectionConfig.from_url(server.url), StoreOptions(name))
            backend.lease_ms()  # connects, and registers the group
            meter = Meter(client)
            one_round(queue, backend, meter, options.tasks)
            rounds.append(meter.used)
            backend.close()
            queue.close()
    print("\n".join(table(rounds, options.tasks)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
