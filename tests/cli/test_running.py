"""The commands `worker` and `child`, in processes of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from pyxqueue import TaskQueue, TaskStatus
from pyxqueue.cli import main as program

from ..running import PATIENCE, Place
from ..support import until as support
from .conftest import Command, Write

RPC = """
import os, sys, threading
from pyxqueue import TaskQueue

queue = TaskQueue(stream_key="KEY")

@queue.task
def who():
    where = "inline" if threading.current_thread() is threading.main_thread() else "thread"
    return f"{os.getppid()} {os.path.basename(sys.argv[0])} {where}"

if __name__ == "__main__":
    LINES
    print(who().get(timeout=40))
"""
NO_FORK = "import pyxqueue.supervisor.launch as launch; launch.fork_is_safe = lambda: False"
STARTED = "pid of the supervisor"


@pytest.fixture
def place(tmp_path: Path, url: str) -> Place:
    """A folder for a script, without compiled files: they would hide a change within one second from --reload."""
    return Place(tmp_path, url, {"PYTHONDONTWRITEBYTECODE": "1"})


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "worker.log"


def write(place: Place, stream_key: str, lines: str = "pass") -> None:
    (place.folder / "rpc.py").write_text(RPC.replace("KEY", stream_key).replace("LINES", lines))


def until(condition: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    """Wait until the condition holds; fail if the process ends before."""

    def look() -> bool:
        assert process.poll() is None, "the process has ended"
        return condition()

    support.until(look, "what the process does", PATIENCE)


@contextmanager
def started(place: Place, *flags: str, pass_fds: Sequence[int] = ()) -> Iterator[subprocess.Popen[str]]:
    """Start a worker and wait until it runs. Its output ends when its last process does."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pyxqueue", "worker", "rpc", "-p", "1", *flags],
        cwd=place.folder, env=place.environment, pass_fds=pass_fds, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    try:
        assert any(STARTED in line for line in process.stderr)
        yield process
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


@pytest.mark.parametrize("module", [["rpc"], ["rpc:queue"], ["rpc.py"], ["--app", "rpc"]], ids=" ".join)
def test_a_worker_runs_what_a_script_enqueues(module: list[str], place: Place, stream_key: str) -> None:
    """The functions are in __main__ for the script and in rpc for the worker; their names on the wire are the same."""
    write(place, stream_key)

    with place.worker("-m", "pyxqueue", "worker", *module, "-p", "1") as worker:
        assert place.run("rpc.py") == f"{worker.pid} __main__.py inline\n"


def test_an_interrupted_worker_exits_with_0(place: Place, stream_key: str, log: Path) -> None:
    """^C is the usual way to stop it."""
    write(place, stream_key)

    with place.worker("-m", "pyxqueue", "worker", "rpc", "-p", "1", output=log) as worker:
        until(lambda: STARTED in log.read_text(), worker)
        worker.send_signal(signal.SIGINT)
        assert worker.wait(PATIENCE) == 0
    assert "all workers have stopped" in log.read_text()


