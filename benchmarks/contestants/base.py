"""What every contestant must be able to do, and say about itself."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Literal, Protocol, TypeAlias, runtime_checkable

import psutil

URL_VARIABLE = "BENCH_URL"
"""Where the server is; worker processes read it too."""
PUSHED_VARIABLE = "BENCH_PUSHED"
"""Set while latency is measured: a contestant that can push results does so then, and only then."""
PROCESSES = 2
ANSWER = "measured: "
"""Stands in front of the line with the numbers; workers write to the same place."""
STOP_SECONDS = 3.0


Way: TypeAlias = Literal["one", "bulk", "call"]


class Contestant(Protocol):
    """One task queue. The task is the same everywhere: it takes a number and returns it."""

    workers: str
    """What its `PROCESSES` worker processes are."""
    guarantees: Mapping[str, str]

    def prepare(self) -> None:
        """Be ready to enqueue, on a server that is empty."""
        ...

    def enqueue_one(self, number: int) -> object: ...

    def enqueue_bulk(self, numbers: Sequence[int]) -> None:
        """The fastest way it has to enqueue many calls."""
        ...

    def start_workers(self) -> None: ...

    def stop_workers(self) -> None: ...

    def completed(self, enqueued: int) -> int:
        """How many of the `enqueued` calls the store says are done, by one cheap command."""
        ...

    def call_and_wait(self, number: int) -> object:
        """Enqueue one call and return its result."""
        ...


@runtime_checkable
class TimesItself(Protocol):
    """A contestant whose calls are made by a program in another language, which takes the time itself."""

    def seconds(self, way: Way, numbers: Sequence[int]) -> float:
        """Enqueue one by one or in bulk, or enqueue one call and wait for its result; return how long it took."""
        ...


def server_url() -> str:
    return os.environ[URL_VARIABLE]


def wants_push() -> bool:
    return PUSHED_VARIABLE in os.environ


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a worker program as an operator would, and then whatever of it is left."""
    family = psutil.Process(process.pid).children(recursive=True)
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for one in family:
        with suppress(psutil.NoSuchProcess):
            one.kill()
