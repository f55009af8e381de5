"""Hosts that stand still for longer than their lease and then go on, as if nothing had happened."""

from __future__ import annotations

import signal

import pytest
from attrs import evolve

from pyxqueue.testing.servers import ServerKind
from tests.conftest import Servers, kinds_to_test
from tests.processes.app import Site
from tests.processes.conftest import StartTree
from tests.support.trees import Tree
from tests.support.until import until

from .storm import Storm, oldest, storm

LEASE = 3
PROCESSES = 2
SLOTS = "-p", f"{PROCESSES}", "-t", "6"


def interrupted(storm: Storm, tree: Tree) -> set[tuple[str, int]]:
    """What the processes of a stopped tree were running: the tasks and their processes."""
    pids, inside = set(tree.everyone()), set[tuple[str, int]]()
    for line in storm.log.lines():
        if line.pid in pids and line.kind in {"start", "end"}:
            (inside.add if line.kind == "start" else inside.discard)((line.task_id, line.pid))
    return inside


def stand_still(storm: Storm, tree: Tree) -> int:
    """Stop a tree until others have started all that it ran, then let it go on. Returns how many outcomes it brought
    too late, which is all of them."""
    storm.note_stopped(*tree.everyone())
    tree.signal_all(signal.SIGSTOP)
    late = interrupted(storm, tree)

    pids = {pid for _, pid in late}

    def taken_over() -> bool:
        return {task_id for task_id, _ in late} <= {
            line.task_id for line in storm.log.of("start") if line.pid not in pids
        }

    until(taken_over, f"others run what it ran; {storm}", 60)
    tree.signal_all(signal.SIGCONT)

    def refused() -> bool:
        lines = {(line.task_id, line.pid) for line in storm.log.of("settled") if line.more[1] == "0"}
        return late <= lines

    until(refused, f"all that it brings is refused; {storm}", 60)
    return len(late)


def every_process_starts_some(storm: Storm, ids: set[str]) -> None:
    """Wait until each process has started one of these tasks: it starts first what it claimed earlier."""

    def started() -> bool:
        return len({line.pid for line in storm.log.of("start") if line.task_id in ids}) == 2 * PROCESSES

    until(started, f"each process has started one of them; {storm}", 60)


def rage(storm: Storm, start_tree: StartTree, strikes: int, tasks: int) -> int:
    """Let one of two trees stand still again and again. Returns how many outcomes were refused."""
    trees = [start_tree(*SLOTS, url=storm.site.url, lease=LEASE) for _ in range(2)]
    refused = 0
    for number in range(strikes):
        every_process_starts_some(storm, set(storm.enqueue(tasks, 0.2, 0.8)))
        storm.note_resumed(*(pid for tree in trees for pid in tree.everyone()))
        until(lambda: storm.app.queue.stores.backend.depth().in_flight >= 24 or storm.over(), "all slots are busy")
        refused += stand_still(storm, trees[number % 2])
    storm.drain(60 + tasks / 10)
    assert [tree.stop() for tree in trees] == [0, 0]
    found = storm.judge()
    print(  # noqa: T201 - the numbers of docs/explanation/guarantees.md
        f"{strikes * tasks} tasks, {strikes} hosts stood still, {refused} late outcomes refused, "
        f"{sum(found.extra_runs.values())} extra runs"
    )
    return refused


@pytest.mark.parametrize("store", ["server", "sqlite"])
def test_zombies(site: Site, servers: Servers, start_tree: StartTree, store: str) -> None:
    """What they bring is refused, and who took their work over ends it."""
    url = servers(oldest()).url if store == "server" else f"sqlite:///{site.log}.db"
    with storm(evolve(site, url=url, lease=LEASE), seed=3) as one:
        assert rage(one, start_tree, strikes=1, tasks=60) >= 6


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", kinds_to_test())
def test_many_zombies(site: Site, servers: Servers, kind: ServerKind, start_tree: StartTree) -> None:
    """Two thousand tasks."""
    with storm(evolve(site, url=servers(kind).url, lease=LEASE), seed=3) as one:
        assert rage(one, start_tree, strikes=8, tasks=250) >= 20
