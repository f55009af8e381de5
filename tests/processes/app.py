"""The tasks that the workers of these tests run, and what the tests know about where they run.

Bodies and observer write down what happens in a file of the test, one line each, appended in one system call: a record
that neither the store nor a killed process can take back.
"""

from __future__ import annotations

import asyncio
import ctypes
import faulthandler
import gc
import inspect
import json
import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from attrs import asdict, define, evolve, field, frozen

from pyxqueue import (
    CallConflicted,
    CancelRequested,
    Event,
    TaskExpired,
    TaskQueue,
    TaskSettled,
    TickSkipped,
    current_task,
)
from pyxqueue.client.task import Task
from pyxqueue.serializers import JSONSerializer
from pyxqueue.supervisor import silence
from pyxqueue.supervisor.duties import presence
from tests.support.tasks import task_of

VARIABLE = "TEST_SITE"
OFTEN = "TEST_ANNOUNCE_OFTEN"
"""If it is set, supervisors announce themselves so often that a test need not wait for seconds."""
SECOND_URL = "TEST_SECOND_URL"
"""The store of a second queue that the same workers serve."""
SILENCE = "TEST_SILENCE"
"""The seconds after which a process that asks the store in vain is given up, if a test does not wait for a minute."""
AHEAD = "TEST_CLOCK_AHEAD"
"""By how many ns the right clock is ahead of `time.monotonic`, for programs that have a wrong one."""


@frozen
class Site:
    """What the workers and the test have in common."""

    url: str
    stream: str
    log: str
    lease: float | None = None
    group: str = "cg"
    serializer: str = "json"
    leave_out: str = ""
    """A task that these workers do not know."""
    loop: bool = False
    """Whether the workers have the ``async def`` tasks, and with them an event loop."""
    failed_ttl: float | None = None
    max_failed: int | None = None
    max_length: int | None = None
    full_wait: float = 0

    def queue(self, loop: bool = True) -> TaskQueue:
        queue = TaskQueue(
            self.url,
            stream_key=self.stream,
            consumer_group=self.group,
            lease=self.lease,
            serializer=SlowChests() if self.serializer == "json" else self.serializer,
            observer=self.observe,
            max_result=100_000,
            failed_ttl=self.failed_ttl,
            max_failed=self.max_failed,
            max_length=self.max_length,
            full_wait=self.full_wait,
        )
        for function, options in TASKS:
            if function.__name__ != self.leave_out and (loop or not inspect.iscoroutinefunction(function)):
                queue.task(name=function.__name__, **options)(function)
        return queue

    def app(self) -> App:
        return App(self.queue())

    def second(self, url: str) -> Site:
        """Another queue, in this store or in another one."""
        return evolve(self, url=url, stream=f"{self.stream}-second")

    def environment(self) -> dict[str, str]:
        return {VARIABLE: json.dumps(asdict(self))}

    def observe(self, event: Event) -> None:
        match event:
            case TaskSettled():
                verdict = type(event.verdict).__name__
                append(self.log, "settled", event.task_id, event.attempt, os.getpid(), verdict, int(event.accepted))
            case TaskExpired():
                append(self.log, "expired", event.task_id, 0, os.getpid(), event.task_name)
            case TickSkipped():
                append(self.log, "skipped", event.schedule, event.number, os.getpid(), event.reason)
            case CallConflicted():
                append(self.log, "conflicted", event.task_id, 0, os.getpid(), event.reason)

    def lines(self) -> list[Line]:
        path = Path(self.log)
        return [Line.read(text) for text in path.read_text().splitlines()] if path.exists() else []

    def of(self, kind: str, task_id: str | None = None) -> list[Line]:
        return [line for line in self.lines() if line.kind == kind and task_id in (None, line.task_id)]


@frozen
class Line:
    """One thing that happened."""

    kind: str
    task_id: str
    attempt: int
    pid: int
    more: list[str]

    @classmethod
    def read(cls, text: str) -> Line:
        kind, task_id, attempt, pid, *more = text.split()
        return cls(kind, task_id, int(attempt), int(pid), more)


@define
class App:
    """The queue as the test's own process uses it."""

    queue: TaskQueue
    tasks: dict[str, Task[..., Any]] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.tasks = {spec.name: task_of(self.queue, spec.name) for spec in self.queue.core.registry}

    def __getitem__(self, name: str) -> Task[..., Any]:
        return self.tasks[name]


def append(path: str, *words: object) -> None:
    append_lines(path, [words])


