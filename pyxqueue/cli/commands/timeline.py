"""``pyxqueue timeline``: show when what happened to one task."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import click
from attrs import frozen

from ...client.views import TaskDetails
from ..output import age, cut, json_option, moment, print_json, say
from ..target import Target, pass_target, target_options
from ..words import take_one

_BAR = 40


@frozen
class Span:
    """A time in the life of a task."""

    what: str
    """delayed, waited, ran; waits or runs for one that goes on."""
    start_ms: int
    end_ms: int
    note: str = ""


@click.command()
@click.argument("words", metavar="[MODULE[:QUEUE]] ID", nargs=-1, required=True)
@target_options
@json_option
@pass_target
def timeline(target: Target, words: Sequence[str], as_json: bool) -> None:
    """Show when a task was enqueued, due, begun and ended, and how long each took.

    It shows what the store knows: the last run of a task that has ended, and for how long it had waited before.
    """
    task_id = take_one(target, words, "id")
    details = target.existing().admin.task(task_id)
    spans = spans_of(details, round(time.time() * 1000))
    if as_json:
        print_json(_facts(details, spans))
        return
    attempt = _attempt(details)
    attempts = f", attempt {attempt}" if attempt else ""
    say(f"{details.id}  {details.name or '?'}  {details.state.name}{attempts}")
    for line in _lines(spans):
        say(cut(line))
    if details.reason:
        say(cut(f"! {details.reason}"), colour="red")
    if not spans:
        say("the store does not know any more when what happened")


def spans_of(details: TaskDetails, now: int) -> list[Span]:
    """Return the times in the life of a task in their order, without gaps. `now`: the time of the store's clock."""
    info, message, record = details.info, details.info.readable, details.info.record
    enqueued, due = (message.enqueued_ms, message.due_ms) if message else (0, 0)
    ended = record.ended_ms if record else 0
    began = ended - record.ran_ms if record and record.ran_ms else info.started_ms
    found = list[Span]()
    attempt = _attempt(details) or 1
    ready = max(enqueued, due)
    if enqueued and due > enqueued:
        before = "earlier attempts, and delays" if attempt > 1 else ""
        until = min(due, began or ended or now)
        found.append(Span("delayed" if attempt == 1 else "before", enqueued, until, before))
    until = began or ended or now
    if ready and until > ready:
        found.append(Span("waited" if began or ended else "waits", ready, until))
    if began:
        by = details.info.worker or (record.worker if record else "")
        found.append(Span("ran" if ended else "runs", began, max(began, ended or now), f"attempt {attempt} on {by}"))
    return found


def _attempt(details: TaskDetails) -> int | None:
    message, record = details.info.readable, details.info.record
    return record.attempt if record else message.attempt if message else None


def _lines(spans: Sequence[Span]) -> list[str]:
    """Return a line for each span: when it began, how long it was, and where it lies in the whole as a bar."""
    if not spans:
        return []
    first, last = spans[0].start_ms, max(span.end_ms for span in spans)
    scale = _BAR / max(1, last - first)
    width = max(len(age(span.end_ms - span.start_ms)) for span in spans)
    found = []
    for span in spans:
        start = min(_BAR - 1, int((span.start_ms - first) * scale))
        length = max(1, min(_BAR - start, round((span.end_ms - span.start_ms) * scale)))
        drawn = f"{'·' * start}{'█' * length}{'·' * (_BAR - start - length)}"
        took = age(span.end_ms - span.start_ms)
        found.append(f"{_clock(span.start_ms)}  {span.what:7}  {took:>{width}}  {drawn}")
        if span.note:
            found.append(f"{'':14}{span.note}")
    goes_on = spans[-1].what in ("waits", "runs")
    return [*found, f"{_clock(last)}  {'now' if goes_on else 'ended'}"]


def _clock(ms: int) -> str:
    """Return the time of the day in UTC."""
    return (moment(ms) or "?")[11:23]


def _facts(details: TaskDetails, spans: Sequence[Span]) -> Mapping[str, Any]:
    return {
        "id": details.id,
        "task": details.name,
        "state": details.state.name,
        "attempt": _attempt(details),
        "waited": details.waited,
        "ran": details.ran,
        "spans": [
            {
                "what": span.what,
                "start": moment(span.start_ms),
                "end": moment(span.end_ms),
                "seconds": (span.end_ms - span.start_ms) / 1000,
                "note": span.note or None,
            }
            for span in spans
        ],
    }
