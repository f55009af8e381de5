"""pyxqueue as it comes: JSON, one task at a time in each process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pyxqueue import TaskQueue, chain, chord, current_task

from .base import (
    COROUTINES,
    THREADS,
    TYPES,
    FirstAttemptFails,
    Offer,
    echo,
    nap,
    pause,
    processes,
    server_url,
    total,
    work,
)

queue = TaskQueue(server_url(), stream_key="bench")


@queue.task(name="fail", retries=1, backoff=0)
def fail(value: Any) -> Any:
    if current_task().attempt == 1:
        raise FirstAttemptFails
    return value


tasks = {
    "echo": queue.task(name="echo")(echo),
    "nap": queue.task(name="nap")(nap),
    "pause": queue.task(name="pause")(pause),
    "fail": fail,
    **{f"type{number}": queue.task(name=f"type{number}")(echo) for number in range(TYPES)},
}
add_up = queue.task(name="total")(total)


class Entry:
    workers = "2 processes, 1 task at a time"
    offers: frozenset[Offer] = frozenset({"types", "fail", "threads", "async", "flows"})
    guarantees: Mapping[str, str] = {
        "worker killed with -9": "its task runs again, at once or after its lease of 30 s",
        "may run twice": "after a crash; one end is recorded",
        "late result": "refused by the server",
        "enqueued twice": "runs once",
        "result kept": "1 day",
        "from": "docs/explanation/guarantees.md",
    }

    def prepare(self) -> None:
        queue.stores.backend.lease_ms()

    def enqueue_one(self, value: object) -> object:
        return tasks["echo"](value)

    def enqueue_bulk(self, values: Sequence[Any], task: str = "echo") -> None:
        tasks[task].map([(value,) for value in values])

    def start_workers(self) -> None:
        queue.start(
            processes(),
            threads=THREADS if work() == "threads" else None,
            concurrency=COROUTINES if work() == "async" else None,
        )

    def stop_workers(self) -> None:
        queue.shutdown()

    def completed(self, enqueued: int) -> int:
        depth = queue.stores.backend.depth()
        return enqueued - depth.ready - depth.in_flight - depth.delayed

    def call_and_wait(self, value: object) -> object:
        return tasks["echo"](value).get(timeout=60)

    def call_chain(self, value: object) -> object:
        task = tasks["echo"]
        return chain(task.of(value), task.of(), task.of())().get(timeout=60)

    def call_chord(self, values: Sequence[int]) -> object:
        return chord([tasks["echo"].of(value) for value in values], add_up.of())().get(timeout=60)
