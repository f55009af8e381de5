"""The rules of the house that a program can check, and that it does check them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

import pyxqueue

from .architecture import MAX_LINES, MAX_METHODS, violations

PROJECT = Path(__file__).parent.parent

REGISTRY_HOSTS = tuple(
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("npmjs", "org"),
        ("npmjs", "com"),
        ("yarnpkg", "com"),
        ("crates", "io"),
        ("rubygems", "org"),
        ("deb", "debian", "org"),
        ("security", "debian", "org"),
        ("archive", "ubuntu", "com"),
        ("proxy", "golang", "org"),
        ("repo1", "maven", "org"),
    )
)
"""In parts, so that this file does not accuse itself."""


MAX_WIDTH = 120
"""Characters of a line, as in pyproject.toml."""

Check = Callable[[Mapping[str, str]], list[str]]


@pytest.fixture
def check(tmp_path: Path) -> Check:
    """Plant a package of the given modules and return what the checker says about it."""

    def plant_and_check(modules: Mapping[str, str]) -> list[str]:
        package = tmp_path / "pyxqueue"
        for name, source in {"__init__.py": "", **modules}.items():
            path = package / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(source)
        return violations(package)

    return plant_and_check


def test_the_package_keeps_the_rules() -> None:
    """Imports point one way, without a cycle, and no function or class is too large."""
    assert violations(Path(pyxqueue.__file__).parent) == []


def test_no_file_names_the_host_of_a_package_registry() -> None:
    """Which registry or mirror serves a package is for each machine's own configuration to say."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=PROJECT,
        capture_output=True,
        check=False,
    )
    if listed.returncode == 0:
        files = [PROJECT / name for name in os.fsdecode(listed.stdout).split("\0") if name]
    else:  # an unpacked source archive
        files = [path for path in PROJECT.rglob("*") if not path.relative_to(PROJECT).parts[0].startswith(".")]

    texts = {path: path.read_bytes().lower() for path in files if path.is_file()}

    assert PROJECT / "pyproject.toml" in texts
    assert [(path, host) for path, text in texts.items() for host in REGISTRY_HOSTS if host.encode() in text] == []


def test_the_lines_of_lua_are_as_long_as_those_of_python() -> None:
    """Lines of Lua keep the limit of Python lines; no other tool checks it."""
    scripts = sorted(Path(pyxqueue.__file__).parent.rglob("*.lua"))
    lines = [
        (path.name, number, line) for path in scripts for number, line in enumerate(path.read_text().split("\n"), 1)
    ]

    assert len(scripts) > 10
    assert [line for line in lines if len(line[2]) > MAX_WIDTH] == []


def test_what_is_allowed_is_not_reported(check: Check) -> None:
    """Imports downwards, within a layer, within one backend, and re-exports in a package's __init__ are fine."""
    modules = {
        "__init__.py": "from .client import TaskQueue",
        "errors.py": "import os",
        "batching.py": "from .errors import PyxqueueError",
        "client.py": "from . import errors, batching\nfrom .worker import Worker\nfrom .backends.redis import Broker",
        "cli.py": "from . import __version__, TaskQueue",
        "worker/__init__.py": "from .loops import Worker",
        "worker/loops.py": "from ..batching import Message\nfrom . import settle",
        "worker/settle.py": "import pyxqueue.errors",
        "backends/__init__.py": "",
        "backends/redis/__init__.py": "from .broker import Broker",
        "backends/redis/broker.py": "from . import keys\nfrom ...batching import Message",
        "backends/redis/keys.py": "",
    }

    assert check(modules) == []


@pytest.mark.parametrize(
    "source",
    [
        "from .client import TaskQueue",
        "from . import client",
        "from . import TaskQueue",
        "import pyxqueue.client",
        "from pyxqueue import client as q",
        "def late():\n    from .client import TaskQueue",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .client import TaskQueue",
    ],
)
def test_an_import_upwards_is_reported(check: Check, source: str) -> None:
    """An import upwards is reported, however it is written and wherever it stands."""
    [fault] = check({"batching.py": source, "client.py": ""})

    assert fault in ("batching -> client: goes up", "batching -> __init__: goes up")


