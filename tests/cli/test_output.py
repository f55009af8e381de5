"""How commands print values."""

from __future__ import annotations

import ast
import errno
from collections import Counter
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import pyxqueue.cli
from pyxqueue import TaskQueue
from pyxqueue.cli import main
from pyxqueue.cli.output import age, bar, duration, showable
from pyxqueue.model.message import Progress

from .jobs import fail


@pytest.mark.parametrize(("ms", "text"), [(0, "0 ms"), (999, "999 ms"), (3_200, "3.2 s"), (5_400_000, "1.5 h")])
def test_durations_are_short(ms: int, text: str) -> None:
    """They have one unit and one decimal."""
    assert duration(ms) == text


def test_values_that_json_cannot_show_are_described() -> None:
    """Also an int that is too long for Python to turn into text."""
    assert showable({"a": [1]}) == {"a": [1]}
    assert showable({1, 2}) == "{1, 2}"
    assert showable(10**5000) == "<int too long to show>"


@pytest.mark.parametrize("args", [["groups"], ["info"], ["tasks"], ["tasks", "--json"], ["failed"]])
def test_a_reader_that_closes_the_pipe_is_not_an_error(
    queue: TaskQueue, url: str, monkeypatch: pytest.MonkeyPatch, args: list[str]
) -> None:
    """As `head` does: the program ends without a traceback."""
    fail(queue, "f1")

    def gone(*_: object, **__: object) -> None:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr(click, "echo", gone)
    result = CliRunner().invoke(main, ["--url", url, "--queue", queue.stream_key, *args])

    assert result.exit_code == 1
    assert "Traceback" not in result.output
    assert "failed with" not in result.output


def test_only_two_functions_print() -> None:
    """`say` and `print_json` make text printable. Only `metrics --once` prints in another way, what a scraper
    reads, and the live screen of `top`, which makes its lines printable itself."""
    found = [
        f"{path.name}:{node.lineno}"
        for path in Path(pyxqueue.cli.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("click.echo", "click.secho", "print", "echo")
    ]
    assert Counter(one.partition(":")[0] for one in found) == {"output.py": 2, "metrics.py": 1, "screen.py": 3}


@pytest.mark.parametrize(
    ("ms", "text"),
    [(0, "0 ms"), (999, "999 ms"), (33_400, "33 s"), (90_000, "1.5 min"), (120_000, "2 min"), (2_820_000, "47 min")],
)
def test_an_age_is_short(ms: int, text: str) -> None:
    """One decimal only where it says something."""
    assert age(ms) == text


@pytest.mark.parametrize(
    ("progress", "text"),
    [
        (None, ""),
        (Progress(47, 100, "rows"), "████░░░░░░  47% rows"),
        (Progress(3, 1), "██████████ 100%"),
        (Progress(-3, 1), "░░░░░░░░░░   0%"),
        (Progress(3, None, "rows"), "3 rows"),
        (Progress(3, 0), "3"),
        (Progress(1, float("nan")), "1"),
        (Progress(1e300, 1e-300), "1e+300"),
    ],
)
def test_progress_is_a_bar(progress: Progress | None, text: str) -> None:
    """A task may report any numbers; without a total that can be used they are shown as they are."""
    assert bar(progress) == text
