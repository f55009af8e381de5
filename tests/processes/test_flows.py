"""Worker trees, and producers, that are killed while flows run: each flow ends as it must, nothing starts early or
again without need, nothing waits for ever, and nothing is left over."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field, frozen
from redis import Redis

from pyxqueue import AsyncResult, DependencyFailedError, TaskQueue
from pyxqueue.backends.redis.keys import GroupKeys
from pyxqueue.backends.sqlite.driver import DriverError, best
from pyxqueue.client.flows import Policy
from pyxqueue.testing import drain
from tests.conftest import Servers
from tests.support.left_over import left_over
from tests.support.seeds import chance_of, seed_of, seeds_of
from tests.support.trees import ROOT, Tree, environment
from tests.support.until import until

from .app import Line
from .flowing import (
    LEASE,
    LOG,
    LONGEST,
    MENDED,
    STREAM,
    URL,
    End,
    Node,
    built,
    children_of,
    ends_of,
    make_tasks,
    nodes_of,
    outcome,
    sum_of,
)
from .flowing_producer import MOST, graph

TREES = 2
KILLS_OF_A_TREE = 8
"""After so many kills a tree is replaced: it starts ever more slowly what keeps dying."""


@frozen
class Site:
    """Where a queue of flows is, and what its tasks write."""

    url: str
    stream: str
    folder: Path

    @property
    def variables(self) -> Mapping[str, str]:
        log, mended = self.folder / "log", self.folder / "mended"
        return {URL: self.url, STREAM: self.stream, LOG: str(log), MENDED: str(mended)}

    @contextmanager
    def queue(self) -> Iterator[TaskQueue]:
        with closing(TaskQueue(self.url, stream_key=self.stream, lease=LEASE)) as queue:
            make_tasks(queue)
            yield queue


@pytest.fixture(params=["redis", "sqlite"])
def site(request: pytest.FixtureRequest, servers: Servers, stream_key: str, tmp_path: Path) -> Site:
    url = servers("valkey").url if request.param == "redis" else f"sqlite:///{tmp_path}/queue.db"
    return Site(url, stream_key, tmp_path)


@define
class Log:
    """What the tasks have written, as far as it was read."""

    path: Path
    lines: list[Line] = field(factory=list)
    _size: int = 0

    def read(self) -> list[Line]:
        if self.path.exists():
            with self.path.open() as file:
                file.seek(self._size)
                for text in file:
                    self.lines.append(Line.read(text))
                    self._size += len(text)
        return self.lines

    def of(self, kind: str) -> Iterator[Line]:
        return (line for line in self.read() if line.kind == kind)


@frozen
class Stored:
    """A random flow, or what a producer could store of it before it was killed."""

    nodes: Sequence[Node]
    handles: Sequence[AsyncResult[Any]]
    stored: frozenset[int]

    def ends(self, *, mended: bool) -> list[End]:
        found = ends_of(self.nodes, self.stored, mended=mended)
        return [found[number] for number in sorted(self.stored)]

    def found(self) -> list[End | str]:
        return [outcome(self.handles[number]) for number in sorted(self.stored)]

    @property
    def waiting(self) -> int:
        """How many of its tasks wait for an operator."""
        return self.ends(mended=False).count("waits")

    @property
    def to_be_mended(self) -> list[str]:
        return [self.handles[number].task_id for number in self.stored if self.nodes[number].fails == "until mended"]


def check(flows: Sequence[Stored], log: Log, killed: set[int]) -> None:
    """Each task has ended as it must, and has run no more often and no earlier than it had to."""
    lines = [(number, line, (line.task_id, line.attempt)) for number, line in enumerate(log.read())]
    starts = Counter(line.task_id for _, line, _ in lines if line.kind == "start")
    in_killed = Counter(line.task_id for _, line, _ in lines if line.kind == "start" and line.pid in killed)
    ends = {attempt: number for number, line, attempt in lines if line.kind == "end"}
    first = {line.task_id: number for number, line, _ in reversed(lines) if line.kind == "start"}
    for flow in flows:
        assert flow.found() == flow.ends(mended=True)
        ids = [handle.task_id for handle in flow.handles]
        for node in (flow.nodes[number] for number in flow.stored if ids[number] in first):
            most = node.runs + (node.fails == "until mended") + in_killed[ids[node.number]]
            assert starts[ids[node.number]] <= most, f"{ids[node.number]} ran again"
            for before in (flow.nodes[number] for number in node.before if ids[number] in first):
                last = 1 if node.policy == "wait" else before.runs  # the only one of its second life
                assert ends[ids[before.number], last] < first[ids[node.number]], f"{ids[node.number]} started early"


def check_settled_once(log: Log) -> None:
    """What has succeeded does not run again. Whoever is killed before it notes a settlement leaves no line of it."""
    done: set[str] = set()
    for line in log.read():
        assert not (line.kind == "start" and line.task_id in done), f"{line.task_id} ran again"
        if line.kind == "settled" and line.more == ["Done", "1"]:
            assert line.task_id not in done, f"{line.task_id} was completed twice"
            done.add(line.task_id)


def mend(site: Site, queue: TaskQueue, flows: Sequence[Stored]) -> None:
    """What failed may succeed from now on, and is retried, as an operator does it."""
    (site.folder / "mended").touch()
    if ids := [task_id for flow in flows for task_id in flow.to_be_mended]:
        assert queue.admin.retry(ids).done == len(ids)


def an_hour_passes(site: Site) -> None:
    """Nobody stores what is missing of a flow any more."""
    if site.url.startswith("sqlite:"):
        connection = best().connect(f"file:{site.url.removeprefix('sqlite:///')}")  # that of the queue in this process

        def written() -> bool:
            with suppress(DriverError):  # the file is locked
                connection.execute("UPDATE dependent SET complete_by = 1 WHERE complete_by > 0")
                return True
            return False

        until(written, "the file is not locked")
        connection.close()
        return
    keys = GroupKeys.of(site.stream, "cg", site.stream)
    with Redis.from_url(site.url, protocol=2) as client:
        for task_id in client.hkeys(keys.dependents):
            client.zadd(keys.delayed, {task_id: 1}, xx=True)


def idle(queue: TaskQueue, dependent: int | None = None) -> Callable[[], bool]:
    """Whether all tasks have ended but those that wait for others, of which there are so many, or any number."""

    def look() -> bool:
        depth = queue.stores.backend.depth()
        others = depth.waiting - depth.dependent + depth.in_flight
        return others == 0 and dependent in (None, depth.dependent)

    return look


@define
class Storm:
    """A queue, the trees that serve it, and the log of what they did."""

    queue: TaskQueue
    log: Log
    start: Callable[[], Tree]
    """Starts a further tree."""
    trees: list[Tree]
    most_kills: int
    killed: set[int] = field(factory=set)
    _next_kill: float = 0.0

    def until(self, look: Callable[[], bool], what: str, seconds: float) -> None:
        """Wait for something, and kill a busy process every 300 ms."""

        def found() -> bool:
            self._kill()
            return look()

        until(found, what, seconds)

    def _kill(self) -> None:
        now = time.monotonic()
        if now < self._next_kill or len(self.killed) >= self.most_kills:
            return
        busy = [line.pid for line in self.log.read()[-8:] if line.kind == "start" and line.pid not in self.killed]
        if not busy:
            return
        self._next_kill = now + 0.3
        with suppress(ProcessLookupError):
            os.kill(busy[-1], signal.SIGKILL)
        self.killed.add(busy[-1])
        if len(self.killed) % KILLS_OF_A_TREE == 0:
            self.trees.append(self.start())
            assert stopped(self.trees.pop(0)) == 0


def stopped(tree: Tree) -> int:
    """Stop a tree, which may just have been started, and return its exit code."""
    until(lambda: len(tree.everyone()) > 1 or tree.ended(), "the supervisor has started its processes")
    return tree.stop()


@contextmanager
def storm(site: Site, kills: int) -> Iterator[Storm]:
    """Start the trees, and stop them when the block has ended well. Then nothing is left over."""
    with ExitStack() as stack:

        def start() -> Tree:
            said = site.folder / f"tree-{len(list(site.folder.glob('tree-*.log')))}.log"
            tree = Tree("tests.processes.flowing_worker", site.variables, said, "-p", "2", "-t", "2")
            return stack.enter_context(tree)

        trees = [start() for _ in range(TREES)]
        yield Storm(stack.enter_context(site.queue()), Log(site.folder / "log"), start, trees, kills)
        assert [stopped(tree) for tree in trees] == [0] * TREES
    assert left_over(site.url, site.stream) == {}


def random_flow(queue: TaskQueue, chance: random.Random, most: int) -> Stored:
    """Enqueue one."""
    nodes = nodes_of(chance, most)
    flow, handles = built(queue, nodes)
    flow.enqueue()
    return Stored(nodes, handles, frozenset(range(len(nodes))))


def chord(queue: TaskQueue, count: int, on_failure: Policy) -> AsyncResult[int]:
    """Enqueue a chord of so many, of which some fail."""
    with queue.flow() as flow:
        return flow.chord(children_of(queue, count), make_tasks(queue)["total"], on_failure=on_failure)


def check_chord(body: AsyncResult[int], count: int, log: Log) -> None:
    """It got the results of all, once they had ended."""
    assert body.get(timeout=0) == sum_of(count)
    lines = log.read()
    ended = {line.task_id: number for number, line in enumerate(lines) if line.kind == "end"}
    started = next(n for n, line in enumerate(lines) if line.task_id == body.task_id and line.kind == "start")
    assert all(ended[f"{body.task_id}.{number}"] < started for number in range(count))


def rage(site: Site, *, flows: int, most: int, children: int, seed: int, kills: int) -> int:
    """Random flows and two chords. Returns how many processes were killed."""
    chance, seconds = chance_of(seed), 60 + 2 * flows + children / 50
    with storm(site, kills) as it:
        going_on, failing = chord(it.queue, children, "continue"), chord(it.queue, children // 2, "fail")
        stored = [random_flow(it.queue, chance, most) for _ in range(flows)]
        it.until(idle(it.queue, sum(flow.waiting for flow in stored)), "all that need no operator have ended", seconds)
        mend(site, it.queue, stored)
        it.until(idle(it.queue, 0), "all have ended", seconds)
        check(stored, it.log, it.killed)
        check_settled_once(it.log)
        check_chord(going_on, children, it.log)
        assert outcome(failing) == "doomed"
        assert failing.task_id not in {line.task_id for line in it.log.of("start")}
        return len(it.killed)


@pytest.mark.timeout(180)
def test_flows_end_as_they_must(site: Site) -> None:
    """Fifteen random flows of up to ten tasks, and a chord of three hundred."""
    assert rage(site, flows=15, most=10, children=300, seed=3, kills=8) >= 2


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", seeds_of(range(2)))
def test_flows_end_as_they_must_for_long(site: Site, seed: int) -> None:
    """Three hundred random flows of up to forty tasks, and a chord of twenty thousand."""
    assert rage(site, flows=300, most=40, children=20_000, seed=seed, kills=300) >= 100


@pytest.mark.timeout(180)
def test_flows_are_retried(site: Site) -> None:
    """Each goes on where it has failed, also if processes are killed then; what has succeeded does not run again."""
    before = {0: (), 1: (), 2: (0, 1), 3: (2,), 4: (0, 3)}
    nodes = [Node(number, "until mended" if number == 1 else "", one, "fail") for number, one in before.items()]
    with storm(site, kills=6) as it:
        flows = []
        for _ in range(12):
            flow, handles = built(it.queue, nodes)
            flow.enqueue()
            flows.append(handles)
        it.until(idle(it.queue, 0), "all have ended", 60)
        ends: list[End | str] = [0, "failed", "doomed", "doomed", "doomed"]
        assert [[outcome(one) for one in handles] for handles in flows] == [ends] * 12

        (site.folder / "mended").touch()
        assert [it.queue.admin.retry_flow(handles[-1].task_id) for handles in flows] == [4] * 12
        it.until(idle(it.queue, 0), "all have ended again", 60)

        assert [[outcome(one) for one in handles] for handles in flows] == [[0, 0, 2, 5, 9]] * 12
        check_settled_once(it.log)
        lines = it.log.read()
        ended = {line.task_id: number for number, line in enumerate(lines) if line.kind == "end"}
        first = {line.task_id: number for number, line in reversed(list(enumerate(lines))) if line.kind == "start"}
        for handles in flows:
            ids = [one.task_id for one in handles]
            assert all(ended[ids[one]] < first[ids[node.number]] for node in nodes for one in node.before)


def stored_by_producers(queue: TaskQueue, log: Log, most: int) -> list[Stored]:
    """What the store has of the flows that producers were about to enqueue, without those of which it has nothing."""
    found = []
    accepted = {line.task_id for line in log.of("stored")}
    assert [line for line in log.lines if line.kind == "raised"] == []
    for line in {line.task_id: line for line in log.of("built")}.values():
        nodes = graph(int(line.more[0]), most)
        handles = [queue.result(f"{line.task_id}.{number}") for number in range(len(nodes))]
        shown = queue.stores.backend.show([handle.task_id for handle in handles])
        stored = frozenset(number for number, info in enumerate(shown) if info is not None)
        assert len(stored) == len(nodes) or line.task_id not in accepted
        if stored:
            found.append(Stored(nodes, handles, stored))
    return found


def check_words(flows: Sequence[Stored]) -> int:
    """What lacks a task before it, says so. Returns how many do."""
    number = 0
    for flow in flows:
        for node in flow.nodes:
            lacking = [one for one in node.before if one not in flow.stored]
            if node.number in flow.stored and lacking:
                with pytest.raises(DependencyFailedError) as caught:
                    flow.handles[node.number].get(timeout=0)
                count = f"only {len(node.before) - len(lacking)} of {len(node.before)} predecessors"
                is_of_flow = re.search(r"task \S+, which comes before it in its flow", str(caught.value))
                assert is_of_flow or count in str(caught.value)
                number += is_of_flow is None
    return number


def producers(site: Site, mode: str, number: int, seed: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-W", "error", "-m", "tests.processes.flowing_producer", mode, str(number), str(seed)]
    return subprocess.Popen(command, cwd=ROOT, env=environment(site.variables))


def end_all(
    site: Site, queue: TaskQueue, flows: Sequence[Stored], wait: Callable[[Callable[[], bool], str], None]
) -> None:
    """What was stored completely ends by itself or when it is mended, and the rest an hour later."""
    wait(idle(queue), "what is stored completely has ended")
    mend(site, queue, flows)
    wait(idle(queue), "what was mended has ended")
    an_hour_passes(site)

    def over() -> bool:
        queue.stores.backend.maintain(256)
        return idle(queue, 0)()

    wait(over, "all have ended")


def die_at_statements(site: Site, monkeypatch: pytest.MonkeyPatch, stride: int) -> None:
    """Kill producers before each statement, or one of `stride`, and run what they have stored."""
    for name, value in {**site.variables, LONGEST: "0"}.items():
        monkeypatch.setenv(name, value)
    with producers(site, "statements", stride, seed_of(7)) as program:
        assert program.wait(1500) == 0
    with site.queue() as queue:
        log = Log(site.folder / "log")
        flows = stored_by_producers(queue, log, MOST)

        def run(look: Callable[[], bool], what: str) -> None:
            until(lambda: drain(queue) == 0 and look(), what, 600)

        end_all(site, queue, flows, run)
        check(flows, log, set())
        assert check_words(flows) > 0
        assert any(len(flow.stored) == len(flow.nodes) for flow in flows)
    assert left_over(site.url, site.stream) == {}


@pytest.mark.timeout(120)
def test_a_producer_is_killed_at_some_statements(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is stored of its flow completes, or fails with words."""
    die_at_statements(site, monkeypatch, 211)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_a_producer_is_killed_at_each_statement(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same with every statement of pyxqueue and redis-py."""
    die_at_statements(site, monkeypatch, 1)


def die_at_random(site: Site, count: int, seed: int) -> int:
    """Kill producers at random moments while workers, which are killed too, run what they store. Returns how many tasks
    were left without all of those before them."""
    with storm(site, kills=count // 4) as it:
        with producers(site, "random", count, seed_of(seed)) as program:
            it.until(lambda: program.poll() is not None, "the producers have ended", 60 + count)
            assert program.returncode == 0
        flows = stored_by_producers(it.queue, it.log, 4 * MOST)
        end_all(site, it.queue, flows, lambda look, what: it.until(look, what, 60 + count))
        check(flows, it.log, it.killed)
        check_settled_once(it.log)
        assert flows
        return check_words(flows)


@pytest.mark.timeout(180)
def test_producers_are_killed(site: Site) -> None:
    """Twelve of them, two at once. Whether one of them dies between two parts of a flow is left to chance here; some
    do among those that are killed at statements."""
    die_at_random(site, 12, seed=4)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_producers_are_killed_for_long(site: Site) -> None:
    """Four hundred of them."""
    assert die_at_random(site, 400, seed=5) > 0
