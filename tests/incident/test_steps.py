"""The page on an incident is true: each of its commands is run, in its order, and prints what the page shows."""

from __future__ import annotations

import re
from contextlib import closing

import pytest

from pyxqueue import TaskQueue

from ..running import ROOT
from ..support.until import until
from ..test_docs import assert_shown, console_of
from .conftest import Drill

pytestmark = pytest.mark.timeout(480)  # the drill is built within the first test

PAGE = ROOT / "docs/how-to/incident.md"
_LIKE_HERE = {
    r"(redis://127\.0\.0\.1|web\d):\d+": r"\1:NUMBER",
    r"\b[\d.]+ (KB|MB)": "SIZE",
    r"\b[89]\d%": "PERCENT",
    r"\b(worker-\d+)-[\w-]+": r"\1",
    r"valkey [\d.]+": "SERVER",
    r"\d\d:\d\d:\d\d\b": "CLOCK",
    r"\b[\d.]+/(s|min)\b": "RATE",
    "[▁▂▃▄▅▆▇█]{10}": "CURVE",
}
"""What is different each time that the drill runs."""


def _like_here(text: str) -> str:
    for pattern, name in _LIKE_HERE.items():
        text = re.sub(pattern, name, text)
    return text


def test_the_steps_of_the_page(drill: Drill) -> None:
    """From the first look to the retry of one kind, without a script."""
    for words, lines in console_of(PAGE):
        shown = [_like_here(line.replace("50,000", f"{drill.backlog:,}")) for line in lines]
        assert_shown(shown, _like_here(drill.say(*words[1:])), drill.place.folder)

    with closing(TaskQueue(drill.place.url, stream_key="shop")) as queue:
        until(lambda: {one.host for one in queue.admin.workers()} == {"web2"}, "the drained host is empty", 60)
        depth = queue.admin.info().depth
    assert depth is not None
    assert (depth.ready, depth.in_flight, depth.failed) == (drill.backlog + 10, 1, 21)
