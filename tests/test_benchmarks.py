"""The benchmark programs work: they are run in a tiny size, and no number is judged."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

PROGRAM = Path(__file__).parent.parent / "benchmarks" / "run.py"


@pytest.mark.parametrize("names", [["pyxqueue", "bare"], ["pyxqueue_sqlite", "bare_sqlite"]], ids=["redis", "sqlite"])
def test_smoke(tmp_path: Path, names: list[str]) -> None:
    """Every measure of pyxqueue and of the bare loop is in the results, with one number for the one round."""
    # Given
    file = tmp_path / "numbers.json"
    plot = tmp_path / "numbers.svg"
    options = ["--smoke", "--only", ",".join(names), "--json", str(file), "--svg", str(plot)]
    command = [sys.executable, str(PROGRAM), *options]
    # When
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    # Then
    assert done.returncode == 0, done.stdout + done.stderr
    numbers = json.loads(file.read_text())["numbers"]
    assert set(numbers) == set(names)
    for found in numbers.values():
        assert set(found) == {"drain", "cpu", "enqueue", "bulk", "median", "p99"}
        assert all(len(values) == 1 for values in found.values())
    assert sum(one.tag.endswith("rect") for one in ET.parse(plot).iter()) == 1 + 6 * len(names)


def test_unknown_contestant() -> None:
    """A contestant that does not exist is named, and nothing runs."""
    # When
    done = subprocess.run(
        [sys.executable, str(PROGRAM), "--only", "pyxqueue,nobody"], capture_output=True, text=True, check=False
    )
    # Then
    assert done.returncode == 2
    assert "nobody" in done.stderr


def test_smoke_of_other_work() -> None:
    """Each row of other work than no-ops has a number."""
    program = PROGRAM.with_name("work.py")

    done = subprocess.run([sys.executable, str(program), "--smoke"], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line.split("|")[1].strip() for line in done.stdout.splitlines()[2:]]
    assert len(rows) == 28
    assert {"16 threads, tasks wait 1 ms", "fails once, then succeeds", "20 types of task", "idle"} <= set(rows)


def test_counts_are_those_of_the_baseline() -> None:
    """What a task costs in commands, Python calls and bytes has not grown, and each count has a baseline."""
    program = PROGRAM.with_name("counts.py")

    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert set(json.loads(program.with_suffix(".json").read_text())["counts"]) == {
        line.rsplit(maxsplit=2)[0] for line in done.stdout.splitlines()
    }


def test_a_count_that_has_grown_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A count above its baseline and the slack is reported with both numbers; one below is not."""
    monkeypatch.syspath_prepend(str(PROGRAM.parent))
    counts = importlib.import_module("counts")

    grown = counts.compare(
        {"drain: commands": 2.0, "call: commands": 3.0}, {"drain: commands": 1.0, "call: commands": 4.0}
    )

    assert grown == ["drain: commands: 2, the baseline is 1"]


def test_the_shape_of_the_code() -> None:
    """What there is of the package, and the frames of each step in the memory store."""
    program = PROGRAM.with_name("shape.py")

    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    words = [line.rsplit(maxsplit=3) for line in done.stdout.splitlines()]
    frames = {line[0]: int(line[1]) for line in words if line and line[0] in {"call", "claim", "settle", "get"}}
    assert len(frames) == 4
    assert all(0 < count < 200 for count in frames.values())
