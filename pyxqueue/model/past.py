"""The earlier runs of a task that did not end it: each failed and was retried, was cut off, or died. They are facts
for people.

A store keeps a line for each, which it does not read (B14). Nothing acts on them and no seal covers them, so any of
them may be anyone's text.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta, Struct

from ..printable import printable

MAX_LINES = 5
"""How many earlier runs a message keeps: the newest."""
MAX_BYTES = 2_048
"""The most bytes of all lines together, with the line breaks between them."""
MAX_TEXT = 200
"""The most characters of the text of one run."""
_MAX_NAME = 100
_MAX_HOST = 64
LOST = "WorkerLost"
"""The type of a run whose process died, or gave no sign of life any more."""
STOPPED = "WorkerStopped"
"""The type of a run that was not to blame when its supervisor killed the process. It is not charged."""
_SILENT = "no sign of life until its lease ended"

_Number: TypeAlias = Annotated[int, Meta(ge=0, lt=2**53)]


class Attempt(Struct, frozen=True, array_like=True):
    """An earlier run of a task."""

    attempt: _Number
    type: str
    """The type of the exception; `WorkerLost` for a run whose process died, `WorkerStopped` for one that was cut off
    although it was not to blame."""
    text: str
    """The message of the exception, or what happened, in one line, cut after 200 characters."""
    when_ms: _Number
    """When the run ended (ms of the store's clock, as closely as its worker knew it). For a run that gave no sign of
    life any more, this is when its lease was over."""
    worker: str
    """The consumer that ran it."""
    host: str = ""
    """The name of that worker's host; empty if it is not known."""
    ran_ms: _Number = 0
    """How long the run took. For a run that gave no sign of life any more, this is how long it had been claimed. 0 if
    that is not known."""


def line(attempt: Attempt) -> str:
    """Return the line to keep about a run: the values of the `Attempt` as a JSON array, at most `MAX_BYTES` long."""
    return msgspec.json.encode(_bounded(attempt)).decode()


def _bounded(attempt: Attempt) -> Attempt:
    """Return the attempt with printable texts of limited length."""
    return Attempt(
        attempt.attempt,
        _cut(attempt.type, _MAX_NAME),
        _cut(attempt.text, MAX_TEXT),
        attempt.when_ms,
        _cut(attempt.worker, _MAX_NAME),
        _cut(attempt.host, _MAX_HOST),
        attempt.ran_ms,
    )


def _cut(text: str, most: int) -> str:
    return printable(text, most)[:most]


def line_of_silent(attempt: int, held_ms: int, now_ms: int, worker: str, host: str) -> str:
    """Return the line about a run that gave no sign of life any more. `held_ms`: for how long it had been claimed."""
    return line(Attempt(attempt, LOST, _SILENT, max(0, now_ms), worker, host, max(0, held_ms)))


def appended(past: str, new: str) -> str:
    """Return the lines with a new one; if they are too many, the oldest are dropped (B14). An empty line is left out,
    and so is one that is longer than all lines together may be."""
    new = new.replace("\n", " ")
    if not new or len(new.encode()) > MAX_BYTES:
        return past
    lines = [*(past.split("\n") if past else ()), new][-MAX_LINES:]
    while len("\n".join(lines).encode()) > MAX_BYTES:
        del lines[0]
    return "\n".join(lines)


def attempts_in(past: str) -> list[Attempt]:
    """Return the runs in the lines, the oldest first, with printable texts. Invalid lines are left out, and so are
    surplus ones."""
    found = []
    for one in past[-MAX_BYTES:].split("\n")[-MAX_LINES:]:
        try:
            found.append(_bounded(msgspec.json.decode(one, type=Attempt)))
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            continue
    return found
