"""Random sequences of what can happen to tasks while their names are paused and resumed, against an oracle.

It knows which names are paused, and who holds what. Only what is held and not paused may begin, tokens stay within
their limit, nothing is charged; and at the end, after all pauses, everything has run, and nothing is left in any line.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from pyxqueue.model.limits import task_gate
from pyxqueue.model.message import FLOW_VERSION, Delivery, Done, Message, Retry, Settlement, StartStatus, Verdict
from pyxqueue.protocols import limit_pausing_of
from pyxqueue.testing.contract.steps import limited, tokens
from pyxqueue.testing.memory import MemoryHarness
from pyxqueue.testing.servers import ServerKind
from tests.contract.wrong import PLANTED

from ..conftest import Servers, kinds_to_test
from ..support.machines import MakeHarness, in_file, in_memory, on_fakeredis, on_server, run
from ..support.planted import assert_found

NAMES = ("shop.one", "shop.two", "shop.three")
CONSUMERS = ("one", "two")
picks = st.integers(0, 30)
names = st.sampled_from(NAMES)


class NamedPauseMachine(RuleBasedStateMachine):
    """Does things to a store, and writes down what is paused, held and begun."""

    make_harness: ClassVar[MakeHarness]

    def __init__(self) -> None:
        super().__init__()
        self.context = type(self).make_harness()
        self.harness = self.context.__enter__()
        self.backend = self.harness.open(history=10_000)
        limits, pauses = limited(self.backend, api=2), limit_pausing_of(self.backend)
        assert limits is not None
        assert pauses is not None
        self.limits, self.pauses = limits, pauses
        self.ids: list[str] = []
        self.paused: set[str] = set()
        self.held: dict[str, tuple[str, Delivery]] = {}
        """By receipt, what is in flight: the consumer, and the delivery."""
        self.begun: set[str] = set()

    def teardown(self) -> None:
        try:
            self.drain()
        finally:
            self.backend.close()
            self.context.__exit__(None, None, None)

    @rule(name=names, gate=st.sampled_from(["", "", "api/x", "api/y"]), priority=st.sampled_from([0, 0, 0, 60]))
    def enqueue(self, name: str, gate: str, priority: int) -> None:
        for _ in range(3):
            self.ids.append(f"t{len(self.ids)}")
            gates, version = ((gate,), FLOW_VERSION) if gate else ((), 1)
            self.backend.enqueue([Message(self.ids[-1], name, gates=gates, v=version, priority=priority)])

    @rule(name=names)
    def pause(self, name: str) -> None:
        assert self.pauses.pause(task_gate(name)) is (name not in self.paused)
        self.paused.add(name)

    @rule(name=names)
    def resume(self, name: str) -> None:
        assert self.pauses.resume(task_gate(name)) is (name in self.paused)
        self.paused.discard(name)

    @rule(consumer=st.sampled_from(CONSUMERS), limit=st.integers(1, 10))
    def claim(self, consumer: str, limit: int) -> None:
        self.backend.maintain(256)
        for one in self.backend.claim(consumer, limit, 0):
            assert isinstance(one.message, Message)
            assert one.must_begin is bool(self.paused)
            assert one.message.deferrals == 0
            self.held[one.receipt] = consumer, one
            if not one.must_begin:
                self.begun.add(one.receipt)
        assert all(used <= 2 for used, _ in tokens(self.limits).values())

    @rule(picked=st.lists(picks, min_size=1, max_size=6, unique=True))
    def begin(self, picked: Sequence[int]) -> None:
        receipts = [receipt for receipt in self.held if receipt not in self.begun]
        self.ask([receipt for number, receipt in enumerate(receipts) if number in picked])

    @rule(pick=picks, verdict=st.sampled_from([Done(), Done(), Retry(), Retry(5_000)]))
    def settle(self, pick: int, verdict: Verdict) -> None:
        running = [receipt for receipt in self.held if receipt in self.begun]
        if running:
            receipt = running[pick % len(running)]
            assert list(self.backend.settle([Settlement(receipt, verdict)])) == [True]
            del self.held[receipt]

    @rule(consumer=st.sampled_from(CONSUMERS))
    def release(self, consumer: str) -> None:
        self.backend.release(consumer, [])
        self.held = {receipt: one for receipt, one in self.held.items() if one[0] != consumer}

    @rule(pick=picks, way=st.sampled_from(["cancel", "delete", "requeue"]))
    def administer(self, pick: int, way: str) -> None:
        if self.ids:
            getattr(self.backend, way)([self.ids[pick % len(self.ids)]])

    @rule(ms=st.sampled_from([1, 500, 6_000]))
    def time_passes(self, ms: int) -> None:
        """Less than a lease; who holds something extends it."""
        self.backend.maintain(256)
        self.harness.advance(ms if not self.held else 1)

    def ask(self, receipts: Sequence[str]) -> None:
        """What is not paused may begin; the rest is not held any more."""
        for receipt, status in zip(receipts, self.backend.begin(receipts), strict=True):
            message = self.held[receipt][1].message
            assert isinstance(message, Message)
            assert status is (StartStatus.LATER if message.name in self.paused else StartStatus.RUN)
            if status is StartStatus.RUN:
                self.begun.add(receipt)
            else:
                del self.held[receipt]

    def drain(self) -> None:
        for consumer in CONSUMERS:
            self.release(consumer)
        for name in NAMES:
            self.resume(name)
        self.harness.advance(6_000)
        for _ in range(len(self.ids) + 8):
            self.claim("one", 100)
            self.backend.settle([Settlement(receipt, Done()) for receipt in self.held])
            self.held.clear()
        states = [info.status for info in self.backend.show(self.ids) if info is not None]
        assert all(state.ended for state in states), "a task is left"
        assert tokens(self.limits) == {}
        assert self.backend.depth().blocked == 0
        if isinstance(self.harness, MemoryHarness):
            assert len(self.harness.store.groups(self.harness.stream_key)["cg"].gates) == 0


def test_memory() -> None:
    """The backend in memory."""
    run(NamedPauseMachine, in_memory, 60, 60)


def test_sqlite() -> None:
    """A file."""
    run(NamedPauseMachine, in_file, 6, 40)


def test_fakeredis() -> None:
    """The scripts of Redis in a server in this process."""
    run(NamedPauseMachine, on_fakeredis, 3, 40)


@pytest.mark.parametrize("kind", kinds_to_test())
def test_a_server(kind: ServerKind, servers: Servers) -> None:
    """A real server."""
    run(NamedPauseMachine, on_server(servers(kind).url), 4, 40)


FOUND = ["APausedNameStarts", "EveryNameIsPaused", "TheLineOfANameIsForgotten", "ATokenIsKeptInThePause"]


@pytest.mark.parametrize("name", FOUND)
def test_a_wrong_backend_is_found(name: str) -> None:
    """Each wrong backend fails within a few sequences."""
    assert_found(NamedPauseMachine, next(one for one in PLANTED if one.name == name and one.law == "L9"), 60)


@pytest.mark.soak
@pytest.mark.parametrize("kind", kinds_to_test())
def test_a_server_for_long(kind: ServerKind, servers: Servers) -> None:
    """Many more and longer sequences."""
    run(NamedPauseMachine, on_server(servers(kind).url), 300, 80)


@pytest.mark.soak
def test_sqlite_for_long() -> None:
    """Many more and longer sequences."""
    run(NamedPauseMachine, in_file, 300, 80)
