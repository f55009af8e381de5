"""Random sequences of what can happen to tasks with limits, on every store, against an oracle that knows no algorithm.

After each step and a `maintain`: the tokens that are out are those of the tasks that are ready or in flight, none is
given out above the number, who waits has a gate without room, and those with the same gates come in the order in which
they had to wait. At the end, when everything is settled, nothing is left.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import ClassVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from pyxqueue.model.limits import limit_of
from pyxqueue.model.message import (
    Cancelled,
    Defer,
    Delivery,
    Done,
    Fail,
    Retry,
    Settlement,
    TaskInfo,
    TaskStatus,
    Verdict,
)
from pyxqueue.testing.contract.steps import gated, limited, tokens
from pyxqueue.testing.servers import ServerKind
from tests.contract.wrong import PLANTED

from ..conftest import Servers, kinds_to_test
from ..support.machines import MakeHarness, in_file, in_memory, on_fakeredis, on_server, run
from ..support.planted import assert_found

DELAY = 600_000
"""Much longer than a run takes, since the clock of a server goes on by itself."""
LIMITS = {"all": 4, "api": 2, "ten": 1}
CONSUMERS = ("one", "two")
keys = st.sampled_from(["", "ten/a", "ten/b", "ten/c"])
gates = st.tuples(st.booleans(), st.sampled_from(["", "api/x", "api/y"]), keys)
picks = st.integers(0, 30)
verdicts = st.sampled_from([Done(), Done(), Retry(), Retry(DELAY), Defer(), Defer(DELAY), Fail("no"), Cancelled()])


class LimitMachine(RuleBasedStateMachine):
    """Does things to a store, and looks at it after each."""

    make_harness: ClassVar[MakeHarness]

    def __init__(self) -> None:
        super().__init__()
        self.context = type(self).make_harness()
        self.harness = self.context.__enter__()
        self.backend = self.harness.open(history=1_000)
        limits = limited(self.backend, **LIMITS)
        assert limits is not None
        self.limits = limits
        self.numbers: dict[str, int] = dict(LIMITS)
        self.ids: list[str] = []
        self.delayed: set[str] = set()
        self.deliveries: list[Delivery] = []
        self.used: Counter[str] = Counter()
        self.waits: dict[str, int] = {}
        """By id, when a task was first seen to wait."""
        self.step = 0

    def teardown(self) -> None:
        try:
            self.drain()
        finally:
            self.backend.close()
            self.context.__exit__(None, None, None)

    # -- what happens

    @rule(wanted=gates, late=st.sampled_from([0, 0, 0, DELAY]))
    def enqueue(self, wanted: tuple[bool, str, str], late: int) -> None:
        names = sorted(name for name in ("all/" if wanted[0] else "", *wanted[1:]) if name)
        task_id = f"t{len(self.ids)}"
        assert list(self.backend.enqueue([gated(task_id, *names, delay_ms=late)])) == [True]
        self.ids.append(task_id)
        if late:
            self.delayed.add(task_id)
        self.look()

    @rule(consumer=st.sampled_from(CONSUMERS), limit=st.integers(1, 4), lost=st.sampled_from([False, False, True]))
    def claim(self, consumer: str, limit: int, lost: bool) -> None:
        """`lost`: the reply does not arrive, and the tasks are held by nobody who knows."""
        found = self.backend.claim(consumer, limit, 0)
        if not lost:
            self.deliveries += found
        self.look()

    @rule(pick=picks, verdict=verdicts)
    def settle(self, pick: int, verdict: Verdict) -> None:
        """Any delivery so far, so that stale receipts and repeats are as common as current ones."""
        if not self.deliveries:
            return
        one = self.deliveries[-1 - pick % len(self.deliveries)]
        before = tokens(self.limits)
        accepted = self.backend.settle([Settlement(one.receipt, verdict)])[0]
        if not accepted:
            assert tokens(self.limits) == before
        elif isinstance(verdict, Retry | Defer) and verdict.delay_ms:
            self.delayed.add(one.message.id)
        self.look(again={one.message.id} if accepted else set())

    @rule(consumer=st.sampled_from(CONSUMERS))
    def crash(self, consumer: str) -> None:
        held = {one for row in self.backend.consumers() if row.name == consumer for one in row.in_flight}
        self.backend.release(consumer, [one.receipt for one in self.deliveries[-2:]])
        self.look(again=held)

    @rule()
    def time_passes(self) -> None:
        """All leases end, and all delays."""
        held = {one for row in self.backend.consumers() for one in row.in_flight}
        self.harness.advance(self.harness.lease + DELAY)
        self.backend.maintain(256)
        self.delayed.clear()
        self.deliveries += self.backend.claim("two", 1, 0)
        self.look(again=held)

    @rule(pick=picks, way=st.sampled_from(["cancel", "delete", "requeue"]))
    def administer(self, pick: int, way: str) -> None:
        if not self.ids:
            return
        task_id = self.ids[pick % len(self.ids)]
        if getattr(self.backend, way)([task_id])[0] and way != "cancel":
            self.delayed.discard(task_id)
        self.look(again={task_id} if way == "requeue" else set())

    @rule(name=st.sampled_from([*LIMITS, "ten/a"]), number=st.sampled_from([None, 0, 1, 2, 5]))
    def set_number(self, name: str, number: int | None) -> None:
        self.limits.set(name, number)
        if number is None:
            self.numbers.pop(name, None)
        else:
            self.numbers[name] = number
        self.look()

    # -- what must hold

    def number(self, gate: str) -> int:
        return self.numbers.get(gate, self.numbers.get(limit_of(gate), 10**9))

    def look(self, again: Sequence[str] | set[str] = ()) -> None:
        """`again`: the tasks that were in flight or had ended, which come last if they wait now."""
        self.backend.maintain(256)
        self.step += 1
        infos = [info for info in self.backend.show(self.ids) if info is not None and not info.status.ended]
        live = [info for info in infos if not info.gate and info.id not in self.delayed]
        used = Counter(gate for info in live for gate in gates_of(info))
        waiting = Counter(info.gate for info in infos if info.gate)
        seen = tokens(self.limits)
        assert seen == {gate: (used[gate], waiting[gate]) for gate in {*used, *waiting}}
        for gate, count in used.items():
            assert count <= max(self.number(gate), self.used[gate]), f"{gate} has {count}"
        for info in infos:
            if info.gate:
                assert info.status is not TaskStatus.STARTED
                assert used[info.gate] >= self.number(info.gate), f"{info.id} waits at {info.gate}, which has room"
        self.check_order([info for info in infos if info.gate], {info.id for info in live}, set(again))
        depth = self.backend.depth()
        assert (depth.blocked, depth.delayed) == (sum(waiting.values()), len(infos) - len(live) - sum(waiting.values()))
        self.used = used

    def check_order(self, blocked: Sequence[TaskInfo], live: set[str], again: set[str]) -> None:
        """Of those with the same gates, nobody was admitted who had to wait after one that waits still."""
        still = {info.id: gates_of(info) for info in blocked}
        admitted = [one for one in self.waits if one not in still and one in live and one not in again]
        shown = {info.id: gates_of(info) for info in self.backend.show(admitted) if info is not None}
        for one in admitted:
            later = [
                other for other, names in still.items() if names == shown.get(one) and other not in again
                and self.waits.get(other, self.step) < self.waits[one]
            ]  # fmt: skip
            assert later == [], f"{one} was admitted before {later}"
        old = {one: at for one, at in self.waits.items() if one in still and one not in again}
        self.waits = old | {one: self.step for one in still if one not in old}

    def left(self) -> int:
        """How many tasks have not ended."""
        depth = self.backend.depth()
        return depth.ready + depth.in_flight + depth.delayed + depth.blocked

    def drain(self) -> None:
        for name in (*LIMITS, "ten/a"):
            self.limits.set(name, None if "/" in name else LIMITS[name])
            self.numbers.pop(name, None)
        for consumer in CONSUMERS:
            self.backend.release(consumer, [])
        for _ in range(2 * len(self.ids) + 4):
            self.harness.advance(2 * DELAY)
            self.backend.maintain(256)
            found = self.backend.claim("one", 100, 0)
            self.backend.settle([Settlement(one.receipt, Done()) for one in found])
            if not self.left():
                break
        assert self.left() == 0
        assert tokens(self.limits) == {}


def gates_of(info: TaskInfo) -> Sequence[str]:
    return info.readable.gates if info.readable else ()


def test_memory() -> None:
    """The backend in memory."""
    run(LimitMachine, in_memory, 60, 40)


FOUND = [
    "OneTooMany",
    "TakesWhatItCan",
    "RetryKeepsItsToken",
    "FreedIsForgotten",
    "LastComeFirstServed",
    "DueDoesNotAsk",
]


@pytest.mark.parametrize("name", FOUND)
def test_a_wrong_backend_is_found(name: str) -> None:
    """Each wrong backend fails within a few sequences."""
    assert_found(LimitMachine, next(one for one in PLANTED if one.name == name))


def test_sqlite() -> None:
    """A file."""
    run(LimitMachine, in_file, 10, 40)


def test_fakeredis() -> None:
    """The scripts of Redis in a server in this process."""
    run(LimitMachine, on_fakeredis, 5, 40)


@pytest.mark.parametrize("kind", kinds_to_test())
def test_a_server(kind: ServerKind, servers: Servers) -> None:
    """A real server."""
    run(LimitMachine, on_server(servers(kind).url), 6, 40)


@pytest.mark.soak
@pytest.mark.parametrize("kind", kinds_to_test())
def test_a_server_for_long(kind: ServerKind, servers: Servers) -> None:
    """Many more and longer sequences."""
    run(LimitMachine, on_server(servers(kind).url), 600, 80)


@pytest.mark.soak
def test_sqlite_for_long() -> None:
    """Many more and longer sequences."""
    run(LimitMachine, in_file, 600, 80)
