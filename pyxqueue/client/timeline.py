"""The times in the life of one task: when it waited and when each of its attempts ran, where, and how that ended."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec import Struct

from ..model.message import TaskInfo
from ..model.past import Attempt


class Span(Struct, frozen=True):
    """A time in the life of a task."""

    what: str
    """``delayed``, ``waited`` or ``ran``; ``waits`` or ``runs`` for one that goes on; ``before`` for a time in which
    earlier attempts ran, about which nothing more is known. Of an attempt that is not the last, the time before it is
    ``waited``, with its delay."""
    start_ms: int
    end_ms: int
    attempt: int = 0
    """The attempt that ran; 0 for a time in which none did."""
    worker: str = ""
    host: str = ""
    """The name of the worker's host; empty if it is not known."""
    error: str = ""
    """The error with which the attempt ended; empty if it goes on or succeeded."""


def spans_of(info: TaskInfo, attempts: Sequence[Attempt], error: str, now: int) -> list[Span]:
    """Return the times in the life of a task in their order, without gaps.

    Parameters: `attempts` are its earlier ones, `error` is what its last run failed with, and `now` is the time of the
    store's clock. What the store does not know is left out, such as when a run without a known duration began.
    """
    message, record = info.readable, info.record
    enqueued, due = (message.enqueued_ms, message.due_ms) if message else (0, 0)
    ended = record.ended_ms if record else 0
    began = ended - record.ran_ms if record and record.ran_ms else info.started_ms
    latest = max(enqueued, ended or now)
    found = list(_earlier(attempts, enqueued, min(began or latest, latest))) if enqueued else []
    number = record.attempt if record else message.attempt if message else 1
    known = found[-1].end_ms if found else enqueued
    until = began or ended or now
    if known and due > known:
        was_delayed = bool(found) or number == 1
        found.append(Span("delayed" if was_delayed else "before", known, max(known, min(due, until))))
    if (ready := max(known, due)) and until > ready:
        found.append(Span("waited" if began or ended else "waits", ready, until))
    if began:
        worker = info.worker or (record.worker if record else "")
        found.append(Span("ran" if ended else "runs", began, max(began, ended or now), number, worker, "", error))
    return found


def _earlier(attempts: Sequence[Attempt], enqueued: int, until: int) -> Iterator[Span]:
    """The earlier attempts and the times between them. Clocks differ, and anyone may have written the times: none is
    before the one that precedes it, or after `until`."""
    at, what = enqueued, "waited" if not attempts or attempts[0].attempt == 1 else "before"
    for one in attempts:
        end = min(max(one.when_ms, at), until)
        begin = min(max(one.when_ms - one.ran_ms, at), end)
        if begin > at:
            yield Span(what, at, begin)
        yield Span("ran", begin, end, one.attempt, one.worker, one.host, f"{one.type}: {one.text}".strip(": "))
        at, what = end, "waited"
