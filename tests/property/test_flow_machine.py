"""Random flows under everything that can happen to their tasks: every backend does what the model does, no task starts
early or twice, and none waits for ever."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial

import pytest
from attrs import define, field

from pyxqueue.model.flows import OnFailure, edge_text
from pyxqueue.model.message import FLOW_VERSION, Cancelled, Delivery, Message, Settlement, TaskStatus
from pyxqueue.protocols import Backend, HasFlows
from pyxqueue.testing.contract import Harness
from pyxqueue.testing.contract.steps import decided, defer, done, fail, job, retry, take
from pyxqueue.testing.memory import MemoryHarness
from tests.contract.wrong import PLANTED, Wrong
from tests.support.seeds import seeds_of

from ..support.machines import MakeHarness

Edges = dict[tuple[str, str], OnFailure]
DELAY, STEP = 15_000, 16_000
"""In ms: longer than a walk takes where the clock goes on by itself, and shorter than a lease."""
ENDS: dict[str, Callable[[Delivery], Settlement]] = {
    "done": done,
    "fail": fail,
    "retry": retry,
    "defer": lambda delivery: defer(delivery, DELAY),
    "cancel": lambda delivery: decided(delivery, Cancelled()),
}


def graph(chance: random.Random, flow: str) -> tuple[list[Message], Edges]:
    """The messages of a random flow, successors first, and its edges."""
    ids = [f"{flow}.{number}" for number in range(chance.randint(2, 8))]
    edges: Edges = {
        (one, other): chance.choice((OnFailure.FAIL, OnFailure.FAIL, OnFailure.CONTINUE, OnFailure.WAIT))
        for number, other in enumerate(ids)
        for one in ids[:number]
        if chance.random() < 0.4
    }
    messages = [
        job(
            one,
            flow=flow,
            after=tuple(before for before, other in edges if other == one),
            successors=tuple(edge_text(policy, other) for (before, other), policy in edges.items() if before == one),
            delay_ms=chance.choice((0, 0, 0, DELAY)),
            v=FLOW_VERSION,
        )
        for one in reversed(ids)
    ]
    return messages, edges


@define
class Walk:
    """One flow, on a backend and in the model."""

    harness: Harness
    chance: random.Random
    name: str
    model_harness: MemoryHarness = field(factory=MemoryHarness)
    edges: Edges = field(init=False)
    ids: list[str] = field(init=False)
    sides: list[Backend] = field(init=False)
    held: list[dict[str, Delivery]] = field(factory=lambda: [{}, {}])
    ended: dict[str, str] = field(factory=dict)
    """How tasks have ended, as this test knows it."""
    touched: set[str] = field(factory=set)
    """Those that were requeued, or whose predecessors were: they may run early."""
    uncounted: set[str] = field(factory=set)
    """Those that have ended for good: when they run again, and fail, they join their flow alone."""

    def __attrs_post_init__(self) -> None:
        messages, self.edges = graph(self.chance, self.name)
        self.ids = [message.id for message in messages]
        self.sides = [self.harness.open(), self.model_harness.open(lease=self.harness.lease)]
        for side in self.sides:
            assert all(side.enqueue(messages))

    def claim(self) -> None:
        for side, held in zip(self.sides, self.held, strict=True):
            for delivery in take(side):
                assert delivery.message.id not in held, "a task was handed out twice"
                held[delivery.message.id] = delivery
        assert self.held[0].keys() == self.held[1].keys()

    def settle(self, how: str | None = None) -> None:
        if not self.held[0]:
            return
        one = self.chance.choice(sorted(self.held[0]))
        how = how or self.chance.choice(("done", "done", "done", "fail", "retry", "defer", "cancel"))
        deliveries = [held.pop(one) for held in self.held]
        doomed = [delivery.message.doomed for delivery in deliveries if isinstance(delivery.message, Message)]
        assert doomed[0] == doomed[1]
        if doomed[0]:
            how = "fail"
        else:
            self.check_start(one)
        for side, delivery in zip(self.sides, deliveries, strict=True):
            zombie = Settlement("n1-1|nobody|nothing|", done(delivery).verdict)
            assert list(side.settle([zombie, ENDS[how](delivery), done(delivery)])) == [False, True, False]
        (left,) = self.sides[1].show([one])
        if (
            left is None or left.status.ended
        ):  # else it was doomed by a task that was retried meanwhile, if it has failed
            self.ended[one] = how if how in ("done", "fail") else "cancel"

    def check_start(self, one: str) -> None:
        """A task that starts has no predecessor that has not ended, or that dooms it."""
        if one in self.touched:
            return
        for (before, other), policy in self.edges.items():
            if other == one and before not in self.touched:
                how = self.ended.get(before)
                assert how is not None, f"{one} started before {before} has ended"
                assert how == "done" or policy is OnFailure.CONTINUE, f"{one} started although {before} ended as {how}"

    def release(self) -> None:
        for side in self.sides:
            side.release("one", [])
        for held in self.held:
            held.clear()
        for info in self.sides[1].show(self.ids):  # those that were cancelled have ended
            if info is not None and info.status is TaskStatus.CANCELLED:
                self.ended.setdefault(info.id, "cancel")

    def change(self, operation: str) -> None:
        one = self.chance.choice(self.ids)
        results = [list(getattr(side, operation)([one])) for side in self.sides]
        assert results[0] == results[1], f"{operation} of {one}"
        if not results[0][0]:
            return
        if operation in ("requeue", "rejoin"):
            self.runs_again(one, rejoins=operation == "rejoin")
        elif one not in self.held[0] and self.ended.get(one) != "done":
            self.ended[one] = operation

    def runs_again(self, one: str, *, rejoins: bool) -> None:
        """What waits for the task may have started before; the task itself only if it does not rejoin the flow."""
        if not rejoins or one in self.uncounted:
            self.touched.add(one)
        else:
            self.touched.discard(one)
        self.touched.update(other for before, other in self.edges if before == one)
        self.ended.pop(one, None)

    def retry(self) -> None:
        """Retry what has failed of the flow, as a whole."""
        results = [list(side.rejoin(self.ids)) for side in self.sides if isinstance(side, HasFlows)]
        assert results[0] == results[1]
        for one, rejoined in zip(self.ids, results[0], strict=True):
            if rejoined:
                self.runs_again(one, rejoins=True)

    def advance(self) -> None:
        self.release()  # so that no lease ends
        for harness in (self.harness, self.model_harness):
            harness.advance(STEP)

    def compare(self) -> None:
        shown = [side.show(self.ids) for side in self.sides]
        for one, (seen, wanted) in zip(self.ids, zip(*shown, strict=True), strict=True):
            assert (seen is None) == (wanted is None), one
            if seen is not None and wanted is not None:
                if seen.status.ended and seen.status is not TaskStatus.FAILURE:
                    self.uncounted.add(one)
                facts = [(i.status, i.waits_for, i.readable and i.readable.doomed) for i in (seen, wanted)]
                assert facts[0] == facts[1], one
        depths = [side.depth() for side in self.sides]
        assert depths[0].dependent == depths[1].dependent
        assert depths[0].delayed == depths[1].delayed

    def finish(self) -> None:
        """Let everything succeed; what still waits then, waits for failed tasks, and ends when these are retried."""
        for _ in range(60):
            self.advance()
            self.claim()
            while self.held[0]:
                self.settle("done")
            left = [info for info in self.sides[0].show(self.ids) if info is not None and not info.status.ended]
            if not left:
                return
            failed = [
                before
                for (before, other), policy in self.edges.items()
                if policy is OnFailure.WAIT and other in {info.id for info in left}
            ]
            for side in self.sides:
                states = [info for info in side.show(failed) if info is not None]
                side.requeue([info.id for info in states if info.status is TaskStatus.FAILURE])
            self.touched.update(self.ids)
        raise AssertionError(f"these wait for ever: {[info.id for info in left]}")


def walk(make: MakeHarness, seed: int, flows: int) -> None:
    chance = random.Random(seed)
    for number in range(flows):
        with make() as harness:
            one = Walk(harness, chance, f"flow{seed}-{number}")
            names = ("cancel", "cancel", "delete", "requeue", "requeue", "rejoin", "rejoin")
            changes = [partial(one.change, name) for name in names]
            steps: list[Callable[[], None]] = [*[one.claim] * 5, *[one.settle] * 9, one.release, one.advance, one.retry]
            steps += changes
            for _ in range(40):
                chance.choice(steps)()
                one.compare()
            one.finish()
            one.compare()


@pytest.mark.parametrize("seed", seeds_of(range(2)))
def test_flows_on_every_store(make: MakeHarness, seed: int) -> None:
    """Eight flows of up to eight tasks each."""
    walk(make, seed, 8)


FOUND = (
    "ReadyAtOnce",
    "TheFirstEndIsEnough",
    "ARequeueKeepsTheDoom",
    "AFailureDoesNotFire",
    "ACancellationDoesNotFire",
    "ADeletionDoesNotFire",
    "ARetryFires",
    "EveryEndOfARequeuedTaskFires",
    "AFailedTaskIsNotWaitedFor",
    "NoEdgeContinues",
    "OnlyTheFirstEdgeFires",
    "WaitingEdgesAreTakenBackTwice",
    "ADeletionFiresAgain",
    "ARetriedTaskDoomsStill",
    "ARejoinWaitsForNobody",
    "ADoomedTaskWaitsAgain",
    "ADoomedTaskFailsAllTheSame",
)


@pytest.mark.parametrize("wrong", [one for one in PLANTED if one.name in FOUND], ids=lambda one: one.name)
def test_a_wrong_backend_is_found(wrong: Wrong) -> None:
    """The walk tells it from the model within sixty flows."""
    with pytest.raises(AssertionError):
        walk(lambda: nullcontext(wrong.harness()), 0, 60)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", seeds_of(range(10, 20)))
def test_flows_on_every_store_for_long(make: MakeHarness, seed: int) -> None:
    """A hundred flows each."""
    walk(make, seed, 100)
