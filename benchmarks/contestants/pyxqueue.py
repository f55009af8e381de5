"""pyxqueue as it comes: JSON, one task at a time in each process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pyxqueue import TaskQueue

from .base import PROCESSES, server_url

queue = TaskQueue(server_url(), stream_key="bench")


@queue.task
def echo(number: int) -> int:
    return number


class Entry:
    workers = f"{PROCESSES} processes, 1 task at a time"
    guarantees: Mapping[str, str] = {
        "ack": "after the run, with the result",
        "lease": "30 s, renewed; expired ones return",
        "fence": "yes, on the server",
        "enqueue twice": "runs once",
        "result": "hash, 1 day",
        "history": "last 10,000 messages",
    }

    def prepare(self) -> None:
        queue.stores.backend.lease_ms()

    def enqueue_one(self, number: int) -> object:
        return echo(number)

    def enqueue_bulk(self, numbers: Sequence[int]) -> None:
        echo.map([(number,) for number in numbers])

    def start_workers(self) -> None:
        queue.start(PROCESSES)

    def stop_workers(self) -> None:
        queue.shutdown()

    def completed(self, enqueued: int) -> int:
        depth = queue.stores.backend.depth()
        return enqueued - depth.ready - depth.in_flight - depth.delayed

    def call_and_wait(self, number: int) -> object:
        return echo(number).get(timeout=60)
