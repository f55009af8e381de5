"""How soon the work of the dead runs again, while others live."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from typing import cast

import pytest
from attrs import define, evolve, field

from pyxqueue.testing.servers import ServerKind
from tests.conftest import Servers, kinds_to_test
from tests.processes.app import Site
from tests.processes.conftest import StartTree
from tests.support.trees import Tree
from tests.support.until import until

from .checker import recoveries
from .storm import Storm, storm

LEASE = 5
SCAN = LEASE / 4
"""The seconds between two looks for leases that have ended."""


@define
class Pair:
    """Two trees, of which one is always there."""

    storm: Storm
    start_tree: StartTree
    trees: list[Tree] = field(init=False)
    children: list[int] = field(factory=list)
    """The processes that were killed alone."""
    hosts: list[int] = field(factory=list)
    """Those that were killed with their tree."""

    def __attrs_post_init__(self) -> None:
        self.trees = [self.start() for _ in range(2)]

    def start(self) -> Tree:
        return self.start_tree("-p", "2", url=self.storm.site.url, lease=LEASE)

    def running(self) -> int:
        """Enqueue a task, and return the process that runs it."""
        (task_id,) = self.storm.enqueue(1, 0.5, 1)
        log = self.storm.log
        return until(lambda: [line.pid for line in log.of("start") if line.task_id == task_id], "it runs")[0]

    def kill_child(self) -> None:
        victim = self.running()
        self.storm.kill(victim)
        self.children.append(victim)
        self.storm.drain(60)

    def kill_host(self) -> None:
        victim = self.running()
        (tree,) = (tree for tree in self.trees if victim in tree.everyone())
        tree.signal_all(signal.SIGSTOP)
        self.storm.orphaned = True
        self.storm.kill(tree.pid, *(pid for pid in tree.everyone() if pid != tree.pid))
        tree.signal_all(signal.SIGKILL)
        self.hosts.append(victim)
        self.storm.drain(60)
        self.trees[self.trees.index(tree)] = self.start()

    def took(self, killed: Sequence[int]) -> Sequence[float]:
        """The seconds until what these processes ran has started again."""
        found = recoveries(self.storm.log.lines())
        return sorted(ms / 1000 for pid in killed for ms in found[pid])

    def slowest_start(self) -> float:
        """The seconds that it took at the most until a task ran for which workers waited: as slow is the machine."""
        called = {line.task_id: int(line.more[0]) for line in self.storm.log.of("calling")}
        first = {line.task_id: int(line.more[0]) for line in reversed(self.storm.log.of("start"))}
        return max(first[task_id] - at for task_id, at in called.items()) / 1000


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", [*kinds_to_test(), "sqlite"])
def test_recovery(site: Site, servers: Servers, start_tree: StartTree, kind: str) -> None:
    """What a dead process ran starts again after a second at the latest, what a dead host ran after its lease and a
    look. On a busy machine both take longer, by as much as a task does that need not wait for anything."""
    url = f"sqlite:///{site.log}.db" if kind == "sqlite" else servers(cast(ServerKind, kind)).url
    with storm(evolve(site, url=url, lease=LEASE), seed=2) as one:
        pair = Pair(one, start_tree)
        for number in range(26):
            pair.kill_host() if number % 5 == 4 else pair.kill_child()
        assert [tree.stop() for tree in pair.trees] == [0, 0]
        one.judge()

    children, hosts, slow = pair.took(pair.children), pair.took(pair.hosts), pair.slowest_start()
    print(  # noqa: T201 - the numbers of docs/explanation/guarantees.md
        f"{len(children)} processes: median {children[len(children) // 2]:.2f} s, longest {children[-1]:.2f} s; "
        f"{len(hosts)} hosts: median {hosts[len(hosts) // 2]:.2f} s, longest {hosts[-1]:.2f} s; "
        f"the slowest of the other starts took {slow:.2f} s"
    )
    assert children[-1] <= 1 + slow
    assert hosts[-1] <= LEASE + SCAN + slow
