"""If the log is not read, lines are lost, and nothing else."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest

from pyxqueue import TaskError
from tests.support.trees import Tree

from .app import App, Site
from .conftest import on_every_store


@on_every_store
def test_a_full_pipe_stops_nothing(site: Site, app: App, tmp_path: Path) -> None:
    """A hard limit ends its task, results are recorded beside failures, and SIGTERM ends the workers."""
    # Given
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
    with suppress(BlockingIOError):
        while True:
            os.write(writer, b"x")
    with Tree("tests.processes.app_worker", site.environment(), pipe, "-p", "1", "--grace", "20") as tree:
        # When
        with pytest.raises(TaskError, match="beyond its hard time limit"):
            app["hog"](30).get(30)
        failed = [app["die"]("value") for _ in range(3)]
        # Then
        assert app["work"](0.0, "done").get(30) == "done"
        for one in failed:
            with pytest.raises(TaskError, match="value"):
                one.get(30)
        assert tree.stop(15) == 0
    os.close(writer)
    os.close(reader)
