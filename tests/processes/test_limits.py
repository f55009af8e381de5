"""Worker trees that are killed while they run tasks with limits, locks and priorities, with a pause in the middle.

Never more run at once than a limit or a lock says, nothing starts in the pause, and no task is lost or starves.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from itertools import groupby
from pathlib import Path

import pytest
from attrs import define, field

from pyxqueue import Task, TaskQueue, TaskStatus
from pyxqueue.protocols import limits_of
from pyxqueue.testing.contract.steps import tokens
from tests.conftest import Servers
from tests.support.seeds import chance_of, seeds_of
from tests.support.trees import Tree
from tests.support.until import until

from .app import Line, append
from .limited import ALL, LEASE, LOG, NUMBERS, STREAM, UNIQUE, URL, make_tasks

TREES, PROCESSES, THREADS = 3, 2, 3
KEYS = 5
CLASSES = 0, 60
"""Priorities of two classes."""
LIMITS = {
    "all": ALL,
    **{f"{limit}-{key}": limit for limit in NUMBERS for key in range(KEYS)},
    **{f"{UNIQUE}-{key}": 1 for key in range(KEYS)},
}
"""How many may run at once, by what the log calls the gate or the lock."""


def running(found: Iterable[Line]) -> tuple[dict[str, tuple[int, str]], Counter[str]]:
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
        elif line.kind == "killed":
            dead.add(line.pid)
            now = {task_id: one for task_id, one in now.items() if one[0] not in dead}
        count = Counter(gate for _, gate in now.values())
        most |= count
        most["all"] = max(most["all"], count.total())
    return now, most


@define
class Storm:
    """A queue, the trees that serve it, and the log of what they did."""

    queue: TaskQueue
    start: Callable[[], Tree]
    """Starts a further tree."""
    trees: list[Tree]
    log: Path
    chance: random.Random
    calls: int
    """How many calls of the unique task are still to be made while the trees work."""
    most_kills: int
    """What keeps dying is replaced ever more slowly."""
    tasks: dict[str, Task[[str, int], None]] = field(init=False)
    ids: list[str] = field(factory=list)
    killed: set[int] = field(factory=set)
    next_kill: float = 0.0

    def __attrs_post_init__(self) -> None:
        self.tasks = make_tasks(self.queue)

    def lines(self) -> list[Line]:
        return [Line.read(text) for text in self.log.read_text().splitlines()] if self.log.exists() else []

    def note(self, kind: str, task_id: str, pid: int, *words: object) -> None:
        append(str(self.log), kind, task_id, 0, pid, *words)

    def enqueue(self, count: int) -> None:
        """Calls of the tasks with limits, all of them for each key and in both classes."""
        wide = len(NUMBERS) * len(CLASSES) * KEYS
        for start in range(0, count, wide):
            for limit in NUMBERS:
                for priority in CLASSES:
                    calls = [(f"{limit}-{key}", start + key) for key in range(KEYS)]
                    task = self.tasks[f"limited{limit}"].with_options(priority=priority)
                    self.ids += [handle.task_id for handle in task.map(calls)]

    def call(self) -> None:
        """Call the unique task, and note when the call began and what came of it."""
        self.calls -= 1
        key = f"{UNIQUE}-{self.chance.randrange(KEYS)}"
        self.note("calling", "-", os.getpid())
        handle = self.tasks[UNIQUE].with_options(priority=self.chance.choice(CLASSES))(key, self.calls)
        self.note("called", handle.task_id, os.getpid(), key, int(handle.created))

    def kill(self, victim: int) -> None:
        self.note("killed", "-", victim)
        with suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
        self.killed.add(victim)

    def blow(self) -> int:
        """Call once, and kill a busy process every 300 ms. Returns how many tasks have not ended."""
        if self.calls > 0:
            self.call()
        now = time.monotonic()
        if now >= self.next_kill and len(self.killed) < self.most_kills:
            busy = {pid for pid, _ in running(self.lines())[0].values()} - self.killed
            if busy:
                self.next_kill = now + 0.3
                self.kill(self.chance.choice(sorted(busy)))
        depth = self.queue.stores.backend.depth()
        return depth.ready + depth.in_flight + depth.delayed + depth.blocked

    def pause(self) -> None:
        """Pause the queue; meanwhile tasks are called and a process is killed and replaced, and nothing starts."""
        backend = self.queue.stores.backend
        assert self.queue.admin.pause()
        until(lambda: backend.depth().in_flight == 0, "what was claimed before the pause has ended")
        started = self.started()
        self.enqueue(len(NUMBERS) * len(CLASSES) * KEYS)
        self.call()
        before = {consumer.name for consumer in backend.consumers()}
        workers = {line.pid for line in self.lines()} & {pid for tree in self.trees for pid in tree.everyone()}
        self.kill(self.chance.choice(sorted(workers - self.killed)))
        until(lambda: {one.name for one in backend.consumers()} - before, "the process has been replaced")
        assert backend.depth().ready > 0
        assert self.started() == started
        assert self.queue.admin.resume()

    def lose_a_tree(self) -> None:
        """Kill all of a tree at one moment, and start another. Only the lease gives back what its workers held."""
        tree = self.trees.pop(self.chance.randrange(TREES))
        tree.signal_all(signal.SIGSTOP)  # so that no process is replaced in between
        for pid in tree.everyone():
            self.note("killed", "-", pid)
            self.killed.add(pid)
        tree.signal_all(signal.SIGKILL)
        self.trees.append(self.start())

    def started(self) -> int:
        return sum(line.kind == "start" for line in self.lines())


@contextmanager
def storm(url: str, stream: str, folder: Path, count: int, seed: int) -> Iterator[Storm]:
    """Start the trees, and stop them when the block has ended well."""
    log = folder / "log"
    variables = {URL: url, STREAM: stream, LOG: str(log)}
    options = "-p", str(PROCESSES), "-t", str(THREADS)
    with ExitStack() as stack:

        def start() -> Tree:
            said = folder / f"tree-{len(list(folder.glob('tree-*.log')))}.log"
            return stack.enter_context(Tree("tests.processes.limited_worker", variables, said, *options))

        trees = [start() for _ in range(TREES)]
        queue = stack.enter_context(closing(TaskQueue(url, stream_key=stream, lease=LEASE)))
        until(lambda: len(queue.stores.backend.consumers()) == TREES * PROCESSES, "the workers wait for work", 120)
        yield Storm(queue, start, trees, log, chance_of(seed), calls=count // 10, most_kills=count // 20)
        assert [tree.stop() for tree in trees] == [0] * TREES


def check_limits(found: list[Line]) -> None:
    """Never more ran at once than the number of a limit, or one for each lock; and the limits were reached."""
    _, most = running(found)
    assert {gate: number for gate, number in most.items() if number > LIMITS[gate]} == {}
    assert sum(most[gate] == LIMITS[gate] for gate in most) >= len(NUMBERS), f"the limits were not reached: {most}"


def check_locks(found: list[Line]) -> int:
    """A lock had one holder after the other, over their retries and crashes, and a call that was dropped met the
    holder. Returns how many calls were dropped."""
    of_lock: dict[str, list[str]] = {}
    settled, created, dropped = dict[str, int](), set[str](), list[tuple[int, str]]()
    begun = 0
    for number, line in enumerate(found):
        if line.kind == "start" and line.more[0].startswith(UNIQUE):
            of_lock.setdefault(line.more[0], []).append(line.task_id)
        elif line.kind == "settled" and line.more == ["Done", "1"]:
            settled[line.task_id] = number
        elif line.kind == "calling":
            begun = number
        elif line.kind == "called" and line.more[1] == "1":
            assert line.task_id not in created
            created.add(line.task_id)
        elif line.kind == "called":
            dropped.append((begun, line.task_id))
    for lock, ids in of_lock.items():
        holders = [task_id for task_id, _ in groupby(ids)]
        assert len(holders) == len(set(holders)), f"two tasks held {lock} in turns: {holders}"
    assert {task_id for ids in of_lock.values() for task_id in ids} == created
    assert [one for one in dropped if one[1] not in created or settled.get(one[1], begun) < one[0]] == []
    return len(dropped)


def rage(url: str, stream: str, folder: Path, count: int, seed: int, *, lose_a_tree: bool = False) -> int:
    """Run a storm, with all its checks. Returns how many processes were killed."""
    patience = 30 + count / 10 + 4 * LEASE * lose_a_tree
    with storm(url, stream, folder, count, seed) as it:
        it.enqueue(count)
        until(lambda: it.blow() < count / 2, "half of it is done", 30 + count / 10)
        it.pause()
        if lose_a_tree:
            it.lose_a_tree()
        until(lambda: it.blow() == 0 and it.calls <= 0, "everything is done", patience)
        found = it.lines()
        check_limits(found)
        assert check_locks(found) > 0
        ids = {*it.ids, *(line.task_id for line in found if line.kind == "called")}
        shown = it.queue.stores.backend.show(list(ids))
        assert Counter(info and info.status for info in shown) == {TaskStatus.SUCCESS: len(ids)}
        assert (limits := limits_of(it.queue.stores.backend)) is not None
        assert tokens(limits) == {}
    return len(it.killed)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("store", ["redis", "sqlite"])
def test_never_more_at_once(servers: Servers, stream_key: str, tmp_path: Path, store: str) -> None:
    """Three hundred tasks, with limits of one to three for each of five keys, and one for all."""
    url = servers("valkey").url if store == "redis" else f"sqlite:///{tmp_path}/queue.db"
    assert rage(url, stream_key, tmp_path, count=300, seed=7) >= 3


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", seeds_of(range(3)))
@pytest.mark.parametrize("store", ["redis", "sqlite"])
def test_never_more_at_once_for_long(servers: Servers, stream_key: str, tmp_path: Path, store: str, seed: int) -> None:
    """Two thousand tasks; a whole tree is lost, so that its places are free when the leases have ended."""
    url = servers("valkey").url if store == "redis" else f"sqlite:///{tmp_path}/queue.db"
    assert rage(url, stream_key, tmp_path, count=2_000, seed=seed, lose_a_tree=True) >= 20