def append_lines(path: str, lines: Iterable[Iterable[object]]) -> None:
    """Append all of them in one system call."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(fd, "".join(" ".join(map(str, words)) + "\n" for words in lines).encode())
    os.close(fd)


def now_ms() -> int:
    """The clock of this machine, which is that of its servers too, also in a program that has a wrong one."""
    ahead = os.environ.get(AHEAD)
    return (time.time_ns() if ahead is None else time.monotonic_ns() + int(ahead)) // 1_000_000


def say(kind: str, *words: object) -> None:
    """Write down what the running task does."""
    task = current_task()
    append(json.loads(os.environ[VARIABLE])["log"], kind, task.id, task.attempt, os.getpid(), *words)


def work(seconds: float, value: Any = None) -> Any:
    say("start")
    time.sleep(seconds)
    say("end")
    return value


def timed(seconds: float, value: Any = None) -> Any:
    """The work of a storm, which says when it begins and ends."""
    say("start", now_ms())
    current_task().progress(1, 2)
    time.sleep(seconds)
    say("end", now_ms())
    return value


async def awork(seconds: float, value: Any = None) -> Any:
    say("start")
    await asyncio.sleep(seconds)
    say("end")
    return value


def gate(path: str) -> str:
    """Run until a file is there."""
    say("start")
    while not os.path.exists(path):  # noqa: PTH110
        time.sleep(0.01)
    say("end")
    return "through"


def chat(text: str) -> None:
    """Print something, and keep running."""
    print(text)  # noqa: T201 - what the test reads
    say("start")
    time.sleep(1000)


def meddle() -> None:
    """Change signal handlers, streams and the like."""
    for number in (signal.SIGALRM, signal.SIGTERM):
        signal.signal(number, lambda *_: os._exit(99))
    sys.stdout = None
    say("start")


def short() -> None:
    say("start")


_kept: list[bytearray] = []


def keep(mib: int) -> None:
    """Use so many MiB of memory for good."""
    say("start")
    _kept.append(bytearray(b"x") * (mib * 2**20))


def measure(payload: str) -> int:
    say("start")
    return len(payload)


def grandchild() -> None:
    process = subprocess.Popen(["sleep", "1000"])
    say("start", process.pid)
    if current_task().headers.get("leave") != "1":
        time.sleep(1000)


def hold_gil(seconds: int) -> None:
    say("start")
    ctypes.PyDLL(None).sleep(seconds)
    say("end")


def die(how: str) -> None:
    say("start")
    match how:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "_exit":
            os._exit(3)
        case "segfault":
            ctypes.string_at(0)
        case "overflow":
            faulthandler._stack_overflow()  # type: ignore[attr-defined] # which has no types: it is there for tests
        case "files":
            os.closerange(0, 4096)
        case "memory":
            resource.setrlimit(resource.RLIMIT_AS, (0, resource.RLIM_INFINITY))
            _kept.append(bytearray(2**30))
        case "exit":
            sys.exit("bye")
        case "keyboard":
            raise KeyboardInterrupt
        case "base":
            raise Strange(how)
        case _:
            raise ValueError(how)


class Strange(BaseException):
    """An exception that programs do not usually catch."""


def hog(seconds: float) -> str:
    """Ignore the soft limit."""
    say("start")
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            time.sleep(end - time.monotonic())
        except BaseException as error:  # noqa: BLE001
            say("caught", type(error).__name__)
    return "done"


class SlowChests(JSONSerializer):
    """A `Chest` takes a minute to read, in Python or within one call of C, and to write."""

    def encode_custom(self, value: Any) -> Any:
        if not isinstance(value, Chest):
            return NotImplemented
        if value.slow_to == "write":
            time.sleep(60)
        return "chest", value.slow_to

    def decode_custom(self, tag: str, data: Any) -> Any:
        end = time.monotonic() + 60
        while data == "read in Python" and time.monotonic() < end:
            pass
        if data == "read in C":
            ctypes.PyDLL(None).sleep(60)
        return Chest(data)


@frozen
class Chest:
    """An argument, or a result."""

    slow_to: str


def open_chest(chest: Any, made: str) -> Any:  # no class in it: that would be registered, and read without the hook
    return Chest(made) if made else chest


def hang(how: str) -> None:
    """Never return, whatever signal comes."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    say("start")
    match how:
        case "C":
            ctypes.PyDLL(None).sleep(60)
        case "lock":
            lock = threading.Lock()
            lock.acquire()
            lock.acquire()
        case "regex":
            re.match("(a+)+$", "a" * 60 + "b")


async def ahang() -> None:
    """Block the event loop."""
    say("start")
    ctypes.CDLL(None).sleep(60)


