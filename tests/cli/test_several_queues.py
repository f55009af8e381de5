"""``pyxqueue worker`` with several queues."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pyxqueue.cli.commands import worker
from pyxqueue.cli.reloading import reloading_command

from ..running import Place
from ..support.until import until
from .conftest import Command, Write

SHOP = """
import os, sys
from pyxqueue import TaskQueue

mail = TaskQueue(stream_key="KEY")
images = TaskQueue("sqlite:///images.db", stream_key="images")

@mail.task
def send():
    return f"{os.getppid()} {os.path.basename(sys.argv[0])}"

@images.task
def shrink():
    return f"{os.getppid()} {os.path.basename(sys.argv[0])}"

if __name__ == "__main__":
    print(send().get(timeout=40), shrink().get(timeout=40))
"""
NO_FORK = "import pyxqueue.supervisor.launch as launch; launch.fork_is_safe = lambda: False"


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What `run_workers` was called with."""
    found: list[Any] = []
    monkeypatch.setenv("PYXQUEUE_LOG_FORMAT", "text")  # so that it is as before when the test has ended
    monkeypatch.setattr(worker, "run_workers", lambda *args, **more: found.extend([args, more]))
    return found


@pytest.fixture
def module(write: Write) -> str:
    return write("from pyxqueue import TaskQueue\nmail, images = TaskQueue(stream_key='m'), TaskQueue(stream_key='i')")


def test_options_are_passed_to_run_workers(command: Command, module: str, tmp_path: Path, said: list[Any]) -> None:
    """The queues in their order, and the options of one queue's workers."""
    places = [f"{module}:mail", f"{module}:images"]

    command("worker", *places, "--path", str(tmp_path), "-p", "2", "-t", "3", "--grace", "5", "--weights", "3,1.5")

    (queues, processes), options = said
    assert [queue.stream_key for queue in queues] == ["m", "i"]
    assert processes == 2
    assert options == {
        "order": "fair", "weights": [3.0, 1.5], "threads": 3, "concurrency": None, "grace": 5.0,
        "max_tasks_per_child": None, "max_memory_per_child": None, "parent": None,
    }  # fmt: skip


def test_strict_order(command: Command, module: str, tmp_path: Path, said: list[Any]) -> None:
    command("worker", f"{module}:images", f"{module}:mail", "--path", str(tmp_path), "--strict")

    (queues, _), options = said
    assert [queue.stream_key for queue in queues] == ["i", "m"]
    assert (options["order"], options["weights"]) == ("strict", None)


def test_weights_that_are_no_numbers(command: Command, module: str, tmp_path: Path) -> None:
    """It says what they look like."""
    result = command("worker", f"{module}:mail", f"{module}:images", "--path", str(tmp_path), "--weights", "3;1")

    assert result.exit_code == 2
    assert "give one number for each queue, such as 3,1" in result.output


def test_the_same_queue_twice(command: Command, module: str, tmp_path: Path) -> None:
    result = command("worker", f"{module}:mail", f"{module}:mail", "--path", str(tmp_path))

    assert result.exit_code == 2
    assert "was given twice: name each queue once" in " ".join(result.output.split())


@pytest.mark.parametrize("forks", [True, False])
def test_one_worker_serves_both(tmp_path: Path, url: str, stream_key: str, forks: bool) -> None:
    """Also where each process is a new interpreter. The log has both."""
    place, log = Place(tmp_path, url, {}), tmp_path / "worker.log"
    (tmp_path / "shop.py").write_text(SHOP.replace("KEY", stream_key))
    (tmp_path / "start.py").write_text(f"{'' if forks else NO_FORK}\nfrom pyxqueue.cli import main\nmain()\n")

    with place.worker("start.py", "worker", "shop:mail", "shop:images", "-p", "1", "--weights", "2,1", output=log):
        first, program, second, other = place.run("shop.py").split()
        until(lambda: "tasks of the queue images: shop.shrink" in log.read_text(), "the log has both")

    assert (first, program) == (second, other)
    assert program == ("start.py" if forks else "-c")


def test_workers_that_are_reloaded_serve_all() -> None:
    """The watcher passes on what else they serve."""
    command = reloading_command("shop:mail", "/srv", [], ["--strict"], ["shop:images"])

    assert command[command.index("--also") + 1] == "shop:images"
    assert command[-2:] == ["worker", "--strict"]
