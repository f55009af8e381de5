"""The earlier runs of a task that did not end it: each failed and was retried, or died. They are facts for people.

A store keeps a line for each, which it does not read (B14). Nothing acts on them and no seal covers them, so any of
them may be anyone's text.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

from ..printable import printable

MAX_LINES = 5
"""How many earlier runs a message keeps: the newest."""
MAX_BYTES = 2_048
"""The most bytes of all of them together, with the line breaks between them."""
MAX_TEXT = 200
"""The most characters of the text of one."""
_MAX_NAME = 100
LOST = "WorkerLost"
"""The type of a run whose process died, or was not heard of any more."""


SILENT = "no sign of life until its lease ended"
"""The text of a run that was not heard of any more."""


class Attempt(Struct, frozen=True):
    """An earlier run of a task."""

    attempt: int
    type: str
    """The type of the exception; `WorkerLost` for a run whose process died."""
    text: str
    """Its message, in one line, cut after 200 characters."""
    when_ms: int
    """When it ended (ms of the store's clock, as closely as its worker knew it); of a run that died, when the store
    learnt of it."""
    worker: str
    """The consumer that ran it."""


_Line = tuple[int, str, str, int, str]


def line(attempt: Attempt) -> str:
    """Return the line to keep of a run: JSON ``[attempt, type, text, when_ms, worker]``."""
    kind, worker = printable(attempt.type, _MAX_NAME), printable(attempt.worker, _MAX_NAME)
    text = printable(attempt.text, MAX_TEXT)[:MAX_TEXT]
    return msgspec.json.encode((attempt.attempt, kind[:_MAX_NAME], text, attempt.when_ms, worker[:_MAX_NAME])).decode()


def line_of_lost(attempt: int, how: str, when_ms: int, worker: str) -> str:
    """Return the line of a run whose process died."""
    return line(Attempt(attempt, LOST, how, when_ms, worker))


def appended(past: str, new: str) -> str:
    """Return the lines with a new one, without the oldest of those that are too many (B14). An empty line, and one that
    is longer than all may be, are left out."""
    new = new.replace("\n", " ")
    if not new or len(new.encode()) > MAX_BYTES:
        return past
    lines = [*(past.split("\n") if past else ()), new][-MAX_LINES:]
    while len("\n".join(lines).encode()) > MAX_BYTES:
        del lines[0]
    return "\n".join(lines)


def attempts_in(past: str) -> list[Attempt]:
    """Return the runs in the lines, the oldest first; lines that are none are left out."""
    found = []
    for one in past.split("\n"):
        try:
            found.append(Attempt(*msgspec.json.decode(one, type=_Line)))
        except msgspec.MsgspecError:
            continue
    return found
