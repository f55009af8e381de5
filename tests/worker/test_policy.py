"""The verdict for each outcome."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyxqueue.model.message import (
    Aborted,
    Cancelled,
    Defer,
    Done,
    Fail,
    Failure,
    Message,
    Raised,
    Rejected,
    Retry,
    Returned,
    Unreadable,
    Unsupported,
)
from pyxqueue.options import TaskOptions
from pyxqueue.policy import MAX_DEFERRALS, NEWER_DELAY, admit, decide

FAILURE = Failure("ValueError", "no")
chances = st.floats(0, 1, exclude_max=True)
policies = st.builds(
    TaskOptions,
    retries=st.integers(0, 50),
    backoff=st.floats(0, 1000),
    backoff_max=st.floats(0, 100_000),
    jitter=st.floats(0, 1),
    max_crashes=st.integers(0, 10),
)
messages = st.builds(
    Message,
    id=st.just("id"),
    name=st.just("name"),
    attempt=st.integers(1, 60),
    crashes=st.integers(0, 12),
    deferrals=st.integers(0, 20),
)


@given(policies, st.integers(1, 10_000), chances)
def test_a_pause_keeps_to_its_bounds(policy: TaskOptions, attempt: int, chance: float) -> None:
    """It is between the full backoff and the part of it that is not random."""
    full = min(policy.backoff_max, policy.backoff * 2.0 ** min(attempt - 1, 60))

    pause = policy.pause(attempt, chance)

    assert full * (1 - policy.jitter) <= pause * (1 + 1e-9)
    assert pause <= full


def test_pauses_double() -> None:
    """They double up to `backoff_max` and then stay the same."""
    policy = TaskOptions(retries=9, backoff=1, backoff_max=10, jitter=0)

    assert [policy.pause(attempt, 0.5) for attempt in range(1, 7)] == [1, 2, 4, 8, 10, 10]


@given(policies, chances, st.sampled_from([None, 0, 3500]))
def test_never_more_runs_than_allowed(policy: TaskOptions, chance: float, delay_ms: int | None) -> None:
    """A task that always fails runs once, and once more for each retry."""
    message, runs = Message("id", "name"), 0
    verdict: Any = Retry()
    while isinstance(verdict, Retry):
        runs += 1
        message = Message("id", "name", attempt=runs)
        verdict = decide(message, Raised(FAILURE, delay_ms=delay_ms), policy, chance)

    assert runs == policy.retries + 1
    assert verdict == Fail("ValueError: no")


@given(policies, messages, chances)
def test_what_is_not_retryable_fails(policy: TaskOptions, message: Message, chance: float) -> None:
    """It does not matter how many retries are left."""
    assert decide(message, Raised(FAILURE, retryable=False), policy, chance) == Fail("ValueError: no")
    assert decide(message, Rejected(FAILURE), policy, chance) == Fail("ValueError: no")


@given(policies, messages, chances)
def test_a_run_that_ends_the_task(policy: TaskOptions, message: Message, chance: float) -> None:
    """A success is done and a cancelled run is cancelled, however often it was tried."""
    assert decide(message, Returned(b"1"), policy, chance) == Done()
    assert decide(message, Aborted(), policy, chance) == Cancelled()


@given(policies, messages)
def test_only_crashes_keep_a_message_from_running(policy: TaskOptions, message: Message) -> None:
    """A message with more than `max_crashes` does not run; the attempt does not matter."""
    assert (admit(message, policy) is None) == (message.crashes <= policy.max_crashes)


@given(policies, chances)
def test_a_delay_of_the_tasks_own_choice(policy: TaskOptions, chance: float) -> None:
    """It replaces the backoff, and costs an attempt like any retry."""
    outcome = Raised(FAILURE, delay_ms=1250)
    expected = Retry(1250) if policy.retries else Fail("ValueError: no")

    assert decide(Message("id", "name"), outcome, policy, chance) == expected


@given(messages, chances)
def test_a_message_that_no_worker_can_serve(message: Message, chance: float) -> None:
    """It is deferred for longer each time, up to a minute, and fails in the end."""
    verdict = decide(message, Unsupported(FAILURE), TaskOptions(), chance)

    if message.deferrals >= MAX_DEFERRALS:
        assert isinstance(verdict, Fail)
        assert "no worker could serve it" in verdict.reason
    else:
        full = min(60_000, 1000 * 2**message.deferrals)
        assert isinstance(verdict, Defer)
        assert full / 2 <= verdict.delay_ms <= full


@given(chances, st.integers(MAX_DEFERRALS, 10**6))
def test_a_message_that_another_worker_can_serve(chance: float, deferrals: int) -> None:
    """It is deferred for as long as it takes."""
    message = Message("id", "shop.pay", deferrals=deferrals)

    deferred = decide(message, Unsupported(FAILURE), TaskOptions(), chance, lambda asked: asked is message)

    assert isinstance(deferred, Defer)
    assert 30_000 <= deferred.delay_ms <= 60_000


def test_a_newer_version_is_left_alone() -> None:
    """A worker that cannot read it defers it and never fails it."""
    newer = Unreadable("id", {}, "wire version 2", newer=True)

    assert decide(newer, Unsupported(FAILURE), TaskOptions(), 0.5) == Defer(NEWER_DELAY)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"retries": -1}, "retries=-1 must be a whole number"),
        ({"retries": "3"}, "retries='3' must be a whole number"),
        ({"retries": 1.5}, "retries=1.5 must be a whole number"),
        ({"max_crashes": None}, "max_crashes=None must be a whole number"),
        ({"backoff": -1.0}, "backoff=-1.0 must be a number of seconds"),
        ({"backoff_max": "60"}, "backoff_max='60' must be a number of seconds"),
        ({"backoff": float("nan")}, "backoff=nan must be a number of seconds"),
        ({"jitter": 1.5}, "jitter=1.5 must be a number from 0 to 1"),
        ({"jitter": "half"}, "jitter='half' must be"),
    ],
)
def test_options_that_are_not_valid(options: dict[str, Any], why: str) -> None:
    """They are refused, with the value that was given and what is expected."""
    with pytest.raises(ValueError, match=why):
        TaskOptions(**options)
