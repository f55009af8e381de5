"""What every contestant must be able to do and say about itself, and the tasks, which are the same for all of them."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

import psutil

URL_VARIABLE = "BENCH_URL"
"""Where the server is; worker processes read it too."""
WORK_VARIABLE = "BENCH_WORK"
"""What the workers are for: inline, latency, threads, async or flows."""
JOURNAL_VARIABLE = "BENCH_JOURNAL"
"""The journal mode of the SQLite files."""
ANSWER = "measured: "
"""Stands in front of the line with the numbers; workers write to the same place."""
TYPES = 20
THREADS, NAP_SECONDS = 16, 0.001
COROUTINES, PAUSE_SECONDS = 100, 0.01

Way: TypeAlias = Literal["one", "bulk", "call", "chain", "chord"]
Offer: TypeAlias = Literal["types", "fail", "threads", "async", "flows"]
"""Work that not every contestant can do."""


class Contestant(Protocol):
    """One task queue. Its tasks are `echo`, the functions below, `fail`, and `type0` to `type19`, which are as `echo`.

    `fail` raises on its first attempt and returns its value on the second one, which follows without a pause.
    """

    workers: str
    """What its worker processes are."""
    offers: frozenset[Offer]
    guarantees: Mapping[str, str]

    def prepare(self) -> None:
        """Be ready to enqueue, on a server that is empty."""
        ...

    def enqueue_one(self, value: object) -> object:
        """Call `echo`."""
        ...

    def enqueue_bulk(self, values: Sequence[Any], task: str = "echo") -> None:
        """The fastest way it has to enqueue many calls of a task."""
        ...

    def start_workers(self) -> None: ...

    def stop_workers(self) -> None: ...

    def completed(self, enqueued: int) -> int:
        """How many of the `enqueued` calls the store says are done, by one cheap command or two."""
        ...

    def call_and_wait(self, value: object) -> object:
        """Call `echo` and return its result."""
        ...


@runtime_checkable
class RunsFlows(Protocol):
    """A contestant that offers flows. They are made of `echo` and of a task that adds up."""

    def call_chain(self, value: object) -> object:
        """Call a chain of three, of which each task returns what the one before has returned, and return its result."""
        ...

    def call_chord(self, values: Sequence[int]) -> object:
        """Call `echo` with each of the values, and return what the task returns that adds up their results."""
        ...


@runtime_checkable
class TimesItself(Protocol):
    """A contestant whose calls are made by a program in another language, which takes the time itself."""

    def seconds(self, way: Way, values: Sequence[Any]) -> float:
        """Enqueue one by one or in bulk, or call a task or a flow and wait for its result; return how long it took."""
        ...


def echo(value: Any) -> Any:
    return value


def total(values: Iterable[int]) -> int:
    return sum(values)


def nap(value: Any) -> Any:
    """Wait in a thread."""
    time.sleep(NAP_SECONDS)
    return value


async def pause(value: Any) -> Any:
    """Wait in a coroutine."""
    await asyncio.sleep(PAUSE_SECONDS)
    return value


class FirstAttemptFails(Exception):  # noqa: N818 - it says what happens
    """What the task `fail` raises."""


def server_url() -> str:
    return os.environ[URL_VARIABLE]


def work() -> str:
    return os.environ.get(WORK_VARIABLE, "inline")


def processes() -> int:
    """Two; one where a single process shows how many tasks can wait in it at once."""
    return 1 if work() in ("threads", "async") else 2


def at_once(inline: int) -> int:
    """How many tasks a worker that runs several has to run at once; for no-ops, as many as given."""
    return {"threads": THREADS, "async": COROUTINES}.get(work(), inline)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Kill a worker program and its children: the next measurement starts with an empty store."""
    family = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    for one in family:
        with suppress(psutil.NoSuchProcess):
            one.kill()
