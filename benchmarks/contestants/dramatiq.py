"""Dramatiq on Redis with its result middleware and its worker program."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import AsyncIO, CurrentMessage
from dramatiq.results import Results
from dramatiq.results.backends.redis import RedisBackend
from redis import Redis

from .base import TYPES, FirstAttemptFails, Offer, at_once, echo, nap, pause, processes, server_url, stop, work

THREADS = 8
"""Its default."""
PREFETCHED = 128
os.environ["dramatiq_queue_prefetch"] = str(PREFETCHED)  # noqa: SIM112 - its name; the worker program reads it
broker = RedisBroker(url=server_url())
broker.add_middleware(Results(backend=RedisBackend(url=server_url()), store_results=True, result_ttl=86_400_000))
broker.add_middleware(CurrentMessage())
if work() == "async":
    broker.add_middleware(AsyncIO())
dramatiq.set_broker(broker)


@dramatiq.actor(actor_name="fail", max_retries=1, min_backoff=1, max_backoff=1)
def fail(value: Any) -> Any:
    if not CurrentMessage.get_current_message().options.get("retries"):
        raise FirstAttemptFails
    return value


actors = {
    "echo": dramatiq.actor(actor_name="echo")(echo),
    "nap": dramatiq.actor(actor_name="nap")(nap),
    "fail": fail,
    **{f"type{number}": dramatiq.actor(actor_name=f"type{number}")(echo) for number in range(TYPES)},
}
if work() == "async":
    actors["pause"] = dramatiq.actor(actor_name="pause")(pause)


class Entry:
    workers = f"2 processes, {THREADS} threads each, {PREFETCHED} prefetched"
    offers: frozenset[Offer] = frozenset({"types", "fail", "threads", "async"})
    guarantees: Mapping[str, str] = {
        "worker killed with -9": "its task runs again after 60 s without a heartbeat",
        "may run twice": "yes",
        "late result": "accepted",
        "enqueued twice": "runs twice",
        "result kept": "1 day",
        "from": "advanced (Message Persistence), best_practices (Retriable Actors), "
        "reference (RedisBroker, dramatiq_queue_prefetch)",
    }
    _process: subprocess.Popen[bytes]

    def prepare(self) -> None:
        self._redis = Redis.from_url(server_url())

    def enqueue_one(self, value: object) -> object:
        return actors["echo"].send(value)

    def enqueue_bulk(self, values: Sequence[Any], task: str = "echo") -> None:
        for value in values:  # it has no other way
            actors[task].send(value)

    def start_workers(self) -> None:
        command = [sys.executable, "-m", "dramatiq", f"{__name__}:broker"]
        sizes = ["--processes", str(processes()), "--threads", str(at_once(THREADS))]
        self._process = subprocess.Popen([*command, *sizes], stderr=subprocess.DEVNULL)  # noqa: S603 - ours

    def stop_workers(self) -> None:
        stop(self._process)

    def completed(self, enqueued: int) -> int:
        with self._redis.pipeline() as pipeline:
            ready, delayed = pipeline.hlen("dramatiq:default.msgs").hlen("dramatiq:default.DQ.msgs").execute()
        return enqueued - int(ready) - int(delayed)

    def call_and_wait(self, value: object) -> object:
        return actors["echo"].send(value).get_result(block=True, timeout=60_000)