def test_options_are_passed_to_run(
    command: Command, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each option has an argument of `run`."""
    monkeypatch.setenv("PYXQUEUE_LOG_FORMAT", "text")  # so that it is as before when the test has ended
    said: list[object] = []
    monkeypatch.setattr(TaskQueue, "run", lambda _queue, *args, **more: said.extend([args, more]))
    module = write("from pyxqueue import TaskQueue\nqueue = TaskQueue()")

    command(
        "worker",
        module,
        "--path",
        str(tmp_path),
        "-p",
        "2",
        "-t",
        "3",
        "-c",
        "4",
        "--grace",
        "5",
        "--max-tasks-per-child",
        "6",
        "--max-memory-per-child",
        "7",
    )

    assert said == [
        (2,),
        {
            "threads": 3,
            "concurrency": 4,
            "grace": 5.0,
            "max_tasks_per_child": 6,
            "max_memory_per_child": 7.0,
            "parent": None,
        },
    ]


def test_options_come_from_the_environment_too(place: Place, stream_key: str, log: Path) -> None:
    """As in a container; also the app and the format of the log."""
    write(place, stream_key)
    more = {"PYXQUEUE_PROCESSES": "3", "PYXQUEUE_APP": "rpc", "PYXQUEUE_LOG_FORMAT": "json"}
    place = Place(place.folder, place.url, {**place.more, **more})

    with place.worker("-m", "pyxqueue", "worker", output=log) as worker:
        until(lambda: STARTED in log.read_text(), worker)

    lines = [json.loads(line) for line in log.read_text().splitlines()]
    [started] = [line for line in lines if STARTED in line["message"]]
    assert started["message"].startswith("workers: 3, pid of the supervisor ")
    assert (started["level"], started["logger"]) == ("info", "pyxqueue.worker")


def test_a_worker_takes_its_store_from_url(place: Place, url: str, stream_key: str) -> None:
    """The processes that replace others use --url too."""
    write(place, stream_key)
    (place.folder / "nofork.py").write_text(f"{NO_FORK}\nfrom pyxqueue.cli import main\nmain()\n")
    astray = Place(place.folder, "redis://127.0.0.1:1", place.more)

    with astray.worker("nofork.py", "worker", "rpc", "-p", "1", "--url", url):
        assert place.run("rpc.py").endswith(" -c inline\n")


def test_the_log_level_suppresses_lower_levels(place: Place, stream_key: str, log: Path) -> None:
    """A worker that logs warnings only, and has none, logs nothing."""
    write(place, stream_key)

    with place.worker("-m", "pyxqueue", "worker", "rpc", "-p", "1", "--log-level", "warning", output=log):
        place.run("rpc.py")

    assert log.read_text() == ""


def test_a_module_that_fails_shows_its_traceback(place: Place, stream_key: str) -> None:
    """The exit code says that starting it again will not help."""
    (place.folder / "rpc.py").write_text("raise RuntimeError('no settings')")

    done = subprocess.run(
        [sys.executable, "-m", "pyxqueue", "worker", "rpc"],
        cwd=place.folder, env=place.environment, capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Error: rpc cannot be imported\n")
    assert done.stderr.endswith("RuntimeError: no settings\n")


def test_a_worker_without_tasks_says_so(place: Place, stream_key: str, log: Path) -> None:
    """Every task would fail in the end; usually an import is missing."""
    (place.folder / "empty.py").write_text(f"from pyxqueue import TaskQueue\nqueue = TaskQueue({stream_key!r})")
    with place.worker("-m", "pyxqueue", "worker", "empty", "-p", "1", output=log) as process:
        until(lambda: "has no tasks in this process" in log.read_text(), process)

    assert f"WARNING pyxqueue.worker: the queue {stream_key!r} has no tasks in this process" in log.read_text()
    assert "--import MODULE" in log.read_text()


def test_a_worker_needs_a_module(command: Command) -> None:
    """A store alone does not have the functions."""
    result = command("worker")

    assert result.exit_code == 2
    assert "pyxqueue worker rpc" in result.stderr


def test_a_worker_ends_with_its_parent(place: Place, stream_key: str) -> None:
    """When the other end of the pipe is closed, in whatever way the parent ended."""
    write(place, stream_key)
    reader, writer = os.pipe()
    with started(place, "--parent-fd", str(reader), pass_fds=[reader]) as process:
        os.close(reader)
        os.close(writer)
        _, rest = process.communicate(timeout=PATIENCE)
    assert (process.returncode, "all workers have stopped" in rest) == (0, True)


THREAD = "threading.Thread(target=threading.Event().wait, daemon=True).start(); queue.start(1)"


def test_a_program_with_threads_starts_workers_as_new_interpreters(place: Place, stream_key: str) -> None:
    """Forking beside threads is not safe, so `start` runs the command.

    The end of the program is that of its workers: as long as one lives, the output would not end.
    """
    write(place, stream_key, THREAD)

    assert place.run("rpc.py").endswith(" -c inline\n")


def test_without_fork_each_process_is_a_new_interpreter(place: Place, stream_key: str, log: Path) -> None:
    """As on macOS: the supervisor starts the hidden command `child`, which gets its logging options."""
    write(place, stream_key)
    (place.folder / "nofork.py").write_text(
        f"{NO_FORK}\nfrom pyxqueue.cli import main\n"
        "main(['worker', 'rpc', '-p', '1', '-t', '2', '--log-format', 'json', '--log-level', 'debug'])\n"
    )

    with place.worker("nofork.py", output=log) as worker:
        assert place.run("rpc.py") == f"{worker.pid} -c thread\n"

    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert len({line["pid"] for line in lines}) == 2


def test_workers_in_new_interpreters_know_all_tasks(place: Place, stream_key: str) -> None:
    """Also those of modules that the queue's own module does not import."""
    (place.folder / "app.py").write_text(
        f"from pyxqueue import TaskQueue\nqueue = TaskQueue(stream_key='{stream_key}')"
    )
    for name in ("one", "two"):
        (place.folder / f"{name}.py").write_text(f"import app\n@app.queue.task\ndef job(): return '{name}'\n")
    (place.folder / "main.py").write_text(
        "import threading, app, one, two\n"
        "if __name__ == '__main__':\n"
        "    threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
        "    app.queue.start(1)\n"
        "    print(one.job().get(timeout=40), two.job().get(timeout=40))\n"
        "    app.queue.shutdown()\n"
    )

    assert place.run("main.py") == "one two\n"


def test_a_script_without_a_main_guard_does_not_start_workers_forever(place: Place) -> None:
    """Workers that import it would start workers again: the first one prints what to do and ends."""
    (place.folder / "chain.py").write_text(
        f"{NO_FORK}\n"
        "from pathlib import Path\n"
        "from pyxqueue import TaskQueue\n"
        "with Path('imports').open('a') as file: file.write(f'{__name__}\\n')\n"
        "queue = TaskQueue()\n"
        "@queue.task\ndef job(): ...\n"
        "queue.start(1)\n"
    )

    done = subprocess.run(
        [sys.executable, "chain.py"], cwd=place.folder, env=place.environment, stderr=subprocess.PIPE, text=True,
        timeout=PATIENCE, check=False,
    )  # fmt: skip

    assert done.returncode == 1
    assert "chain starts workers while it is imported for the tasks in it" in done.stderr
    assert "the workers exited during startup with code 2" in done.stderr
    assert (place.folder / "imports").read_text() == "__main__\nchain\n"


# --reload


def answer(url: str, stream_key: str) -> Callable[[], str]:
    """Returns the current result of the task `rpc.version`."""
    queue = TaskQueue(url, stream_key=stream_key)

    @queue.task(name="rpc.version")
    def version() -> str:
        raise NotImplementedError

    def ask() -> str:
        try:
            return version().get(timeout=PATIENCE)
        finally:
            queue.close()

    return ask


def write_version(place: Place, stream_key: str, version: str) -> None:
    (place.folder / "rpc.py").write_text(
        f"from pyxqueue import TaskQueue\nqueue = TaskQueue(stream_key='{stream_key}')\n"
        f"@queue.task\ndef version(): return '{version}'\n"
    )


def test_workers_are_reloaded_when_a_file_changes(place: Place, url: str, stream_key: str, log: Path) -> None:
    """A file that cannot be imported stops the workers but not the watcher: after the next change they run."""
    # Given
    write_version(place, stream_key, "first")
    ask = answer(url, stream_key)
    with place.worker("-m", "pyxqueue", "worker", "rpc", "-p", "1", "--grace", "7", "--reload", output=log) as watcher:
        assert ask() == "first"
        # When
        write_version(place, stream_key, "second")
        # Then
        until(lambda: ask() == "second", watcher)
        # When
        (place.folder / "rpc.py").write_text("def version(:\n")
        until(lambda: "SyntaxError" in log.read_text(), watcher)
        write_version(place, stream_key, "third")
        # Then
        until(lambda: ask() == "third", watcher)
    assert "have 7 s to end" in log.read_text()


def test_a_watcher_waits_for_its_workers(place: Place, url: str, stream_key: str, log: Path) -> None:
    """A task that runs when the watcher is stopped may end."""
    # Given
    (place.folder / "rpc.py").write_text(
        f"import time\nfrom pathlib import Path\nfrom pyxqueue import TaskQueue\n"
        f"queue = TaskQueue(stream_key='{stream_key}')\n"
        f"@queue.task\ndef version():\n    while not Path('go').exists(): time.sleep(0.01)\n    return 'done'\n"
    )
    queue = TaskQueue(url, stream_key=stream_key)
    result = queue.task(name="rpc.version")(lambda: "")()
    with place.worker("-m", "pyxqueue", "worker", "rpc", "-p", "1", "--reload", output=log) as watcher:
        until(lambda: result.state is TaskStatus.STARTED, watcher)
        # When
        watcher.send_signal(signal.SIGTERM)
        until(lambda: "running tasks (1) have 25 s to end" in log.read_text(), watcher)
        # Then
        with pytest.raises(subprocess.TimeoutExpired):  # the task goes on, so waiting longer would change nothing
            watcher.wait(1)
        (place.folder / "go").touch()
        watcher.wait(PATIENCE)
    assert log.read_text().endswith("all workers have stopped\n")
    assert result.get(timeout=PATIENCE) == "done"
    queue.close()


def test_reloading_workers_end_with_their_watcher(place: Place, stream_key: str) -> None:
    """Also when it is killed. They inherit PYXQUEUE_RELOAD, but do not become watchers."""
    write(place, stream_key)
    place = Place(place.folder, place.url, {**place.more, "PYXQUEUE_RELOAD": "1"})
    with started(place) as process:
        process.kill()
        _, rest = process.communicate(timeout=PATIENCE)
    assert "the program that started these workers has ended" in rest


def test_reloading_without_watchfiles_says_what_to_install(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """watchfiles is an extra."""
    monkeypatch.setitem(sys.modules, "watchfiles", None)

    result = command("worker", "rpc", "--reload")

    assert result.exit_code == 2
    assert "pip install 'pyxqueue[reload]'" in result.stderr


def test_the_program_is_a_script_of_the_package() -> None:
    """``pyxqueue`` and ``python -m pyxqueue`` are the same."""
    [entry] = entry_points(group="console_scripts", name="pyxqueue")

    assert entry.load() is program
