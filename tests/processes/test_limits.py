"""Worker trees that are killed while they run tasks with limits: never more at once than a limit says, none lost."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import pytest

from pyxqueue import TaskQueue
from pyxqueue.model.message import FLOW_VERSION, Message
from pyxqueue.protocols import limits_of
from pyxqueue.testing.contract.steps import tokens
from tests.conftest import Servers
from tests.support.trees import Tree
from tests.support.until import until

from .app import Line, append

ALL, LOG, NUMBERS, STREAM, URL = 8, "TEST_LOG", (1, 2, 3), "TEST_STREAM", "TEST_URL"
LEASE = 30
"""Seconds: longer than a busy machine may keep a process from running, which would hold its place no longer."""
TREES = 3
KEYS = 5


def lines(log: Path) -> list[Line]:
    return [Line.read(text) for text in log.read_text().splitlines()] if log.exists() else []


def running(found: list[Line]) -> tuple[dict[str, tuple[int, str]], Counter[str]]:
    """What runs at the end of the log, by task: the process and the gate. And the most that ran at once for each gate.

    A killed process ran its tasks until just before it was killed.
    """
    now: dict[str, tuple[int, str]] = {}
    dead: set[int] = set()
    most: Counter[str] = Counter()
    for line in found:
        if line.kind == "start" and line.pid in dead:
            continue  # it began between the note of the kill and the kill
        if line.kind == "start":
            now[line.task_id] = line.pid, line.more[0]
        elif line.kind == "end":
            now.pop(line.task_id, None)
        else:
            dead.add(line.pid)
            now = {task_id: one for task_id, one in now.items() if one[0] not in dead}
        count = Counter(gate for _, gate in now.values())
        most |= count
        most["all"] = max(most["all"], count.total())
    return now, most


def enqueue(queue: TaskQueue, count: int) -> list[str]:
    """Calls of three tasks with limits of one to three for each of some keys."""
    messages = [
        Message(
            f"t{number}",
            f"limited{limit}",
            f'[["{limit}-{number % KEYS}",{number}],{{}}]'.encode(),
            gates=("all/", f"limited{limit}/{limit}-{number % KEYS}"),
            v=FLOW_VERSION,
        )
        for number in range(count)
        for limit in [NUMBERS[number % len(NUMBERS)]]
    ]
    assert all(queue.stores.backend.enqueue(messages))
    return [message.id for message in messages]


def storm(url: str, stream: str, folder: Path, count: int, seed: int) -> int:
    """Run tasks in trees of which a busy process is killed every 300 ms. Returns how many were killed."""
    log = folder / "log"
    variables: Mapping[str, str] = {URL: url, STREAM: stream, LOG: str(log)}
    chance = random.Random(seed)
    with ExitStack() as stack, closing(TaskQueue(url, stream_key=stream, lease=LEASE)) as queue:
        trees = [
            stack.enter_context(
                Tree("tests.processes.limited", variables, folder / f"tree-{number}.log", "-p", "2", "-t", "3")
            )
            for number in range(TREES)
        ]
        until(lambda: len(queue.limits.list()) == 4, "the workers have declared their limits")
        ids = enqueue(queue, count)
        killed: set[int] = set()
        next_kill = 0.0

        def over() -> bool:
            nonlocal next_kill
            now = time.monotonic()
            # Not without end: what keeps dying is replaced ever more slowly.
            if now >= next_kill and len(killed) < count / 20:
                busy = {pid for pid, _ in running(lines(log))[0].values()} - killed
                if busy:
                    next_kill = now + 0.3
                    victim = chance.choice(sorted(busy))
                    append(str(log), "killed", "-", 0, victim)
                    with suppress(ProcessLookupError):
                        os.kill(victim, signal.SIGKILL)
                    killed.add(victim)
            depth = queue.stores.backend.depth()
            return depth.ready + depth.in_flight + depth.delayed + depth.blocked == 0

        until(over, "everything is done", 60 + count / 10)
        assert [tree.stop() for tree in trees] == [0] * TREES
        _, most = running(lines(log))
        limits = {"all": ALL, **{f"{limit}-{key}": limit for limit in NUMBERS for key in range(KEYS)}}
        assert {gate: number for gate, number in most.items() if number > limits[gate]} == {}
        assert sum(most[gate] == limits[gate] for gate in most) >= len(NUMBERS), f"the limits were not reached: {most}"
        ended = [info for info in queue.stores.backend.show(ids) if info is not None and info.status.ended]
        assert len(ended) == count
        assert (found := limits_of(queue.stores.backend)) is not None
        assert tokens(found) == {}
        return len(killed)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("store", ["redis", "sqlite"])
def test_never_more_at_once(servers: Servers, stream_key: str, tmp_path: Path, store: str) -> None:
    """Three hundred tasks, with limits of one to three for each of five keys, and one for all."""
    url = servers("valkey").url if store == "redis" else f"sqlite:///{tmp_path}/queue.db"
    assert storm(url, stream_key, tmp_path, count=300, seed=7) >= 3


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("store", ["redis", "sqlite"])
def test_never_more_at_once_for_long(servers: Servers, stream_key: str, tmp_path: Path, store: str, seed: int) -> None:
    """Two thousand tasks."""
    url = servers("valkey").url if store == "redis" else f"sqlite:///{tmp_path}/queue.db"
    assert storm(url, stream_key, tmp_path, count=2_000, seed=seed) >= 20
