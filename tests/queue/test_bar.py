"""``get(show_progress=True)`` draws for people, and only for them."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

from pyxqueue import TaskQueue

PROGRAM = """
import pyxqueue

queue = pyxqueue.TaskQueue("bar", eager=True)

@queue.task(name="copy")
def copy(fail):
    pyxqueue.progress(30, 40, "files")
    if fail:
        raise ValueError("disk full")
    return "copied"

try:
    print(copy(FAIL).get(show_progress=True))
except pyxqueue.TaskError as error:
    print(error.error)
"""
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith("PYXQUEUE")},
    "TERM": "xterm-256color",
    "COLUMNS": "100",
}


def in_a_terminal(program: str) -> str:
    """What a program writes to a terminal."""
    ours, its = pty.openpty()
    process = subprocess.Popen([sys.executable, "-W", "error", "-c", program], stdout=its, stderr=its, env=ENVIRONMENT)
    os.close(its)
    output = b""
    try:
        while chunk := os.read(ours, 4096):
            output += chunk
    except OSError:  # Linux ends a terminal without a writer like this
        pass
    finally:
        os.close(ours)
    assert process.wait(30) == 0, output.decode()
    return output.decode()


@pytest.mark.parametrize(("fail", "said"), [(False, "copied"), (True, "ValueError: disk full")])
def test_a_terminal_gets_a_bar(fail: bool, said: str) -> None:
    """The bar has the task's name, message and progress; the result or the failure follows."""
    output = in_a_terminal(PROGRAM.replace("FAIL", str(fail)))

    assert "copy files" in output
    assert "75%" in output
    assert said in output.splitlines()[-1]


def test_a_bare_number_is_a_percentage() -> None:
    """A bare number up to 100 is a percentage; a larger one has no known end."""
    program = PROGRAM.replace("FAIL", "False")

    assert "30%" in in_a_terminal(program.replace('30, 40, "files"', "30"))
    assert "100%" not in in_a_terminal(program.replace('30, 40, "files"', "300"))


GATHERS = ["pyxqueue.gather(HANDLES, show_progress=True)", "asyncio.run(pyxqueue.agather(HANDLES, show_progress=True))"]


@pytest.mark.parametrize("without", [True, False], ids=["plain", "rich"])
@pytest.mark.parametrize("call", GATHERS, ids=["gather", "agather"])
def test_many_tasks_have_one_bar(without: bool, call: str) -> None:
    """The bar of `gather` counts the tasks that have ended."""
    call = call.replace("HANDLES", "[copy(False), copy(False)]")
    program = f"import asyncio\n{PROGRAM.partition('try:')[0]}print({call})"
    output = in_a_terminal(("import sys; sys.modules['rich.console'] = None\n" if without else "") + program)

    assert "2 tasks" in output
    assert "100%" in output
    assert output.splitlines()[-1].endswith("['copied', 'copied']")


def test_an_await_has_a_bar() -> None:
    """`aget` draws the bar of `get`."""
    call = "asyncio.run(copy(False).aget(show_progress=True))"
    output = in_a_terminal(f"import asyncio\n{PROGRAM.partition('try:')[0]}print({call})")

    assert "copy files" in output
    assert output.splitlines()[-1].endswith("copied")


def test_what_a_task_says_is_no_markup() -> None:
    """Brackets in the text of a task are shown as they are."""
    program = PROGRAM.replace("FAIL", "False").replace('"files"', '"a[/b] [red]c"')

    assert "copy a[/b] [red]c" in in_a_terminal(program)


def test_a_pipe_gets_the_output_and_nothing_else() -> None:
    """Nothing of the bar goes into a pipe, not even an empty line."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM.replace("FAIL", "False")],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        check=True,
    )

    assert (done.stdout, done.stderr) == ("copied\n", "")


WITHOUT_RICH = "import sys; sys.modules['rich'] = sys.modules['rich.console'] = None\n"


@pytest.mark.parametrize(("fail", "said"), [(False, "copied"), (True, "ValueError: disk full")])
def test_without_rich_a_plain_bar_is_drawn(fail: bool, said: str) -> None:
    """The task was enqueued by then: a missing extra must not be what fails."""
    output = in_a_terminal(WITHOUT_RICH + PROGRAM.replace("FAIL", str(fail)))

    *_, bar, last = output.splitlines()
    assert "[######################........]  75% copy files" in bar
    assert last == said


def test_a_plain_bar_without_an_end_shows_the_number() -> None:
    """The bar shows the number, and the task's text cannot write over the terminal."""
    program = PROGRAM.replace("FAIL", "False").replace('30, 40, "files"', r'300, message="a\x1b[2J\nb"')
    output = in_a_terminal(WITHOUT_RICH + program)

    assert r"300 copy a\x1b[2J\nb" in output


def test_without_rich_a_pipe_gets_the_output_and_nothing_else() -> None:
    """The plain bar is not drawn into a pipe either."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", WITHOUT_RICH + PROGRAM.replace("FAIL", "False")],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        check=True,
    )

    assert (done.stdout, done.stderr) == ("copied\n", "")


def test_the_bar_waits_no_longer_than_it_is_told() -> None:
    """The timeout also holds while the bar watches the progress."""
    queue = TaskQueue("memory://", stream_key="bar")
    handle = queue.task(name="one")(lambda: 1)()

    with pytest.raises(TimeoutError):
        handle.get(timeout=0.01, show_progress=True)
