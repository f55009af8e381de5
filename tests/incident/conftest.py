"""The fire drill of the examples, as anybody can run it, and an operator with a command line and a browser."""

from __future__ import annotations

import html
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest
from attrs import evolve, field, frozen

from ..running import PATIENCE, ROOT, Place

_FAR_FROM_TEXT = re.compile(r"<(style|script|svg)\b.*?</\1>|<[^>]+>", re.DOTALL)


@frozen(eq=False)
class Drill:
    """A shop in which everything has gone wrong."""

    place: Place
    dashboard: str
    backlog: int
    _said: dict[tuple[str, ...], str] = field(factory=dict, init=False)

    def say(self, *words: str) -> str:
        """Return what a command prints."""
        return self.place.run("-m", "pyxqueue", *words)

    def glance(self, *words: str) -> str:
        """Return what a command has printed, or prints now if it is the first time."""
        if words not in self._said:
            self._said[words] = self.say(*words)
        return self._said[words]

    def ask(self, *words: str) -> Any:
        """Return what a command prints as JSON."""
        return json.loads(self.say(*words, "--json"))

    def page(self, path: str) -> str:
        """Return the text of a page of the dashboard."""
        with urlopen(self.dashboard + path) as answer:
            return _text(answer.read().decode())

    def do(self, action: str, **form: str) -> str:
        """Press a button of the dashboard, and return the text of the page that follows."""
        body = urlencode({"back": "/", **form}).encode()
        origin = {"origin": self.dashboard, "sec-fetch-site": "same-origin"}
        with urlopen(Request(f"{self.dashboard}/q/shop/cg/do/{action}", body, origin)) as answer:
            return _text(answer.read().decode())


def _text(page: str) -> str:
    return re.sub(r"\s+", " ", html.unescape(_FAR_FROM_TEXT.sub(" ", page)))


@pytest.fixture(
    scope="module",
    params=[pytest.param(1_000, id="small"), pytest.param(50_000, id="large", marks=pytest.mark.soak)],
)
def drill(request: pytest.FixtureRequest) -> Iterator[Drill]:
    backlog: int = request.param
    place = Place(ROOT / "examples", None)
    program = subprocess.Popen(
        [sys.executable, "-W", "error", "incident.py", "--tasks", str(backlog)],
        cwd=place.folder,
        env=place.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with program:
        assert program.stdin is not None
        assert program.stdout is not None
        said = "".join(iter(program.stdout.readline, "Enter ends it\n"))
        found = re.search(r"PYXQUEUE_URL=(\S+) .*dashboard at (http://\S+)/", said, re.DOTALL)
        assert found is not None, said
        at = evolve(place, url=found[1], more={"PYXQUEUE_QUEUE": "shop"})
        yield Drill(at, found[2], backlog)
        program.stdin.close()
        assert program.wait(PATIENCE) == 0, program.stdout.read()
