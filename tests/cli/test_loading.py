"""``MODULE[:QUEUE]`` is loaded as a queue; the errors say what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from pyxqueue import ConfigurationError, TaskQueue
from pyxqueue.cli.loading import App, ImportFailed

from .conftest import Write

QUEUE = "from pyxqueue import TaskQueue\nqueue = TaskQueue('one')\n"


STARTS = (
    "pyxqueue.errors.ConfigurationError: MODULE starts workers while it is imported for the tasks in it, and they "
    "would import it again: put queue.run() and queue.start() under `if __name__ == '__main__':`"
)


@pytest.fixture
def load(write: Write, tmp_path: Path) -> Callable[[str], TaskQueue]:
    return lambda text: App.parse(text, str(tmp_path)).load()


Load: TypeAlias = Callable[[str], TaskQueue]


def test_the_only_queue_is_found(write: Write, load: Load) -> None:
    """Also if it has two names."""
    assert load(write(QUEUE + "same = queue\n")).stream_key == "one"


def test_one_of_several_queues_is_named(write: Write, load: Load) -> None:
    """Its name may be a path of attributes."""
    module = write(QUEUE + "class Mail:\n    queue = TaskQueue('mail')\n")

    assert load(f"{module}:queue").stream_key == "one"
    assert load(f"{module}:Mail.queue").stream_key == "mail"


def test_several_queues_are_listed(write: Write, load: Load) -> None:
    """The error lists them in the form that chooses one."""
    module = write(QUEUE + "other = TaskQueue('two')\n")

    with pytest.raises(ConfigurationError, match=f"has 2 queues, name one of them: {module}:queue, {module}:other$"):
        load(module)


@pytest.mark.parametrize(
    ("source", "queue", "message"),
    [
        ("", "", "does not have a TaskQueue at module level"),
        (QUEUE, ":qeue", "does not have an attribute 'qeue'; its queues: queue"),
        ("", ":qeue", "does not have an attribute 'qeue'; its queues: none"),
        ("queue = 3", ":queue", ":queue is a int, not a TaskQueue"),
    ],
)
def test_a_module_without_the_queue_is_refused(source: str, queue: str, message: str, write: Write, load: Load) -> None:
    """The error says what the module has instead."""
    with pytest.raises(ConfigurationError, match=message):
        load(write(source) + queue)


def test_a_missing_module_is_refused(load: Load, tmp_path: Path) -> None:
    """The error names the folder that was searched."""
    with pytest.raises(ConfigurationError, match=rf"no module 'no_such_app' in {tmp_path}.*--path"):
        load("no_such_app.tasks")


@pytest.mark.parametrize("text", ["", ":queue", "a..b", ".a", "a b"])
def test_text_that_cannot_name_a_module_is_refused(text: str, load: Load) -> None:
    """Before anything is imported."""
    with pytest.raises(ConfigurationError, match="is not a module: use"):
        load(text)


def test_a_missing_file_is_refused(load: Load) -> None:
    """The error has its full path."""
    with pytest.raises(ConfigurationError, match=r"the file /.*/nope\.py does not exist"):
        load("nope.py")


def test_a_file_is_the_module_it_would_be_imported_as(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task's name begins with the module's name; the folder that was given for modules is not used."""
    monkeypatch.chdir(tmp_path)
    inner = tmp_path / "shop" / "mail"
    inner.mkdir(parents=True)
    for file in (tmp_path / "rpc.py", inner / "tasks.py", inner / "__init__.py", inner.parent / "__init__.py"):
        file.write_text("")

    assert App.parse("rpc.py:queue", "/elsewhere") == App("rpc", "queue", str(tmp_path))
    assert App.parse("./shop/mail/tasks.py", "/elsewhere") == App("shop.mail.tasks", "", str(tmp_path))
    assert App.parse("shop/mail/__init__.py", "/elsewhere") == App("shop.mail", "", str(tmp_path))


@pytest.mark.parametrize(
    ("source", "last"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("def f(:\n", "SyntaxError: invalid syntax"),
        ("import sys\nsys.exit('usage')", "SystemExit: usage"),
        (f"{QUEUE}queue.start(1)", STARTS),
        (f"{QUEUE}queue.run(1)", STARTS),
        (f"from concurrent.futures import *\n{QUEUE}ThreadPoolExecutor().submit(queue.start, 1).result()", STARTS),
    ],
)
def test_a_failing_module_shows_its_own_traceback(source: str, last: str, write: Write, load: Load) -> None:
    """It begins with the user's first line; the frames of the import system are left out."""
    module = write(source)

    with pytest.raises(ImportFailed) as caught:
        load(module)

    lines = caught.value.message.splitlines()
    assert (lines[0], lines[-1]) == (f"{module} cannot be imported", last.replace("MODULE", module))
    assert f"{module}.py" in next(line for line in lines if line.startswith("  File "))
    assert caught.value.exit_code == 2


def test_other_modules_are_imported_for_their_tasks(write: Write, tmp_path: Path) -> None:
    """The module of the queue does not import all modules that use it."""
    home = write(QUEUE)
    more = write(f"from {home} import queue\n@queue.task\ndef add(a, b): return a + b\n")

    queue = App.parse(home, str(tmp_path)).load([more])

    assert [task.name for task in queue.core.registry] == [f"{more}.add"]


@pytest.mark.parametrize("named", ["", ":queue"])
def test_an_attribute_that_ends_the_program_when_it_is_read(named: str, write: Write, load: Load) -> None:
    """Such an object beside the queue does no harm; if it is the queue that is named, the error says so."""
    module = write(
        "class Odd:\n    @property\n    def __class__(self):\n        raise SystemExit(3)\n"
        f"odd = Odd()\n{'queue = Odd()' if named else QUEUE}"
    )

    if not named:
        assert load(module).stream_key
        return
    with pytest.raises(ImportFailed, match=r"the attributes of .* cannot be read(?s:.*)SystemExit: 3"):
        load(f"{module}{named}")
