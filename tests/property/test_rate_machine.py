"""Random sequences of what can happen to tasks with rates, against an oracle that knows no algorithm.

It writes down when each task began. In no window have more begun than the rate allows, whatever was lost, repeated,
cancelled or left alone for a while; nothing is charged; and at the end everything has run, in a time that the rate
explains, and nothing is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from pyxqueue.model.message import Delivery, Done, Message, Retry, Settlement, StartStatus, Verdict
from pyxqueue.model.rates import Pace
from pyxqueue.testing.contract.steps import gated, paced, tokens
from pyxqueue.testing.memory import MemoryHarness
from pyxqueue.testing.servers import ServerKind
from tests.contract.wrong import PLANTED

from ..conftest import Servers, kinds_to_test
from ..support.machines import MakeHarness, in_file, in_memory, on_fakeredis, on_server, run
from ..support.planted import assert_found

PACES = {"one": Pace(1, 100_000), "five": Pace(10, 500_000, 5), "three": Pace(3, 1_000_000, 3)}
CONSUMERS = ("one", "two")
wanted = st.sets(st.sampled_from(["rate:one/", "rate:five/x", "rate:five/y", "rate:three/"]), min_size=1, max_size=2)
picks = st.integers(0, 30)


class RateMachine(RuleBasedStateMachine):
    """Does things to a store, and writes down what begins."""

    make_harness: ClassVar[MakeHarness]

    def __init__(self) -> None:
        super().__init__()
        self.context = type(self).make_harness()
        self.harness = self.context.__enter__()
        self.backend = self.harness.open(history=10_000)
        rates = paced(self.backend, **PACES)
        assert rates is not None
        self.rates = rates
        self.ids: list[str] = []
        self.held: dict[str, Delivery] = {}
        self.begun: set[str] = set()
        """The receipts that began."""
        self.starts: dict[str, list[tuple[int, int]]] = {}
        """By gate, between which two moments tasks began, in ms."""

    def teardown(self) -> None:
        try:
            self.drain()
            self.check()
        finally:
            self.backend.close()
            self.context.__exit__(None, None, None)

    @rule(gates=wanted, count=st.sampled_from([1, 1, 1, 20]))
    def enqueue(self, gates: set[str], count: int) -> None:
        for _ in range(count):
            self.ids.append(f"t{len(self.ids)}")
            self.backend.enqueue([gated(self.ids[-1], *sorted(gates))])

    @rule(ms=st.sampled_from([1, 7, 30, 99, 100, 101, 500, 3_000]))
    def time_passes(self, ms: int) -> None:
        """At most for a tenth of a lease."""
        self.harness.advance(ms)

    @rule()
    def leases_end(self) -> None:
        self.harness.advance(self.harness.lease)

    @rule()
    def maintain(self) -> None:
        self.backend.maintain(256)

    @rule(consumer=st.sampled_from(CONSUMERS), limit=st.integers(1, 10))
    def claim(self, consumer: str, limit: int) -> None:
        self.backend.maintain(256)
        for one in self.backend.claim(consumer, limit, 0):
            assert one.must_begin
            self.is_uncharged(one)
            self.held[one.receipt] = one

    @rule(picked=st.lists(picks, min_size=1, max_size=6))
    def begin(self, picked: Sequence[int]) -> None:
        """Also what began already, as after a reply that was lost, and what is not held any more."""
        receipts = list(self.held)
        self.ask([receipts[pick % len(receipts)] for pick in picked] if receipts else [])

    @rule(pick=picks, verdict=st.sampled_from([Done(), Done(), Done(), Retry(), Retry(5_000)]))
    def settle(self, pick: int, verdict: Verdict) -> None:
        running = [receipt for receipt in self.held if receipt in self.begun]
        if running:
            receipt = running[pick % len(running)]
            self.backend.settle([Settlement(receipt, verdict)])
            del self.held[receipt]

    @rule(consumer=st.sampled_from(CONSUMERS))
    def crash(self, consumer: str) -> None:
        """Nothing had begun as far as the store is told, so nothing is charged."""
        self.backend.release(consumer, [])

    @rule(pick=picks, way=st.sampled_from(["cancel", "delete"]))
    def administer(self, pick: int, way: str) -> None:
        if self.ids:
            getattr(self.backend, way)([self.ids[pick % len(self.ids)]])

    def ask(self, receipts: Sequence[str]) -> None:
        before = self.harness.clock()
        statuses = self.backend.begin(receipts)
        moments = before, self.harness.clock()
        for receipt, status in zip(receipts, statuses, strict=True):
            message = self.held[receipt].message
            assert isinstance(message, Message)
            if receipt in self.begun:
                assert status in (StartStatus.RUN, StartStatus.LOST), "a repeat was turned away"
            elif status is StartStatus.RUN:
                self.begun.add(receipt)
                for gate in message.gates:
                    self.starts.setdefault(gate, []).append(moments)

    def is_uncharged(self, one: Delivery) -> None:
        assert isinstance(one.message, Message)
        assert one.message.deferrals == 0

    def check(self) -> None:
        """No window of n intervals has more than burst + n starts."""
        for gate, times in self.starts.items():
            pace = PACES[gate.removeprefix("rate:").partition("/")[0]]
            for first in range(len(times)):
                for last in range(first, len(times)):
                    intervals = 1_000 * (times[last][1] - times[first][0]) // pace.interval_us
                    assert last - first + 1 <= pace.burst + intervals, f"{gate}: {times[first : last + 1]}"

    def drain(self) -> None:
        for consumer in CONSUMERS:
            self.backend.release(consumer, [])
        self.held.clear()
        left = [info for info in self.backend.show(self.ids) if info is not None and not info.status.ended]
        self.harness.advance(5_000)
        slowest = max(pace.interval_us for pace in PACES.values()) // 1_000
        for _ in range(4 * len(left) + 8):
            self.claim("one", 100)
            receipts = list(self.held)
            self.ask(receipts)
            self.backend.settle([Settlement(receipt, Done()) for receipt in receipts if receipt in self.begun])
            self.held.clear()
            depth = self.backend.depth()
            if depth.ready + depth.in_flight + depth.delayed + depth.blocked == 0:
                break
            self.harness.advance(slowest)
        states = [info.status for info in self.backend.show(self.ids) if info is not None]
        assert all(state.ended for state in states), "a task has starved"
        assert tokens(self.rates) == {}
        if isinstance(self.harness, MemoryHarness):
            self.harness.advance(60_000)
            self.backend.maintain(256)
            assert len(self.harness.store.groups(self.harness.stream_key)["cg"].gates) == 0


def test_memory() -> None:
    """The backend in memory."""
    run(RateMachine, in_memory, 150, 60)


def test_sqlite() -> None:
    """A file."""
    run(RateMachine, in_file, 10, 40)


def test_fakeredis() -> None:
    """The scripts of Redis in a server in this process."""
    run(RateMachine, on_fakeredis, 4, 40)


@pytest.mark.parametrize("kind", kinds_to_test())
def test_a_server(kind: ServerKind, servers: Servers) -> None:
    """A real server."""
    run(RateMachine, on_server(servers(kind).url), 4, 30)


FOUND = ["NeverTurnedAway", "RepeatCountsAgain", "BurstOneTooMany", "SavesUp", "TurnedAwayIsCharged", "WaitsForEver"]


@pytest.mark.parametrize("name", FOUND)
def test_a_wrong_backend_is_found(name: str) -> None:
    """Each wrong backend fails within a few sequences."""
    assert_found(RateMachine, next(one for one in PLANTED if one.name == name and one.law == "L6"), 60)


@pytest.mark.soak
def test_memory_for_long() -> None:
    """Many more and longer sequences."""
    run(RateMachine, in_memory, 3_000, 120)


@pytest.mark.soak
@pytest.mark.parametrize("kind", kinds_to_test())
def test_a_server_for_long(kind: ServerKind, servers: Servers) -> None:
    """Many more and longer sequences."""
    run(RateMachine, on_server(servers(kind).url), 300, 80)


@pytest.mark.soak
def test_sqlite_for_long() -> None:
    """Many more and longer sequences."""
    run(RateMachine, in_file, 300, 80)
