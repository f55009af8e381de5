"""Worker trees that are killed while they run tasks of steps: no stored step runs again, and each task ends."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import pytest

from pyxqueue import EventStatus, TaskQueue
from tests.conftest import Servers
from tests.support.seeds import chance_of, seeds_of
from tests.support.trees import Tree
from tests.support.until import until

from .app import Line

LOG, STREAM, URL = "TEST_LOG", "TEST_STREAM", "TEST_URL"
TREES = 2


def order(_steps: int) -> list[object]:
    """The workers have the task of this name."""
    raise NotImplementedError


def storm(url: str, folder: Path, *, stream: str, tasks: int, steps: int, seed: int, every: float) -> int:
    """Run tasks in trees of which a busy process is killed every so many seconds. Returns how many were killed."""
    log, chance = folder / "log", chance_of(seed)
    variables: Mapping[str, str] = {URL: url, STREAM: stream, LOG: str(log)}
    with ExitStack() as stack, closing(TaskQueue(url, stream_key=stream, lease=2)) as queue:
        trees = [
            stack.enter_context(
                Tree("tests.processes.stepping", variables, folder / f"tree-{number}.log", "-p", "2", "-t", "2")
            )
            for number in range(TREES)
        ]
        until(lambda: len(queue.stores.backend.consumers()) >= 2 * TREES, "the workers of all trees serve the queue")
        handles = [queue.task(name="order")(order)(steps) for _ in range(tasks)]
        late = set(handles[::2])
        for handle in handles:
            if handle not in late:
                assert queue.send_event(handle, "approved", handle.task_id) is EventStatus.STORED
        killed: set[int] = set()
        next_kill = 0.0

        def over() -> bool:
            nonlocal next_kill
            found, now = lines(log), time.monotonic()
            if now >= next_kill and len(killed) < tasks:
                started = [line.pid for line in found[-4:] if line.pid not in killed]
                if started:
                    next_kill = now + every
                    victim = chance.choice(started)
                    with suppress(ProcessLookupError):
                        os.kill(victim, signal.SIGKILL)
                    killed.add(victim)
            gathered = {line.task_id for line in found if line.kind == "gathered"}
            for handle in list(late):
                if handle.task_id in gathered and queue.send_event(handle, "approved", handle.task_id):
                    late.discard(handle)
            depth = queue.stores.backend.depth()
            return depth.waiting + depth.in_flight == 0

        until(over, "all tasks have ended", 60 + 5 * tasks)
        assert [tree.stop() for tree in trees] == [0] * TREES
        for handle in handles:
            assert handle.get(timeout=0) == [*range(steps), 3, handle.task_id]
            kept = queue.stores.backend.load_steps(handle.task_id)  # type: ignore[attr-defined] # each store has it
            assert (kept.steps, kept.events) == ({}, {})
    check(lines(log), tasks, steps, len(killed))
    return len(killed)


def check(found: list[Line], tasks: int, steps: int, kills: int) -> None:
    """No step begins once the task has gone on behind it; one that was not stored begins once more for each kill."""
    begun: Counter[tuple[str, str]] = Counter()
    stored: set[tuple[str, str]] = set()
    for line in found:
        step = line.task_id, line.more[0]
        if line.kind == "stored":
            stored.add(step)
        elif line.kind == "begin":
            assert step not in stored, f"{step} was stored, and ran again"
            begun[step] += 1
        elif line.kind == "part":
            begun[line.task_id, f"part {line.more[0]}"] += 1
    assert len(begun) == tasks * (steps + 3)
    assert max(begun.values()) <= 1 + kills
    assert sum(begun.values()) <= len(begun) + 4 * kills  # each process that was killed ran at most two tasks


def lines(log: Path) -> list[Line]:
    return [Line.read(text) for text in log.read_text().splitlines()] if log.exists() else []


@pytest.mark.timeout(180)
@pytest.mark.parametrize("store", ["redis", "sqlite"])
def test_tasks_resume(servers: Servers, stream_key: str, tmp_path: Path, store: str) -> None:
    """Twelve tasks of six steps, a sleep, a gather and an event."""
    url = servers("valkey").url if store == "redis" else f"sqlite:///{tmp_path}/queue.db"
    assert storm(url, tmp_path, stream=stream_key, tasks=12, steps=6, seed=3, every=0.1) >= 2


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", seeds_of(range(2)))
@pytest.mark.parametrize("store", ["redis", "sqlite"])
def test_tasks_resume_for_long(servers: Servers, stream_key: str, tmp_path: Path, store: str, seed: int) -> None:
    """Two hundred tasks of ten steps."""
    url = servers("valkey").url if store == "redis" else f"sqlite:///{tmp_path}/queue.db"
    assert storm(url, tmp_path, stream=stream_key, tasks=200, steps=10, seed=seed, every=0.3) >= 50
