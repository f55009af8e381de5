"""``pyxqueue timeline``: show when what happened to one task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from ...client.timeline import Span, spans_of
from ...client.views import TaskDetails
from ...clock import wall_clock
from ...model.message import TaskStatus
from ..arguments import take_one
from ..output import age, cut, json_option, moment, print_json, say
from ..target import Target, pass_target, target_options

_BAR = 40


@click.command()
@click.argument("words", metavar="[MODULE[:QUEUE]] ID", nargs=-1, required=True)
@target_options
@json_option
@pass_target
def timeline(target: Target, words: Sequence[str], as_json: bool) -> None:
    """Show when a task waited and when each of its attempts ran, how long, where, and how it ended.

    It shows what the store knows: at most five attempts before the last one.
    """
    task_id = take_one(target, words, "id")
    details = target.existing().admin.task(task_id)
    error = details.reason if details.state is TaskStatus.FAILURE else ""
    spans = spans_of(details.info, details.attempts, error, wall_clock())
    if as_json:
        print_json(_facts(details, spans))
        return
    attempt = _attempt(details)
    attempts = f", attempt {attempt}" if attempt else ""
    say(f"{details.id}  {details.name or '?'}  {details.state.name}{attempts}")
    if old := details.info.retry_of:
        say(cut(f"instead of {old}, with other arguments"))
    for line in _lines(spans):
        say(cut(line))
    if details.reason:
        say(cut(f"! {details.reason}"), colour="red")
    if not spans:
        say("the store does not know any more when what happened")


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
        found += [f"{'':14}{note}" for note in _notes(span)]
    goes_on = spans[-1].what in ("waits", "runs")
    return [*found, f"{_clock(last)}  {'now' if goes_on else 'ended'}"]


def _notes(span: Span) -> list[str]:
    """Return what is said of a span below it."""
    if span.what == "before":
        return ["earlier attempts, and delays"]
    if not span.attempt:
        return []
    host = f", host {span.host}" if span.host else ""
    return [f"attempt {span.attempt} on {span.worker or '?'}{host}", *([f"! {span.error}"] if span.error else [])]


def _clock(ms: int) -> str:
    """Return the time of the day in UTC."""
    return (moment(ms) or "?")[11:23]


def _facts(details: TaskDetails, spans: Sequence[Span]) -> Mapping[str, Any]:
    return {
        "id": details.id,
        "task": details.name,
        "state": details.state.name,
        "attempt": _attempt(details),
        "retry_of": details.info.retry_of or None,
        "waited": details.waited,
        "ran": details.ran,
        "spans": [
            {
                "what": span.what,
                "start": moment(span.start_ms),
                "end": moment(span.end_ms),
                "seconds": (span.end_ms - span.start_ms) / 1000,
                "attempt": span.attempt or None,
                "worker": span.worker or None,
                "host": span.host or None,
                "error": span.error or None,
            }
            for span in spans
        ],
    }
