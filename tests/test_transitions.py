"""The tables of what an event does to a task."""

from __future__ import annotations

import re

import pytest

from pyxqueue.model.message import (
    Cancelled,
    Defer,
    Done,
    Fail,
    Failure,
    LeaseStatus,
    Message,
    Record,
    Retry,
    TaskStatus,
    Verdict,
)
from pyxqueue.model.transitions import (
    CHARGES,
    ENDS,
    LEASE_STATUSES,
    Counts,
    Event,
    after,
    charged,
    counts_of,
    default_record,
    event_of,
    requests,
)
from pyxqueue.protocols import Broker


@pytest.mark.parametrize(
    ("event", "wanted"),
    [
        (Event.RETRY, Counts(4, 2, 1, redelivered=False)),
        (Event.DEFER, Counts(3, 2, 1, redelivered=True)),
        (Event.DEFER_LATER, Counts(3, 2, 2, redelivered=True)),
        (Event.RELEASE, Counts(3, 2, 1, redelivered=True)),
        (Event.RELEASE_STARTED, Counts(3, 3, 1, redelivered=True)),
        (Event.LEASE_END, Counts(3, 3, 1, redelivered=True)),
        (Event.LEASE_END_AGAIN, Counts(3, 3, 1, redelivered=True)),
    ],
)
def test_each_event_has_its_charge(event: Event, wanted: Counts) -> None:
    """Each event changes the counts of a redelivered task as the table says."""
    assert after(Counts(3, 2, 1, redelivered=True), event) == wanted


def test_the_first_end_of_a_lease_is_no_crash() -> None:
    """The first end of a lease counts no crash: the worker may only have been slow."""
    assert after(Counts(), Event.LEASE_END) == Counts(redelivered=True)


def test_the_law_has_the_same_table() -> None:
    """The docstring of the broker says of every event, in the same order and words, what the code does."""
    rows = [line.strip() for line in (Broker.__doc__ or "").splitlines()]
    end = {None: "same", True: "True", False: "False"}
    coded = [
        [event.value, *("+ 1" if number else "same" for number in charge[:3]), end[charge.redelivered]]
        for event, charge in CHARGES.items()
    ]
    unchanged = ["claim; Done, Fail, Cancelled", *["same"] * 4]
    requeued = ["requeue", *map(str, Counts())]
    start = next(number for number, row in enumerate(rows) if row.startswith("event  ")) + 2
    end_of_table = next(number for number, row in enumerate(rows[start:], start) if row.startswith("==="))

    assert [re.split(r" {2,}", row) for row in rows[start:end_of_table]] == [unchanged, *coded, requeued]


def test_a_message_is_charged() -> None:
    """Charging a message changes its counts and nothing else."""
    message = Message("a", "f", b"body", attempt=2, headers={"k": "v"})

    assert charged(message, Event.RETRY) == Message("a", "f", b"body", attempt=3, headers={"k": "v"})
    assert counts_of(message) == Counts(2)


@pytest.mark.parametrize(
    ("verdict", "event"),
    [(Retry(), Event.RETRY), (Retry(5), Event.RETRY), (Defer(), Event.DEFER), (Defer(1), Event.DEFER_LATER)],
)
def test_a_verdict_that_is_no_end_is_an_event(verdict: Retry | Defer, event: Event) -> None:
    """Only a deferral with a delay counts as one."""
    assert event_of(verdict) is event


@pytest.mark.parametrize(
    ("verdict", "status"),
    [(Done(), TaskStatus.SUCCESS), (Cancelled(), TaskStatus.CANCELLED), (Fail("why"), TaskStatus.FAILURE)],
)
def test_every_other_verdict_is_an_end(verdict: Verdict, status: TaskStatus) -> None:
    """Each ending verdict has the status of the record that the store creates."""
    assert ENDS[type(verdict)] is status


def test_a_record_is_made_for_an_end_without_one() -> None:
    """The reason of a failure is the message of its error."""
    assert default_record("a", TaskStatus.SUCCESS, attempt=2, worker="w") == Record(
        "a", TaskStatus.SUCCESS, attempt=2, worker="w"
    )
    assert default_record("a", TaskStatus.FAILURE, reason="why").error == Failure("Failed", "why")


def test_requests_to_cancel_never_become_fewer() -> None:
    """Two are as many as any number; one with force is the last word."""
    seen, count = [], 0
    for force in (False, False, False, True, False):
        count = requests(count, force)
        seen.append(LEASE_STATUSES[count])

    assert seen == [
        LeaseStatus.CANCEL,
        LeaseStatus.CANCEL_AGAIN,
        LeaseStatus.CANCEL_AGAIN,
        LeaseStatus.KILL,
        LeaseStatus.KILL,
    ]
