"""Random sequences of what can happen to tasks of a fair queue, on every store, against an oracle that knows no tags.

The store shows who stands in a fair line, and at which number. After each step: the numbers have no gaps, nobody has
overtaken, those that left the line to be claimed were its first ones, and of each two flows that both wait, as many
were drawn as their weights say (F1). A claim returns something while anything is ready (F2). At the end, when
everything is settled, nothing is left (F4).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from typing import ClassVar

import pytest
from attrs import define, field
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from pyxqueue.model.message import (
    FLOW_VERSION,
    Cancelled,
    Defer,
    Delivery,
    Done,
    Fail,
    Message,
    Retry,
    Settlement,
    TaskInfo,
    TaskStatus,
    Verdict,
)
from pyxqueue.model.priorities import class_of
from pyxqueue.protocols import fair_lines_of
from pyxqueue.testing.contract.steps import job
from pyxqueue.testing.servers import ServerKind
from tests.contract.wrong import PLANTED

from ..conftest import Servers, kinds_to_test
from ..support.machines import MakeHarness, in_file, in_memory, on_fakeredis, on_server, run
from ..support.planted import assert_found

DELAY = 600_000
"""Much longer than a run takes, since the clock of a server goes on by itself."""
SHARES = {"a": 1_000, "b": 1_000, "c": 500, "d": 4_000}
CONSUMERS = ("one", "two")
CROWD = 100
"""From so many tasks on, none come by the dozen: each look reads all of them, which takes fakeredis a tenth of a second
for 300."""
picks = st.integers(0, 30)
verdicts = st.sampled_from([Done(), Done(), Retry(), Retry(DELAY), Defer(), Defer(DELAY), Fail("no"), Cancelled()])
Flow = tuple[int, str, bool]
"""Priority class, tenant, and whether its tasks came back."""


@define
class Span:
    """How many of two flows were drawn, by weight, while both wait: the difference, and between which it was."""

    now: float = 0.0
    least: float = 0.0
    most: float = 0.0

    def drawn(self, share: int) -> None:
        self.now += share
        self.least, self.most = min(self.least, self.now), max(self.most, self.now)


@define
class Lines:
    """What was seen of the lines."""

    standing: dict[str, Flow] = field(factory=dict)
    """By id, in the order of each line."""
    spans: dict[tuple[Flow, Flow], Span] = field(factory=dict)
    gaps: set[Flow] = field(factory=set)
    """The flows of which a task left undrawn while they wait: its place in the order stays empty (F1)."""

    def see(self, shown: Sequence[tuple[str, Flow]], gone: set[str]) -> None:
        """`shown`: who stands in the lines now; `gone`: who left them without being drawn."""
        now = dict(shown)
        left = [one for one in self.standing if one not in now and one not in gone]
        for number in {flow[0] for flow in self.standing.values()}:
            before = [one for one, flow in self.standing.items() if flow[0] == number]
            stay = [one for one in before if one in now]
            assert [one for one in now if one in stay] == stay, f"the order has changed: {stay}"
            drawn = [one for one in before if one in left]
            rest = [one for one in before if one not in gone]
            assert drawn == rest[: len(drawn)], f"{drawn} were drawn, and these were first: {rest}"
        self.gaps |= {flow for one, flow in self.standing.items() if one in gone}
        for flow in self.gaps:
            self.forget(flow)
        for one in left:
            self.draw(one)
        self.standing = now
        waiting = set(now.values())
        self.gaps &= waiting
        judged = waiting - self.gaps
        self.spans = {pair: span for pair, span in self.spans.items() if judged.issuperset(pair)}
        for pair in combinations(sorted(judged), 2):
            if pair[0][0] == pair[1][0]:
                self.spans.setdefault(pair, Span())

    def draw(self, one: str) -> None:
        flow = self.standing.pop(one)
        for (first, second), span in self.spans.items():
            if flow in {first, second}:
                shares = SHARES[first[1]], SHARES[second[1]]
                span.drawn(shares[0] if flow == first else -shares[1])
                wide = max(span.now - span.least, span.most - span.now)
                assert wide <= sum(shares), f"{first} and {second} differ by {wide}"
        if flow not in self.standing.values():
            self.forget(flow)

    def forget(self, flow: Flow) -> None:
        self.spans = {pair: span for pair, span in self.spans.items() if flow not in pair}


class FairMachine(RuleBasedStateMachine):
    """Does things to a store, and looks at it after each."""

    make_harness: ClassVar[MakeHarness]

    def __init__(self) -> None:
        super().__init__()
        self.context = type(self).make_harness()
        self.harness = self.context.__enter__()
        self.backend = self.harness.open(history=1_000)
        lines = fair_lines_of(self.backend)
        assert lines is not None
        self.fair_lines = lines
        self.lines = Lines()
        self.messages: dict[str, Message] = {}
        self.came_back: set[str] = set()
        """The tasks that were delayed, retried or requeued since they were enqueued."""
        self.ended: set[str] = set()
        """The tasks that were seen to have ended or gone: only a requeue brings one back."""
        self.deliveries: list[Delivery] = []

    def teardown(self) -> None:
        try:
            self.drain()
        finally:
            self.backend.close()
            self.context.__exit__(None, None, None)

    # -- what happens

    @rule(
        tenant=st.sampled_from("aaabcd"),
        count=st.sampled_from([1, 1, 2, 6]),
        late=st.sampled_from([0, 0, 0, DELAY]),
        priority=st.sampled_from([0, 0, 0, 60]),
        again=st.booleans(),
    )
    def enqueue(self, tenant: str, count: int, late: int, priority: int, again: bool) -> None:
        """`again`: the reply was lost, and the call is repeated."""
        first = len(self.messages)
        new = [
            job(
                f"t{number}", share=SHARES[tenant], tenant=tenant, delay_ms=late, priority=priority, v=FLOW_VERSION
            )
            for number in range(first, first + count)
        ]  # fmt: skip
        self.messages |= {one.id: one for one in new}
        if late:
            self.came_back |= {one.id for one in new}
        assert list(self.backend.enqueue(new)) == [True] * count
        if again:
            assert list(self.backend.enqueue(new)) == [False] * count
        self.look()

    @precondition(lambda self: len(self.messages) - len(self.ended) < CROWD)
    @rule(first=st.sampled_from("abcd"), second=st.sampled_from("abcd"))
    def come_later(self, first: str, second: str) -> None:
        """Some tasks of a tenant are drawn before another one comes."""
        self.enqueue(first, 6, 0, 0, False)
        self.claim("one", 4, False)
        self.enqueue(second, 6, 0, 0, False)
        self.claim("one", 4, False)

    @rule(consumer=st.sampled_from(CONSUMERS), limit=st.integers(1, 4), lost=st.sampled_from([False, False, True]))
    def claim(self, consumer: str, limit: int, lost: bool) -> None:
        """`lost`: the reply does not arrive, and the tasks are held by nobody who knows."""
        ready, paused = self.backend.depth().ready, self.backend.is_paused()
        found = self.backend.claim(consumer, limit, 0)
        assert found or not ready or paused, f"a claim returned nothing of {ready}"
        assert not found or not paused
        if not lost:
            self.deliveries += found
        self.look()

    @rule(pick=picks, verdict=verdicts)
    def settle(self, pick: int, verdict: Verdict) -> None:
        """Any delivery so far, so that stale receipts and repeats are as common as current ones."""
        if not self.deliveries:
            return
        one = self.deliveries[-1 - pick % len(self.deliveries)]
        before = self.shown()
        if not self.backend.settle([Settlement(one.receipt, verdict)])[0]:
            assert self.shown() == before
        else:
            self.came_back.add(one.message.id)
            if verdict == Defer():
                assert one.message.id not in dict(self.shown()), "what was handed back has to wait again"
        self.look()

    @rule(consumer=st.sampled_from(CONSUMERS))
    def crash(self, consumer: str) -> None:
        held = {one for row in self.backend.consumers() if row.name == consumer for one in row.in_flight}
        self.backend.release(consumer, [one.receipt for one in self.deliveries[-2:]])
        assert held.isdisjoint(dict(self.shown())), "what a dead worker held has to wait again"
        self.came_back |= held
        self.look()

    @rule()
    def time_passes(self) -> None:
        """All leases end, and all delays."""
        self.came_back |= {one for row in self.backend.consumers() for one in row.in_flight}
        self.harness.advance(self.harness.lease + DELAY)
        self.look()

    @rule(pick=picks, way=st.sampled_from(["cancel", "delete", "requeue"]))
    def administer(self, pick: int, way: str) -> None:
        if not self.messages:
            return
        task_id = list(self.messages)[pick % len(self.messages)]
        if getattr(self.backend, way)([task_id])[0] and way == "requeue":
            self.came_back.add(task_id)
            self.ended.discard(task_id)
        self.look(gone={task_id} if way != "requeue" else set())

    @rule(paused=st.booleans())
    def pause(self, paused: bool) -> None:
        (self.backend.pause if paused else self.backend.resume)()
        self.look()

    # -- what must hold

    def infos(self) -> list[TaskInfo]:
        asked = [one for one in self.messages if one not in self.ended]
        found = [info for info in self.backend.show(asked) if info is not None and not info.status.ended]
        self.ended.update(set(asked) - {info.id for info in found})
        return found

    def shown(self) -> list[tuple[str, Flow]]:
        """Who stands in the lines, by their numbers."""
        return self.in_line(self.infos())

    def in_line(self, infos: Sequence[TaskInfo]) -> list[tuple[str, Flow]]:
        return [
            (info.id, (class_of(self.messages[info.id].priority), self.messages[info.id].tenant, came_back))
            for info in sorted(infos, key=lambda one: one.line)
            if info.line
            for came_back in [info.id in self.came_back]
        ]

    def look(self, gone: set[str] = frozenset()) -> None:  # type: ignore[assignment] # nothing changes it
        self.look_once(gone)
        self.backend.maintain(256)
        self.look_once(gone)

    def look_once(self, gone: set[str]) -> None:
        infos = self.infos()
        shown = self.in_line(infos)
        self.lines.see(shown, gone)
        for number in {flow[0] for _, flow in shown}:
            ids = {one for one, flow in shown if flow[0] == number}
            numbers = sorted(info.line for info in infos if info.id in ids)
            assert numbers == list(range(1, len(ids) + 1)), f"the numbers in a line are {numbers}"
        assert all(
            info.status in {TaskStatus.PENDING, TaskStatus.RETRY} and not info.gate for info in infos if info.line
        )
        waiting = Counter(flow[1] for _, flow in shown)
        assert {one.tenant: one.waiting for one in self.fair_lines.tenants(99)} == waiting
        assert self.backend.depth().ready >= len(shown)

    def drain(self) -> None:
        self.backend.resume()
        for consumer in CONSUMERS:
            self.backend.release(consumer, [])
        self.harness.advance(2 * DELAY)
        self.look()
        for _ in range(2 * len(self.messages) + 4):
            found = self.backend.claim("one", 3, 0)
            self.backend.settle([Settlement(one.receipt, Done()) for one in found])
            self.look()
            if not found and not self.infos():
                break
        depth = self.backend.depth()
        assert (depth.ready, depth.in_flight, depth.delayed, depth.blocked) == (0, 0, 0, 0)
        assert self.fair_lines.tenants(9) == []


def test_memory() -> None:
    """The backend in memory."""
    run(FairMachine, in_memory, 10, 30)


FOUND = ["EqualWeights", "SavesUp", "ChargesNewcomers", "DrawnTwice", "NewestFirst", "KeepsTenants"]


@pytest.mark.parametrize("name", FOUND)
def test_a_wrong_backend_is_found(name: str) -> None:
    """Each wrong backend fails within a few sequences."""
    assert_found(FairMachine, next(one for one in PLANTED if one.name == name))


def test_sqlite() -> None:
    """A file."""
    run(FairMachine, in_file, 3, 30)


def test_fakeredis() -> None:
    """The scripts of Redis in a server in this process."""
    run(FairMachine, on_fakeredis, 2, 30)


@pytest.mark.parametrize("kind", kinds_to_test())
def test_a_server(kind: ServerKind, servers: Servers) -> None:
    """A real server."""
    run(FairMachine, on_server(servers(kind).url), 2, 30)


@pytest.mark.soak
@pytest.mark.parametrize("kind", kinds_to_test())
def test_a_server_for_long(kind: ServerKind, servers: Servers) -> None:
    """Many more and longer sequences."""
    run(FairMachine, on_server(servers(kind).url), 400, 80)


@pytest.mark.soak
def test_sqlite_for_long() -> None:
    """Many more and longer sequences."""
    run(FairMachine, in_file, 400, 80)
