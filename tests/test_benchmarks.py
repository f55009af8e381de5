"""The benchmark programs work: they are run in a tiny size, and no number is judged."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).parent.parent / "benchmarks" / "run.py"


def test_smoke(tmp_path: Path) -> None:
    """Every measure of pyxqueue and of the bare loop is in the results, with one number for the one round."""
    # Given
    file = tmp_path / "numbers.json"
    command = [sys.executable, str(PROGRAM), "--smoke", "--only", "pyxqueue,bare", "--json", str(file)]
    # When
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    # Then
    assert done.returncode == 0, done.stdout + done.stderr
    numbers = json.loads(file.read_text())["numbers"]
    assert set(numbers) == {"pyxqueue", "bare"}
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
