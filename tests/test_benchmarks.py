"""The benchmark programs work: they are run in a tiny size, and no number is judged."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent.parent / "benchmarks" / "run.py"


@pytest.mark.parametrize("names", [["pyxqueue", "bare"], ["pyxqueue_sqlite", "bare_sqlite"]], ids=["redis", "sqlite"])
def test_smoke(tmp_path: Path, names: list[str]) -> None:
    """Every measure of pyxqueue and of the bare loop is in the results, with one number for the one round."""
    # Given
    file = tmp_path / "numbers.json"
    command = [sys.executable, str(PROGRAM), "--smoke", "--only", ",".join(names), "--json", str(file)]
    # When
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    # Then
    assert done.returncode == 0, done.stdout + done.stderr
    numbers = json.loads(file.read_text())["numbers"]
    assert set(numbers) == set(names)
    for found in numbers.values():
        assert set(found) == {"drain", "cpu", "enqueue", "bulk", "median", "p95"}
        assert all(len(values) == 1 for values in found.values())


def test_unknown_contestant() -> None:
    """A contestant that does not exist is named, and nothing runs."""
    # When
    done = subprocess.run(
        [sys.executable, str(PROGRAM), "--only", "pyxqueue,celery"], capture_output=True, text=True, check=False
    )
    # Then
    assert done.returncode == 2
    assert "celery" in done.stderr


def test_the_shape_of_the_code() -> None:
    """What there is of the package, and the frames of each step in the memory store."""
    program = PROGRAM.with_name("shape.py")

    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    words = [line.rsplit(maxsplit=3) for line in done.stdout.splitlines()]
    frames = {line[0]: int(line[1]) for line in words if line and line[0] in {"call", "claim", "settle", "get"}}
    assert len(frames) == 4
    assert all(0 < count < 200 for count in frames.values())
