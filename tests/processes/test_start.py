"""start() and shutdown() from a script, a prompt and a program with threads, and the death of such a program."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pyxqueue import AlreadyRunningError, NotRunningError
from tests.support.trees import MARK, environment, marked
from tests.support.until import until

from .app import Site

HEAD = """
from pyxqueue import TaskQueue
queue = TaskQueue({url!r}, stream_key={stream!r}, lease=1)

@queue.task
def add(a, b):
    return a + b
"""


def run(folder: Path, *args: str, program: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", *args],
        cwd=folder,
        env=environment({}),
        input=program,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def head(site: Site) -> str:
    return HEAD.format(url=site.url, stream=site.stream)


def test_from_a_script(site: Site, tmp_path: Path) -> None:
    """Workers are started, used, stopped and started again."""
    (tmp_path / "script.py").write_text(
        head(site)
        + """
if __name__ == "__main__":
    for number in range(2):
        queue.start(1)
        print(add(number, 1).get(20))
        queue.shutdown()
"""
    )

    done = run(tmp_path, "script.py")

    assert (done.returncode, done.stdout.split(), done.stderr) == (0, ["1", "2"], "")


def test_from_a_prompt(site: Site, tmp_path: Path) -> None:
    """Functions that are defined at the prompt run too."""
    typed = head(site) + "\nqueue.start(1)\nprint('sum', add(1, 2).get(20))\nqueue.shutdown()\n"

    done = run(tmp_path, "-i", "-q", program=typed)

    assert done.returncode == 0, done.stderr
    assert "sum 3" in done.stdout
    assert "Error" not in done.stderr


def test_from_a_program_with_threads(site: Site, tmp_path: Path) -> None:
    """The workers import the module of the tasks, because a fork would copy locks."""
    (tmp_path / "tasks.py").write_text(head(site))
    (tmp_path / "program.py").write_text("""
import threading
from tasks import add, queue

if __name__ == "__main__":
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    queue.start(1)
    print(add(3, 4).get(20))
    queue.shutdown()
    over.set()
    thread.join()
""")

    done = run(tmp_path, "program.py")

    assert (done.returncode, done.stdout, done.stderr) == (0, "7\n", "")


def test_the_workers_of_a_program_that_dies_end(site: Site, tmp_path: Path) -> None:
    """They end even if the program could not stop them."""
    program = head(site) + "\nqueue.start(2)\nprint(add(1, 1).get(20), flush=True)\ninput()\n"
    (tmp_path / "script.py").write_text(program)
    process = subprocess.Popen(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        env=environment({MARK: site.stream}),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == b"2\n"
    assert len(marked(site.stream)) >= 5  # the program, supervisor, watchdog, two processes

    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdin.close()
    process.stdout.close()

    until(lambda: not marked(site.stream), "they are gone", 10)


def test_running_twice(site: Site) -> None:
    """While workers run, neither run() nor start() starts others."""
    queue = site.queue()
    with pytest.raises(NotRunningError):
        queue.shutdown()
    queue._workers.running = True  # as inside of run()

    with pytest.raises(AlreadyRunningError):
        queue.run(1)
    with pytest.raises(AlreadyRunningError):
        queue.start(1)


def test_starting_twice(site: Site, tmp_path: Path) -> None:
    """After start(), both start() and run() raise; after shutdown(), shutdown() raises."""
    (tmp_path / "script.py").write_text(
        head(site)
        + """
if __name__ == "__main__":
    queue.start(1)
    for again in (queue.start, queue.run, queue.shutdown, queue.shutdown):
        try:
            again()
        except Exception as error:
            print(type(error).__name__)
"""
    )

    done = run(tmp_path, "script.py")

    assert done.stdout.split() == ["AlreadyRunningError", "AlreadyRunningError", "NotRunningError"], done.stderr


def test_a_redefined_task(site: Site, tmp_path: Path) -> None:
    """At a prompt, as in a notebook: the workers run the function they have, and a call of a newer one logs a warning,
    once; a second start() and restart() take the newest."""
    typed = head(site) + "\n"
    for number, then in ((1, "queue.start(1)"), (2, ""), (2, "queue.start(1)"), (3, "queue.restart()")):
        typed += f"@queue.task\ndef answer():\n    return {number}\n\n{then}\n"
        typed += "print('answers', answer().get(20), answer().get(20))\n"
    typed += "queue.shutdown()\n"

    done = run(tmp_path, "-i", "-q", program=typed)

    assert done.stdout.splitlines() == ["answers 1 1", "answers 1 1", "answers 2 2", "answers 3 3"], done.stderr
    assert done.stderr.count("__main__.answer was defined after the workers were started") == 1


def test_workers_get_the_whole_path(site: Site, tmp_path: Path) -> None:
    """The workers of a program with threads import from the folders of its own `sys.path`."""
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    (tmp_path / "one" / "tasks.py").write_text("import helper\n" + head(site).replace("a + b", "helper.plus(a, b)"))
    (tmp_path / "two" / "helper.py").write_text("def plus(a, b):\n    return a + b\n")
    (tmp_path / "program.py").write_text("""
import sys, threading
sys.path += ["one", "two"]
from tasks import add, queue

if __name__ == "__main__":
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    try:
        queue.start(1)
        print(add(3, 4).get(20))
        queue.shutdown()
    finally:
        over.set()
""")

    done = run(tmp_path, "program.py")

    assert (done.returncode, done.stdout, done.stderr) == (0, "7\n", "")


def test_a_script_whose_name_is_not_a_module_name(site: Site, tmp_path: Path) -> None:
    """The call raises an error that says what to do, unless this program has started workers, which have the tasks."""
    (tmp_path / "my tasks.py").write_text(
        head(site)
        + """
from pyxqueue import ConfigurationError

if __name__ == "__main__":
    try:
        add(1, 2)
    except ConfigurationError as error:
        print(error)
    print(queue.task_total())
    queue.start(1)
    print(add(1, 2).get(20))
    queue.shutdown()
"""
    )

    done = run(tmp_path, "my tasks.py")

    refusal, total, answer = done.stdout.splitlines()
    assert refusal.startswith("no worker can import the task __main__.add: ")
    assert "Rename the file to letters, digits and _" in refusal
    assert (total, answer) == ("0", "3"), done.stderr


def test_a_folder_whose_name_is_not_text(site: Site, tmp_path: Path) -> None:
    """The default store cannot be below it, and the error says so; with a store elsewhere, everything works."""
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    (folder / "there.py").write_text(head(site) + "\nqueue.start(1)\nprint(add(1, 2).get(20))\nqueue.shutdown()\n")
    (folder / "here.py").write_text("from pyxqueue import TaskQueue\nTaskQueue().task_total()\n")

    there, here = run(folder, "there.py"), run(folder, "here.py")

    assert there.stdout == "3\n", there.stderr
    assert "is not UTF-8, so a SQLite store cannot be below it" in here.stderr
    assert "ConfigurationError" in here.stderr
