"""What imports the modules of plugins, and what they import."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import pyxqueue

EXTRAS = {"otel": "opentelemetry", "sentry": "sentry_sdk", "structlog": "structlog"}
SOURCES = Path(pyxqueue.__file__).parent


def run(program: str) -> str:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout


def test_the_core_imports_none_of_the_libraries() -> None:
    """A program that enqueues, runs tasks, and has a command line and a filter for its log."""
    program = (
        "import sys, pyxqueue, pyxqueue.cli.program, pyxqueue.worker.worker, pyxqueue.supervisor.launch\n"
        "with pyxqueue.eager_mode():\n"
        "    pyxqueue.TaskQueue('a').task(name='b')(int)()\n"
        "print(*sys.modules)"
    )
    imported = set(run(program).split())

    assert "pyxqueue.context" in imported
    assert not imported & {*EXTRAS.values(), *(f"pyxqueue.plugins.{name}" for name in EXTRAS)}


def test_no_module_imports_a_plugin() -> None:
    """Each of them is imported by the user's program alone."""
    users = [
        (path.relative_to(SOURCES), name)
        for path in SOURCES.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.ImportFrom)
        for name in EXTRAS
        if f"plugins.{name}" in (node.module or "") or (node.module or "").endswith("plugins")
    ]

    assert users == []


@pytest.mark.parametrize(("name", "library"), EXTRAS.items())
def test_a_missing_library_is_named_with_its_extra(name: str, library: str) -> None:
    """The error says what to install."""
    program = (
        f"import sys; sys.modules[{library!r}] = None\n"
        f"try: import pyxqueue.plugins.{name}\n"
        "except ImportError as error: print(error)"
    )

    assert f"pip install 'pyxqueue[{name}]'" in run(program)


@pytest.mark.parametrize("name", EXTRAS)
def test_a_plugin_is_a_small_module(name: str) -> None:
    """It can be read in one go, and be taken as an example for others."""
    assert len((SOURCES / "plugins" / f"{name}.py").read_text().splitlines()) < 250
