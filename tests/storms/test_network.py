"""A network that loses, delays and cuts: nothing is lost or enqueued twice, and no worker has to be restarted."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing

import pytest
from attrs import evolve

from pyxqueue.testing.servers import Server, ServerKind
from tests.conftest import kinds_to_test
from tests.processes.app import Site
from tests.processes.conftest import StartTree
from tests.support.proxy import Proxy
from tests.support.until import until

from .storm import Storm, storm

KINDS = 8
LEASE = 10
"""Seconds; longer than the longest fault, so that nothing has a reason to run again."""


class Vandal(threading.Thread):
    """Does something to the connections through a proxy, again and again."""

    def __init__(self, proxy: Proxy, chance: random.Random) -> None:
        super().__init__()
        self._proxy = proxy
        self._chance = chance
        self._over = threading.Event()
        self.faults: Counter[str] = Counter()

    def run(self) -> None:
        kinds = [self.cut, self.lose_a_reply, self.half_close, self.drop_requests, self.drop_replies]
        kinds += [self.byte_by_byte, self.slow, self.refuse]
        order = list[Callable[[], None]]()
        while not self._over.wait(self._chance.uniform(0.05, 0.15)):
            order = order or self._chance.sample(kinds, len(kinds))  # each comes up
            kind = order.pop()
            kind()
            self.faults[kind.__name__] += 1
        self._proxy.cut_broken()

    def stop(self) -> None:
        self._over.set()
        self.join()

    def cut(self) -> None:
        self._proxy.cut_all()

    def lose_a_reply(self) -> None:
        """Of whatever command comes next; a wait for work has none before there is some."""
        self._proxy.lose_reply_of(lambda said: b"EVALSHA" in said or b"XREADGROUP" in said)
        self._proxy.lost.wait(0.5)

    def half_close(self) -> None:
        self._proxy.half_close_all()

    def drop_requests(self) -> None:
        self._hold(self._proxy.freeze_all)

    def drop_replies(self) -> None:
        self._hold(self._proxy.mute_all)

    def _hold(self, begin: Callable[[], object]) -> None:
        begin()
        time.sleep(self._chance.uniform(0.1, 0.5))  # the fault itself, as below
        self._proxy.cut_broken()

    def byte_by_byte(self) -> None:
        self._proxy.piece = 1
        time.sleep(0.2)
        self._proxy.piece = 1 << 16

    def slow(self) -> None:
        self._proxy.delay = 0.1
        time.sleep(0.3)
        self._proxy.delay = 0.0

    def refuse(self) -> None:
        self._proxy.closed = True
        self._proxy.cut_all()
        time.sleep(self._chance.uniform(0.05, 0.5))
        self._proxy.closed = False


def rage(one: Storm, start_tree: StartTree, server: Server, tasks: int) -> None:
    """Let tasks be enqueued and run through a bad network, with all checks."""
    with Proxy(server.port) as proxy:
        bad = evolve(one.site, url=proxy.url)
        trees = [start_tree("-p", "2", url=proxy.url, lease=LEASE) for _ in range(2)]
        app = bad.app()
        vandal = Vandal(proxy, one.chance)
        vandal.start()
        try:
            with closing(app.queue):
                one.enqueue(tasks // 2, 0.005, 0.05, through=app, at_once=1)
                one.enqueue(tasks - tasks // 2, 0.005, 0.05, through=app, at_once=7)
            until(lambda: len(one.log.of("settled")) >= tasks * 0.9, f"most is done; {one}", 60 + tasks / 5)
            until(lambda: len(vandal.faults) == KINDS, "each fault has happened")
        finally:
            vandal.stop()
        healed = time.monotonic()
        probe = one.enqueue(1, 0, 0.001)
        until(lambda: any(line.task_id in probe for line in one.log.of("end")), "work goes on")
        back = time.monotonic() - healed
        one.drain(60)
        assert [tree.stop() for tree in trees] == [0, 0], "no worker had to be restarted"
    assert one.judge().extra_runs == {}
    print(  # noqa: T201 - the numbers of docs/explanation/guarantees.md
        f"{tasks} tasks, {vandal.faults.total()} faults, new work ran {back:.1f} s after the last one"
    )


@pytest.mark.timeout(120)
def test_a_bad_network(site: Site, start_tree: StartTree) -> None:
    """Faults of eight kinds, one after the other."""
    with Server("valkey") as server, storm(evolve(site, url=server.url, lease=LEASE), seed=3) as one:
        rage(one, start_tree, server, tasks=150)


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", kinds_to_test())
def test_a_bad_network_for_long(site: Site, start_tree: StartTree, kind: ServerKind) -> None:
    """Three thousand tasks."""
    with Server(kind) as server, storm(evolve(site, url=server.url, lease=LEASE), seed=3) as one:
        rage(one, start_tree, server, tasks=3_000)
