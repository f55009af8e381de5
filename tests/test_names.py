"""A task and a class have the same name in every process, however its code was started."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

import pyxqueue
from pyxqueue.errors import ConfigurationError
from pyxqueue.names import import_path, qualified_name

SCRIPT = """
from pyxqueue.names import qualified_name

class Outer:
    class Inner: ...

def task(): ...

if __name__ == "__main__":
    print(qualified_name(task), qualified_name(Outer.Inner))
"""
SPAWNING = """
import multiprocessing
from pyxqueue.names import qualified_name

def task():
    print(qualified_name(task), flush=True)

NAME_WHILE_IMPORTING = qualified_name(task)

def check():
    print(NAME_WHILE_IMPORTING, __name__, flush=True)
    task()

if __name__ == "__main__":
    child = multiprocessing.get_context("spawn").Process(target=check)
    child.start()
    child.join()
"""


def run(folder: Path, *arguments: str, stdin: str = "") -> list[str]:
    """The words that Python prints when it runs with these arguments in `folder`."""
    paths = os.pathsep.join([str(Path(pyxqueue.__file__).parents[1]), str(folder)])
    process = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": paths},
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return process.stdout.split()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A script, and a package with a module and a ``__main__``."""
    package = tmp_path / "package"
    package.mkdir()
    for path in (tmp_path / "rpc.py", package / "__init__.py", package / "jobs.py", package / "__main__.py"):
        path.write_text(SCRIPT)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "module"),
    [
        (["rpc.py"], "rpc"),
        (["./package/../rpc.py"], "rpc"),
        (["package/jobs.py"], "jobs"),
        (["-m", "rpc"], "rpc"),
        (["-m", "package.jobs"], "package.jobs"),
        (["-m", "package"], "package.__main__"),
        (["-c", SCRIPT], "__main__"),
        (["-"], "__main__"),
    ],
    ids=["file", "path", "file-in-package", "m-module", "m-submodule", "m-package", "command", "stdin"],
)
def test_a_script_has_its_import_path(folder: Path, arguments: list[str], module: str) -> None:
    """The name is the one that another process can import, if there is one."""
    assert run(folder, *arguments, stdin=SCRIPT) == [f"{module}.task", f"{module}.Outer.Inner"]


@pytest.mark.parametrize(("arguments", "module"), [(["jobs.py"], "jobs"), (["-m", "jobs"], "jobs")], ids=["file", "m"])
def test_a_spawned_child_names_the_script_alike(tmp_path: Path, arguments: list[str], module: str) -> None:
    """There the script is loaded as ``__mp_main__``; names are taken while it loads, and later."""
    (tmp_path / "jobs.py").write_text(SPAWNING)

    assert run(tmp_path, *arguments) == [f"{module}.task", "__mp_main__", f"{module}.task"]


@pytest.mark.parametrize("stem", ["my script", "rpc.v2", "a:b"])
def test_a_script_that_cannot_be_imported_stays_main(monkeypatch: pytest.MonkeyPatch, stem: str) -> None:
    """A script whose stem cannot be a module name stays `__main__`."""
    script = ModuleType("__main__")
    script.__file__ = f"/srv/{stem}.py"
    monkeypatch.setitem(sys.modules, "__main__", script)

    assert import_path("__main__") == "__main__"


def test_modules_keep_their_names() -> None:
    """Only scripts get another name; modules keep theirs."""
    assert import_path("package.__main__") == "package.__main__"
    assert qualified_name(functools.wraps) == "functools.wraps"
    assert qualified_name(Path) == f"{Path.__module__}.Path"


@pytest.mark.parametrize("nameless", [functools.partial(print), 1, SimpleNamespace(__qualname__="x", __module__=None)])
def test_what_has_no_name_is_refused(nameless: object) -> None:
    """A function without a stable name is refused: a made-up name would differ between processes."""
    with pytest.raises(ConfigurationError, match="does not have a module and a name"):
        qualified_name(nameless)
