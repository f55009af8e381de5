"""streaQ on Redis Streams with its worker program, uvloop and the optimized mode of its client."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import coredis
import uvloop
from redis import Redis
from streaq import StreaqRetry, Worker

from .base import TYPES, Offer, at_once, echo, nap, pause, processes, server_url, stop

CONCURRENCY = 16
"""Its default."""
OPTIONS: dict[str, Any] = {"ttl": 86_400, "silent": True}
BATCH = 500
coredis.Config.optimized = True
worker: Worker[None] = Worker(
    redis_url=server_url(),
    concurrency=at_once(CONCURRENCY),
    queue_name="bench",
    anyio_kwargs={"use_uvloop": True},
)


async def echo_async(value: Any) -> Any:
    return echo(value)


@worker.task(name="fail", **OPTIONS)
async def fail(value: Any) -> Any:
    if fail.context.tries == 1:
        raise StreaqRetry(delay=0)
    return value


tasks = {
    "echo": worker.task(name="echo", **OPTIONS)(echo_async),
    "nap": worker.task(name="nap", **OPTIONS)(nap),
    "pause": worker.task(name="pause", **OPTIONS)(pause),
    "fail": fail,
    **{f"type{number}": worker.task(name=f"type{number}", **OPTIONS)(echo_async) for number in range(TYPES)},
}


class Entry:
    workers = f"2 processes, {CONCURRENCY} async tasks at once"
    offers: frozenset[Offer] = frozenset({"types", "fail", "threads", "async"})
    guarantees: Mapping[str, str] = {
        "worker killed with -9": "its task runs again after 60 s",
        "may run twice": "yes",
        "late result": "accepted",
        "enqueued twice": "runs once with an id",
        "result kept": "1 day",
        "from": "task (Task execution), worker (Other configuration options, Worker optimization)",
    }
    _process: subprocess.Popen[bytes]

    def prepare(self) -> None:
        self._loop = uvloop.new_event_loop()
        asyncio.set_event_loop(self._loop)
        # It is entered once and left with the process: its connections belong to one event loop and one task of it.
        self._loop.run_until_complete(worker.__aenter__())
        self._redis = Redis.from_url(server_url())

    def enqueue_one(self, value: object) -> object:
        async def one() -> object:
            return await tasks["echo"].enqueue(value)

        return self._loop.run_until_complete(one())

    def enqueue_bulk(self, values: Sequence[Any], task: str = "echo") -> None:
        for start in range(0, len(values), BATCH):
            calls = [tasks[task].enqueue(value) for value in values[start : start + BATCH]]
            self._loop.run_until_complete(worker.enqueue_many(calls))

    def start_workers(self) -> None:
        command = [sys.executable, "-m", "streaq", "run", f"{__name__}:worker", "--workers", str(processes())]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603

    def stop_workers(self) -> None:
        stop(self._process)

    def completed(self, enqueued: int) -> int:  # noqa: ARG002 - it can count what is done
        return int(self._redis.zcard("streaq:bench:index:results"))

    def call_and_wait(self, value: object) -> object:
        async def one() -> object:
            task = await tasks["echo"].enqueue(value)
            # The result is pushed; most of the time goes by while its client ends the subscription, 0.1 s.
            return (await task.result(60)).result

        return self._loop.run_until_complete(one())
