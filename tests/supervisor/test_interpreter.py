"""What an interpreter that pyxqueue starts imports."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pyxqueue import TaskQueue
from pyxqueue.cli.reloading import reloading_command
from pyxqueue.client.local_workers import parts_of
from pyxqueue.client.queue import workers_of
from pyxqueue.supervisor.starters import pyxqueue_command

from ..cli import jobs

queue = TaskQueue("memory://", stream_key="interpreter")
queue.task(jobs.enqueue)


def of_the_workers(_folder: str) -> list[str]:
    command = parts_of([workers_of(queue)]).reimport
    assert command is not None
    return [*command, "worker", "--help"]


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: pyxqueue_command("--path", folder, "worker", "--help"),
        lambda folder: reloading_command("m", folder, [], ["--help"]),
        of_the_workers,
    ],
    ids=["any", "reloader", "workers"],
)
@pytest.mark.parametrize("name", ["pyxqueue", "click", "json", "sitecustomize"])
def test_nothing_is_imported_from_the_current_folder(
    tmp_path: Path, name: str, make: Callable[[str], list[str]]
) -> None:
    """Another user may have put a module there with the name of one of ours, of a library or of Python itself."""
    (tmp_path / "srv").mkdir()
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / f"{name}.py").write_text("import sys\nsys.exit('planted')\n")

    found = subprocess.run(
        make(str(tmp_path / "srv")), cwd=tmp_path / "here", capture_output=True, text=True, check=False
    )

    assert "planted" not in found.stderr + found.stdout
    assert found.returncode == 0
    assert "Run the tasks of the queue" in found.stdout


def test_a_new_interpreter_imports_from_where_this_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This includes what was added to `sys.path` since; the working directory does not matter."""
    (tmp_path / "click.py").write_text("raise SystemExit('ours')\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])

    found = subprocess.run(pyxqueue_command(), cwd="/", capture_output=True, text=True, check=False)

    assert found.stderr == "ours\n"
