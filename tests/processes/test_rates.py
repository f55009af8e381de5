"""Worker trees that are killed while they run tasks with rates: no window has more begins than a rate, none starves."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import pytest

from pyxqueue import TaskQueue, TaskStatus
from pyxqueue.model.rates import Pace
from pyxqueue.protocols import limits_of
from pyxqueue.testing.contract.steps import tokens
from tests.conftest import Servers
from tests.support.seeds import chance_of, seeds_of
from tests.support.trees import Tree
from tests.support.until import until

from .app import Line
from .rated import ALL, EACH, LEASE, LOG, STREAM, URL, make_tasks

TREES = 3
KEYS = 3
ADMITTED = 15
PACES = {"all": ALL.pace, **{f"rated{burst}": rate.pace for burst, rate in EACH.items()}}


def lines(log: Path) -> list[Line]:
    return [Line.read(text) for text in log.read_text().splitlines()] if log.exists() else []


def begins(found: Sequence[Line]) -> dict[str, list[tuple[int, int]]]:
    """By gate, between which two moments tasks began, in ns, in their order."""
    moments: dict[str, list[tuple[int, int]]] = {}
    for line in found:
        if line.kind == "begin":
            before, after, *gates = line.more
            for gate in gates:
                moments.setdefault(gate, []).append((int(before), int(after)))
    return {gate: sorted(one) for gate, one in moments.items()}


def check(moments: Sequence[tuple[int, int]], pace: Pace) -> None:
    """No time of n intervals has more than ``burst + n`` begins. A begin was at some moment between the two."""
    for first, (begun, _) in enumerate(moments):
        over = begun
        for last in range(first, len(moments)):
            over = max(over, moments[last][1])
            intervals = (over - begun) // (1_000 * pace.interval_us)
            assert last - first + 1 <= pace.burst + intervals, f"{moments[first : last + 1]} at {pace}"


def storm(url: str, stream: str, folder: Path, count: int, seed: int) -> int:
    """Run tasks in trees of which a process is killed every 300 ms. Returns how many were killed."""
    log, chance, killed = folder / "log", chance_of(seed), set[int]()
    next_kill = 0.0
    with ExitStack() as stack:
        variables = {URL: url, STREAM: stream, LOG: str(log)}
        trees = [
            stack.enter_context(
                Tree("tests.processes.rated_worker", variables, folder / f"tree-{number}.log", "-p", "2", "-t", "3")
            )
            for number in range(TREES)
        ]
        queue = stack.enter_context(closing(TaskQueue(url, stream_key=stream, lease=LEASE)))
        backend = queue.stores.backend
        until(lambda: len(backend.consumers()) == 2 * TREES, "the workers wait for work")
        ids = [
            handle.task_id
            for task in make_tasks(queue).values()
            for handle in task.map([(str(number % KEYS), number) for number in range(count // len(EACH))])
        ]

        def over() -> bool:
            nonlocal next_kill
            now = time.monotonic()
            if now >= next_kill and len(killed) < count / 20:  # what keeps dying is replaced ever more slowly
                busy = sorted({line.pid for line in lines(log)[-20:]} - killed)
                if busy:
                    next_kill = now + 0.3
                    killed.add(victim := chance.choice(busy))
                    with suppress(ProcessLookupError):
                        os.kill(victim, signal.SIGKILL)
            depth = backend.depth()
            return depth.ready + depth.in_flight + depth.delayed + depth.blocked == 0

        until(lambda: over() or len(lines(log)) > count / 2, "some of it is done", 60 + count / 5)
        queue.admin.pause()  # their rates admit tasks meanwhile, which must not start together afterwards
        until(lambda: backend.depth().ready >= ADMITTED, "tasks are ready that could start before", 60)
        queue.admin.resume()
        until(over, "everything is done", 60 + count / 5)
        assert [tree.stop() for tree in trees] == [0] * TREES
        found = begins(lines(log))
        assert len(found) == 1 + KEYS * len(EACH)
        for gate, moments in found.items():
            check(moments, PACES[gate.removeprefix("rate:").partition("/")[0]])
        assert Counter(info and info.status for info in backend.show(ids)) == {TaskStatus.SUCCESS: len(ids)}
        assert (limits := limits_of(backend)) is not None
        assert tokens(limits) == {}
    return len(killed)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("store", ["redis", "sqlite"])
def test_no_window_has_more(servers: Servers, stream_key: str, tmp_path: Path, store: str) -> None:
    """Two hundred tasks of two rates for each of three keys, and with one rate for all."""
    url = servers("valkey").url if store == "redis" else f"sqlite:///{tmp_path}/queue.db"
    assert storm(url, stream_key, tmp_path, count=200, seed=7) >= 3


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", seeds_of(range(3)))
@pytest.mark.parametrize("store", ["redis", "sqlite"])
def test_no_window_has_more_for_long(servers: Servers, stream_key: str, tmp_path: Path, store: str, seed: int) -> None:
    """Two thousand tasks."""
    url = servers("valkey").url if store == "redis" else f"sqlite:///{tmp_path}/queue.db"
    assert storm(url, stream_key, tmp_path, count=2_000, seed=seed) >= 20