def limited(seconds: float) -> None:
    say("start")
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.01)


async def alimited(seconds: float) -> None:
    say("start")
    await asyncio.sleep(seconds)


def patient() -> None:
    """Run until it is cancelled, then take a while to clean up."""
    say("start")
    try:
        while True:
            time.sleep(0.01)
    except CancelRequested:
        time.sleep(0.7)
        say("cleaned")
        raise


def stubborn() -> None:
    """Swallow every interruption, and go on."""
    say("start")
    while True:
        try:
            time.sleep(60)
        except BaseException as error:  # noqa: BLE001
            say("caught", type(error).__name__)


async def astubborn() -> None:
    say("start")
    while True:
        try:
            await asyncio.sleep(60)
        except BaseException as error:  # noqa: BLE001
            say("caught", type(error).__name__)


def careless() -> None:
    """Swallow every `Exception`, as ordinary code does."""
    say("start")
    while True:
        try:
            time.sleep(60)
        except Exception as error:  # noqa: BLE001
            say("caught", type(error).__name__)


async def apatient() -> None:
    say("start")
    try:
        await asyncio.sleep(1000)
    except asyncio.CancelledError:
        await asyncio.sleep(0.7)
        say("cleaned")
        raise


def big(size: int) -> bytes:
    return b"x" * size


def uncollected() -> int:
    return gc.get_freeze_count()


def unserializable() -> Any:
    return threading.Lock()


class BadPickle:
    def __reduce__(self) -> Any:
        raise RuntimeError("it does not want to travel")


def bad_pickle() -> Any:
    return BadPickle()


def counting(times: int, path: str) -> None:
    """Report progress in a tight loop, twice around a gate."""
    say("start")
    task = current_task()
    for step in range(times):
        task.progress(step, times)
    while not os.path.exists(path):  # noqa: PTH110
        time.sleep(0.01)
    for step in range(times + 1):
        task.progress(step, times, "last")


def fail_first(path: str) -> str:
    """Fail the first time, having made progress; the second run makes none until the gate opens."""
    say("start")
    if current_task().attempt == 1:
        current_task().progress(7, 10)
        raise ValueError("the first time")
    while not os.path.exists(path):  # noqa: PTH110
        time.sleep(0.01)
    return "done"


def strange_progress(kind: str) -> str:
    values: dict[str, Any] = {"nan": float("nan"), "object": object(), "huge": 10**400, "text": "\ud800"}
    if kind == "text":
        current_task().progress(1, 2, values[kind])
    else:
        current_task().progress(values[kind])
    return "done"


def strange_retry(kind: str) -> None:
    from pyxqueue import RetryLater  # noqa: PLC0415

    values: dict[str, Any] = {"nan": float("nan"), "inf": float("inf"), "text": "soon", "negative": -5.0}
    if current_task().attempt == 1:
        raise RetryLater(values[kind])


def due_check(due_ms: int) -> int:
    say("start", due_ms)
    return due_ms


TASKS: list[tuple[Any, dict[str, Any]]] = [
    (work, {"max_crashes": 100}),
    (timed, {"max_crashes": 1000}),
    (awork, {}),
    (gate, {}),
    (chat, {}),
    (meddle, {}),
    (short, {}),
    (keep, {}),
    (measure, {}),
    (grandchild, {}),
    (hold_gil, {}),
    (die, {"max_crashes": 1}),
    (hog, {"timeout": 0.2, "hard_timeout": 1.2, "retries": 1, "backoff": 0.0}),
    (hang, {"hard_timeout": 1.0, "retries": 0}),
    (ahang, {"hard_timeout": 1.0, "retries": 0}),
    (open_chest, {"hard_timeout": 1.0, "retries": 0}),
    (limited, {"timeout": 0.3}),
    (alimited, {"timeout": 0.3}),
    (patient, {}),
    (apatient, {}),
    (stubborn, {}),
    (astubborn, {}),
    (careless, {"max_crashes": 0}),
    (uncollected, {}),
    (big, {}),
    (unserializable, {}),
    (bad_pickle, {}),
    (counting, {}),
    (fail_first, {"retries": 1, "backoff": 0.0}),
    (strange_progress, {}),
    (strange_retry, {"retries": 1}),
    (due_check, {}),
]


def site_of_environment() -> Site:
    if os.environ.get(OFTEN):
        presence.EVERY, presence.IDLE_EVERY, presence.KEPT = 0.2, 0.2, 300
    silence.SILENCE = float(os.environ.get(SILENCE, silence.SILENCE))
    return Site(**json.loads(os.environ[VARIABLE]))
