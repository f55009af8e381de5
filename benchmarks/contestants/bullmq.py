"""BullMQ on Node.js: a program of its own calls and takes the time, others are its workers."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from redis import Redis

from .base import PROCESSES, Way, server_url, stop

PROGRAMS = Path(__file__).parent.parent / "environments" / "bullmq"
CONCURRENCY = 100


class Entry:
    workers = f"{PROCESSES} processes, {CONCURRENCY} async tasks at once"
    guarantees: Mapping[str, str] = {
        "ack": "after the run, with the result",
        "lease": "30 s, renewed; expired ones return",
        "fence": "by a lock with a token",
        "enqueue twice": "runs once with an id, while the job is kept",
        "result": "field of the job's hash, 1 day",
        "history": "last 10,000 jobs",
    }

    def prepare(self) -> None:
        self._redis = Redis.from_url(server_url())
        self._processes: list[subprocess.Popen[bytes]] = []
        self._client = subprocess.Popen(  # noqa: S603 - ours
            self._command("client.mjs"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._client.stdout is not None
        if self._client.stdout.readline() != "ready\n":
            raise SystemExit("client.mjs has not started")

    def seconds(self, way: Way, numbers: Sequence[int]) -> float:
        """Let the client do it, and return how long it took, as measured there."""
        assert self._client.stdin is not None
        assert self._client.stdout is not None
        self._client.stdin.write(f"{way} {numbers[0]} {len(numbers)}\n")
        self._client.stdin.flush()
        return float(self._client.stdout.readline())

    def enqueue_one(self, number: int) -> object:
        return self.seconds("one", [number])

    def enqueue_bulk(self, numbers: Sequence[int]) -> None:
        self.seconds("bulk", numbers)

    def start_workers(self) -> None:
        self._processes = [subprocess.Popen(self._command("worker.mjs")) for _ in range(PROCESSES)]  # noqa: S603

    def stop_workers(self) -> None:
        for process in self._processes:
            stop(process)

    def completed(self, enqueued: int) -> int:
        waiting, active = self._redis.llen("bull:bench:wait"), self._redis.llen("bull:bench:active")
        return enqueued - int(waiting) - int(active)

    def call_and_wait(self, number: int) -> object:
        self.seconds("call", [number])  # the client compares the result
        return number

    @staticmethod
    def _command(program: str) -> list[str]:
        found = urlsplit(server_url())
        return ["node", str(PROGRAMS / program), found.hostname or "", str(found.port)]
