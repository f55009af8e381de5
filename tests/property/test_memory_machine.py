"""The machine runs on the in-memory backend, and finds what is wrong with wrong ones."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from pyxqueue.backends.memory.group import Group
from pyxqueue.testing.machine import HISTORY, backend_machine
from pyxqueue.testing.memory import MemoryHarness
from tests.contract.wrong import PLANTED, Wrong
from tests.contract.wrong.prelude import harness_of

from ..support.machines import MakeHarness, in_file, in_memory, replay

TestMemory = backend_machine(lambda: nullcontext(MemoryHarness())).TestCase
TestMemory.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)

FOUND = [
    "EnqueueNotIdempotent",
    "LimitIgnored",
    "LastInFirstOut",
    "WhatComesBackGoesToTheEnd",
    "WhatComesBackGoesFirst",
    "NewOnesAreServedLast",
    "TurnsEndWithTheClaim",
    "DelayedAtFirstIsNew",
    "RequeuedIsNew",
    "FenceStandsStill",
    "LeaseNeverEnds",
    "SettleFencedByConsumer",
    "RefusedSettlementStoresRecord",
    "DelayIgnored",
    "RetryDoesNotCount",
    "body_is_decoded",
    "PagesLeaveGaps",
    "LateRetriesExpire",
    "WhatComesBackDoesNotExpire",
    "NewOnesAreHandedOut",
]
# How a failure can be made shorter does not matter. So many are tried at most; the first that differs ends the test,
# mostly one of the first 300. Which sequences these are depends on the tests that ran before, since Hypothesis takes
# constants from the modules that are imported.
THOROUGH = settings(
    max_examples=3_000,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("wrong", [wrong for wrong in PLANTED if wrong.name in FOUND], ids=lambda wrong: wrong.name)
def test_a_wrong_backend_is_found(wrong: Wrong) -> None:
    """Random sequences lead a wrong backend into a step in which it differs from the model."""
    machine = backend_machine(lambda: nullcontext(wrong.harness()))

    with pytest.raises(AssertionError):
        run_state_machine_as_test(machine, settings=THOROUGH)


def test_the_wrong_backends_are_there() -> None:
    """A wrong backend that is renamed does not drop out unseen."""
    assert set(FOUND) <= {wrong.name for wrong in PLANTED}


class PromoteReclaims(Group):
    """Between the end of a lease and the next claim, `maintain` already takes the message back."""

    def maintain(self, limit: int | None, now: int) -> int:
        if limit != 0:  # 0 is no maintenance: the store looks when the next one is due, or admits what a limit held
            self.reclaim(now)
            self.trim(HISTORY, now)  # a cancelled task has ended
        return super().maintain(limit, now)


def test_a_backend_may_say_that_maintain_reclaims() -> None:
    """Declared, it is compared with a model that does so too; not declared, it is found."""
    harness = harness_of(PromoteReclaims)

    run_state_machine_as_test(
        backend_machine(lambda: nullcontext(harness()), maintain_reclaims=True), settings=settings(max_examples=30)
    )
    with pytest.raises(AssertionError):
        run_state_machine_as_test(backend_machine(lambda: nullcontext(harness())), settings=THOROUGH)


@pytest.mark.parametrize("make", [in_memory, in_file], ids=["memory", "sqlite"])
def test_what_has_expired_ends_before_what_is_taken_over(make: MakeHarness) -> None:
    """Which of them the history forgets is that of the backend: a sequence in which the model had forgotten another."""
    state: Any = backend_machine(make)()
    try:
        replay(
            state,
            lambda: state.advance(steps=1),
            lambda: state.claim(consumer="one", limit=1, lost=False),
            lambda: state.enqueue(tasks=[(("a", False), 0, 0)]),
            lambda: state.enqueue(tasks=[(("a", True), 0, 0), (("b", False), 0, 4), (("e", False), 0, 4)]),
            lambda: state.advance(steps=1),
            lambda: state.advance(steps=1),
            lambda: state.run_again(consumer="one", slot="e"),
            lambda: state.administer(action="cancel", chosen=["a"]),
            lambda: state.take_over(consumer="one", other="two"),
            lambda: state.enqueue(tasks=[(("a", True), 0, 1), (("a", True), 0, 1), (("a", True), 0, 2)]),
            lambda: state.advance(steps=3),
        )
    finally:
        state.teardown()
