"""Worker trees that are killed while they run flows: each flow ends as it must, and nothing waits for ever."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Mapping
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import pytest
from attrs import frozen

from pyxqueue import AsyncResult, DependencyFailedError, TaskError, TaskQueue
from pyxqueue.client.flows import Policy
from tests.conftest import Servers
from tests.support.trees import Tree
from tests.support.until import until

from .app import Line

LOG, STREAM, URL = "TEST_LOG", "TEST_STREAM", "TEST_URL"
TREES = 2


@frozen
class Node:
    """A task of a random flow."""

    number: int
    fails: bool
    before: tuple[int, ...]
    policy: Policy


def nodes_of(chance: random.Random, most: int) -> list[Node]:
    """A random graph; each node waits for some of those before it."""
    found: list[Node] = []
    for number in range(chance.randint(2, most)):
        before = tuple(sorted(chance.sample(range(number), min(number, chance.randint(0, 3)))))
        found.append(Node(number, chance.random() < 0.15, before, chance.choice(("fail", "fail", "continue"))))
    return found


def values_of(nodes: list[Node]) -> list[int | None]:
    """What each node must return; None for one that fails."""
    values: list[int | None] = []
    for node in nodes:
        inputs = [values[one] for one in node.before]
        doomed = node.policy == "fail" and None in inputs
        values.append(None if node.fails or doomed else node.number + sum(one or 0 for one in inputs))
    return values


def outcome(handle: AsyncResult[int]) -> int | str:
    try:
        return handle.get(timeout=0)
    except DependencyFailedError:
        return "doomed"
    except TaskError:
        return "failed"


def built(queue: TaskQueue, nodes: list[Node]) -> list[AsyncResult[int]]:
    """Enqueue a flow of these nodes, and return their handles."""
    task = queue.task(name="node")(node)
    handles: list[AsyncResult[int]] = []
    with queue.flow() as flow:
        for one in nodes:
            inputs = [handles[number] for number in one.before]
            handles.append(flow.add(task, one.number, one.fails, inputs, on_failure=one.policy))
    return handles


def node(_number: int, _fails: bool, _inputs: list[AsyncResult[int]]) -> int:
    """The workers have the task of this name."""
    raise NotImplementedError


def storm(url: str, folder: Path, *, stream: str, flows: int, most: int, seed: int) -> int:
    """Run random flows in trees of which a busy process is killed every 300 ms. Returns how many were killed."""
    log = folder / "log"
    variables: Mapping[str, str] = {URL: url, STREAM: stream, LOG: str(log)}
    chance = random.Random(seed)
    graphs = [nodes_of(chance, most) for _ in range(flows)]
    with ExitStack() as stack, closing(TaskQueue(url, stream_key=stream, lease=2)) as queue:
        trees = [
            stack.enter_context(
                Tree("tests.processes.flowing", variables, folder / f"tree-{number}.log", "-p", "2", "-t", "2")
            )
            for number in range(TREES)
        ]
        handles = [built(queue, nodes) for nodes in graphs]
        killed: set[int] = set()
        next_kill = 0.0

        def over() -> bool:
            nonlocal next_kill
            now = time.monotonic()
            if now >= next_kill and len(killed) < 2 * flows:
                started = [line.pid for line in lines(log)[-4:] if line.pid not in killed]
                if started:
                    next_kill = now + 0.3
                    with suppress(ProcessLookupError):
                        os.kill(started[-1], signal.SIGKILL)
                    killed.add(started[-1])
            depth = queue.stores.backend.depth()
            return depth.waiting + depth.in_flight == 0

        until(over, "all flows have ended", 60 + 5 * flows)
        assert [tree.stop() for tree in trees] == [0] * TREES
        ran = {line.task_id for line in lines(log)}
        for nodes, found in zip(graphs, handles, strict=True):
            values = values_of(nodes)
            doomed = [one.policy == "fail" and any(values[number] is None for number in one.before) for one in nodes]
            ends: list[int | str] = ["failed" if value is None else value for value in values]
            wanted = ["doomed" if lost else end for lost, end in zip(doomed, ends, strict=True)]
            assert [outcome(handle) for handle in found] == wanted
            assert [handle.task_id not in ran for handle in found] == doomed
        return len(killed)


def lines(log: Path) -> list[Line]:
    return [Line.read(text) for text in log.read_text().splitlines()] if log.exists() else []


@pytest.mark.timeout(180)
@pytest.mark.parametrize("store", ["redis", "sqlite"])
def test_flows_end_as_they_must(servers: Servers, stream_key: str, tmp_path: Path, store: str) -> None:
    """Fifteen random flows of up to ten tasks."""
    url = servers("valkey").url if store == "redis" else f"sqlite:///{tmp_path}/queue.db"
    assert storm(url, tmp_path, stream=stream_key, flows=15, most=10, seed=3) >= 2


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("store", ["redis", "sqlite"])
def test_flows_end_as_they_must_for_long(
    servers: Servers, stream_key: str, tmp_path: Path, store: str, seed: int
) -> None:
    """Three hundred random flows of up to forty tasks."""
    url = servers("valkey").url if store == "redis" else f"sqlite:///{tmp_path}/queue.db"
    assert storm(url, tmp_path, stream=stream_key, flows=300, most=40, seed=seed) >= 100