def test_an_import_upwards_out_of_a_package_is_reported(check: Check) -> None:
    """Two dots lead out of the worker package."""
    assert check({"worker/loops.py": "from ..client import TaskQueue", "client.py": ""}) == [
        "worker.loops -> client: goes up"
    ]


def test_a_backend_that_imports_another_is_reported(check: Check) -> None:
    """Also an import inside a package of backends, or inside a function."""
    modules = {
        "backends/memory.py": "def late():\n    from . import redis",
        "backends/sqlite.py": "from .redis.keys import key",
        "backends/redis/__init__.py": "",
        "backends/redis/keys.py": "",
    }

    assert check(modules) == [
        "backends.memory -> backends.redis.__init__: a backend imports another",
        "backends.sqlite -> backends.redis.keys: a backend imports another",
    ]


def test_a_core_that_names_a_backend_is_reported(check: Check) -> None:
    """The worker takes any broker; only the facade and what is above it choose one."""
    modules = {"worker.py": "from .backends import memory", "backends/memory.py": ""}

    assert check(modules) == ["worker -> backends.memory: the core names a backend"]


def test_a_cycle_within_a_layer_is_reported(check: Check) -> None:
    """Two modules of one layer may not need each other."""
    assert check({"registry.py": "from .codec import R", "codec.py": "def late():\n    from . import registry"}) == [
        "cycle: codec -> registry -> codec"
    ]


def test_a_cycle_through_the_init_of_a_package_is_reported(check: Check) -> None:
    """Importing a module runs the __init__ of its package first, whatever is taken from it."""
    modules = {
        "worker/__init__.py": "from ..testing import tools",
        "worker/loops.py": "",
        "testing/__init__.py": "",
        "testing/tools.py": "from ..worker import loops",
    }

    assert check(modules) == [
        "worker.__init__ -> testing.tools: goes up",
        "cycle: testing.tools -> worker.__init__ -> testing.tools",
    ]


def test_a_module_without_a_layer_is_reported(check: Check) -> None:
    """A new module has to be given its place."""
    assert check({"helpers/more.py": ""}) == ["helpers.more: its layer is not known, add it to LAYERS"]


def test_a_long_function_is_reported(check: Check) -> None:
    """The limit itself is allowed; the length of a module, and of a class, is free."""
    fine, long = (
        f"def {name}():\n" + "    x = 1\n" * (count - 1) for name, count in (("f", MAX_LINES), ("g", MAX_LINES + 1))
    )

    assert check({"errors.py": fine * 10, "batching.py": long}) == [
        f"batching.g: {MAX_LINES + 1} lines, at most {MAX_LINES} are allowed"
    ]


def large_class(methods: int, name: str = "C") -> str:
    return f"class {name}:\n" + "".join(f"    def m{number}(self): ...\n" for number in range(methods))


def test_a_class_with_many_methods_is_reported(check: Check) -> None:
    """What is private, and what the seam asks for, does not count; the limit itself is allowed."""
    others = "".join(f"    def {name}(self): ...\n" for name in ("_private", "__len__", "enqueue", "settle"))
    protocols = "class Broker:\n    def enqueue(self): ...\n    def settle(self): ...\n"

    assert check(
        {"protocols.py": protocols, "errors.py": large_class(MAX_METHODS) + others, "batching.py": large_class(13)}
    ) == [f"batching.C: 13 public methods, at most {MAX_METHODS} are allowed"]


def test_classes_of_tests_may_have_many(check: Check) -> None:
    """The kit has one class for each operation."""
    assert check({"testing/__init__.py": "", "testing/contract.py": large_class(30)}) == []
