"""Two worker processes, one of which is killed, while one tenant floods the queue: the others do not wait behind it."""

from __future__ import annotations

import os
import signal
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from pyxqueue import TaskStatus
from pyxqueue.protocols import fair_lines_of
from tests.conftest import Servers
from tests.support.trees import Tree
from tests.support.until import until

from .app import Line
from .fair import make_queue
from .limited import LOG, STREAM, URL

FLOOD, OTHERS = 2_000, 20
TENANTS = "b", "c", "d"
ROUNDS = OTHERS * (1 + len(TENANTS))
"""So many starts there are while each of the others starts all its tasks, in equal shares."""
BOUND = 160
"""The starts within which all of them begin: the rounds, and what was drawn or claimed before and by a process that was
killed, in batches of 10 ms of work. Without turns they would begin behind the flood."""


def lines(log: Path) -> list[Line]:
    return [Line.read(text) for text in log.read_text().splitlines()] if log.exists() else []


@pytest.mark.timeout(180)
@pytest.mark.parametrize("store", ["redis", "sqlite"])
def test_a_flood_delays_nobody(servers: Servers, stream_key: str, tmp_path: Path, store: str) -> None:
    """Twenty tasks each of three tenants begin within a bounded number of starts, of two thousand that wait."""
    url = servers("valkey").url if store == "redis" else f"sqlite:///{tmp_path}/queue.db"
    log = tmp_path / "log"
    queue, task = make_queue(url, stream_key)
    tree = Tree(
        "tests.processes.fair_worker", {URL: url, STREAM: stream_key, LOG: str(log)}, tmp_path / "tree", "-p", "2"
    )
    with closing(queue), tree:
        backend = queue.stores.backend
        until(lambda: len(backend.consumers()) == 2, "the workers wait for work")
        handles = task.map([("a", number) for number in range(FLOOD)])
        until(lambda: len({line.pid for line in lines(log)}) == 2, "both processes work")
        victim = lines(log)[-1].pid
        handles += task.map([(tenant, number) for tenant in TENANTS for number in range(OTHERS)])
        before = len(lines(log))
        os.kill(victim, signal.SIGKILL)
        until(lambda: backend.depth().ready + backend.depth().in_flight == 0, "everything is done", 90)
        found = lines(log)
        shown = backend.show([handle.task_id for handle in handles])
        assert Counter(info and info.status for info in shown) == {TaskStatus.SUCCESS: len(handles)}
        assert tree.stop() == 0
        assert (fair_lines := fair_lines_of(backend)) is not None
        assert fair_lines.tenants(9) == []
    check_order(found, before)


def check_order(found: list[Line], before: int) -> None:
    """The others began soon, counted in starts; the flood went on between them, and each tenant in its order."""
    last = max(number for number, line in enumerate(found) if line.more[0] in TENANTS)
    assert last - before <= BOUND, f"the last of the others was start {last - before} of {len(found) - before}"
    assert len(found) - before > ROUNDS + BOUND, "the flood was over too soon for the test to mean something"
    between = Counter(line.more[0] for line in found[before : last + 1])
    assert between["a"] >= OTHERS / 2, f"the flood itself did not go on: {between}"
