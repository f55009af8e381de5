"""taskiq on Redis Streams, with a Redis result backend, its worker program and uvloop."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import uvloop
from redis import Redis
from taskiq import Context, SimpleRetryMiddleware, TaskiqDepends
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

from .base import COROUTINES, THREADS, TYPES, FirstAttemptFails, Offer, echo, nap, pause, processes, server_url, stop

STREAM = "bench"
# Reading from "0", for it would otherwise skip what was enqueued before its first worker.
broker = RedisStreamBroker(server_url(), queue_name=STREAM, consumer_id="0", unacknowledged_lock_timeout=60)
broker = broker.with_result_backend(RedisAsyncResultBackend(server_url(), result_ex_time=86_400, prefix_str="result"))
broker = broker.with_middlewares(SimpleRetryMiddleware())
_AT_ONCE = 500
"""Calls that are on their way to the server at the same time."""


async def echo_async(value: Any) -> Any:
    return echo(value)


@broker.task(task_name="fail", retry_on_error=True, max_retries=2)  # it counts the first attempt too
async def fail(value: Any, context: Context = TaskiqDepends()) -> Any:  # noqa: B008 - its way
    if "_retries" not in context.message.labels:
        raise FirstAttemptFails
    return value


tasks = {
    "echo": broker.task(task_name="echo")(echo_async),
    "nap": broker.task(task_name="nap")(nap),
    "pause": broker.task(task_name="pause")(pause),
    "fail": fail,
    **{f"type{number}": broker.task(task_name=f"type{number}")(echo_async) for number in range(TYPES)},
}


class Entry:
    workers = f"2 processes, {COROUTINES} async tasks at once"
    offers: frozenset[Offer] = frozenset({"types", "fail", "threads", "async"})
    guarantees: Mapping[str, str] = {
        "worker killed with -9": "its task runs again after 600 s",
        "may run twice": "yes, also after 600 s of running",
        "late result": "accepted",
        "enqueued twice": "runs twice",
        "result kept": "1 day",
        "from": "guide/cli (Acknowledgements, Type casts), guide/architecture-overview (uvloop), "
        "README of taskiq-redis (Stream)",
    }
    _process: subprocess.Popen[bytes]

    def prepare(self) -> None:
        self._loop = uvloop.new_event_loop()
        self._loop.run_until_complete(broker.startup())
        self._redis = Redis.from_url(server_url())

    def enqueue_one(self, value: object) -> object:
        return self._loop.run_until_complete(tasks["echo"].kiq(value))

    def enqueue_bulk(self, values: Sequence[Any], task: str = "echo") -> None:
        async def all_of_them() -> None:
            for start in range(0, len(values), _AT_ONCE):
                await asyncio.gather(*(tasks[task].kiq(value) for value in values[start : start + _AT_ONCE]))

        self._loop.run_until_complete(all_of_them())

    def start_workers(self) -> None:
        command = [sys.executable, "-m", "taskiq", "worker", f"{__name__}:broker", "--log-level", "ERROR"]
        sizes = ["--workers", str(processes()), "--max-threadpool-threads", str(THREADS)]
        options = ["--max-async-tasks", str(COROUTINES), "--no-parse"]
        self._process = subprocess.Popen([*command, *sizes, *options], stderr=subprocess.DEVNULL)  # noqa: S603 - ours

    def stop_workers(self) -> None:
        stop(self._process)

    def completed(self, enqueued: int) -> int:  # noqa: ARG002 - it can count what is done
        # All but the stream, and the lock of those that look for lost messages while they hold it.
        return int(self._redis.dbsize()) - 1 - int(self._redis.exists(f"autoclaim:taskiq:{STREAM}"))

    def call_and_wait(self, value: object) -> object:
        async def one() -> object:
            task = await tasks["echo"].kiq(value)
            # It has only polling; its default is every 0.2 s, which would be all that is measured.
            return (await task.wait_result(check_interval=0.0005, timeout=60)).return_value

        return self._loop.run_until_complete(one())
