"""The packages in `examples/thirdparty_*`: installed as any other, proven by their own tests, used by real workers."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from pyxqueue import ConfigurationError, TaskQueue
from pyxqueue.client.settings import SERIALIZER_GROUP, find_serializer
from pyxqueue.stores import GROUP

from .processes.app import App, Site
from .running import ROOT
from .support.trees import Tree, environment
from .support.until import until

PACKAGES = {"thirdparty_backend": (GROUP, "files"), "thirdparty_serializer": (SERIALIZER_GROUP, "zjson")}
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc to find the processes")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A queue in a folder, with a lease of one second."""
    return Site(f"files://{tmp_path}/store", "jobs", str(tmp_path / "log"), lease=1)


@pytest.fixture
def app(site: Site) -> Iterator[App]:
    made = site.app()
    yield made
    made.queue.close()


@pytest.mark.parametrize("package", PACKAGES)
def test_it_is_installed(package: str) -> None:
    """`make` has installed the package, and its entry point is found."""
    group, name = PACKAGES[package]
    assert entry_points(group=group, name=name), f"run: pip install --no-deps --editable examples/{package}"


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("package", "chosen", "least"),
    [
        ("thirdparty_backend", "not thousand", 150),
        ("thirdparty_serializer", "", 10),
        pytest.param("thirdparty_backend", "thousand", 10, marks=pytest.mark.soak),  # a file each
    ],
)
def test_its_own_tests_pass(package: str, chosen: str, least: int, tmp_path: Path) -> None:
    """The kit's tests and its own pass, in a process that imports none of our tests. Fewer than `least` would mean that
    the kit's were not found."""
    # The last two plugins come with packages that nobody here imports.
    options = ["-q", f"--basetemp={tmp_path / 'its'}", "-p", "no:cacheprovider", "-p", "no:valkey", "-p", "no:anyio"]
    options += ["-k", chosen]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options],
        cwd=ROOT / "examples" / package,
        env=environment({"HYPOTHESIS_STORAGE_DIRECTORY": str(tmp_path / "hypothesis")}),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    last = (done.stdout.splitlines() or [""])[-1]
    found = re.fullmatch(r"(\d+) passed(, \d+ deselected)? in .*", last)
    assert done.returncode == 0, done.stdout + done.stderr
    assert found is not None, last
    assert int(found[1]) >= least


@on_linux
def test_worker_processes_share_a_folder(site: Site, app: App, tmp_path: Path) -> None:
    """Two processes do what a third enqueues: results, failures, progress and a clean stop."""
    with Tree("tests.processes.app_worker", site.environment(), tmp_path / "tree.log", "-p", "2") as tree:
        handles = [app["work"](0.02, number) for number in range(20)]

        assert [handle.get(30) for handle in handles] == list(range(20))
        assert tree.stop() == 0, (tmp_path / "tree.log").read_text()
    assert Counter(line.task_id for line in site.of("settled")) == Counter({one.task_id: 1 for one in handles})


@on_linux
def test_what_killed_processes_leave_is_done(site: Site, app: App, tmp_path: Path) -> None:
    """After SIGKILL in the middle of an operation the next workers find the folder in order; nothing is lost."""
    handles = [app["work"](0.02, number) for number in range(30)]
    for done in (5, 15):
        # Leaving the tree kills it.
        with Tree("tests.processes.app_worker", site.environment(), tmp_path / f"tree-{done}.log", "-p", "2"):
            until(lambda done=done: len(site.of("settled")) >= done, "they are in the midst of it")  # type: ignore[misc]

    with Tree("tests.processes.app_worker", site.environment(), tmp_path / "last.log", "-p", "2"):
        assert [handle.get(30) for handle in handles] == list(range(30))
    accepted = Counter(line.task_id for line in site.of("settled") if line.more[-1] == "1")
    assert max(accepted.values()) == 1


def test_a_queue_with_a_serializer_of_another_package() -> None:
    """The name of an installed serializer is enough."""
    assert TaskQueue("memory://", serializer="zjson").core.codec.serializers.keys() >= {"zjson"}


def test_an_unknown_serializer_is_told_with_those_there_are() -> None:
    """The error lists our serializers and the installed ones."""
    with pytest.raises(
        ConfigurationError,
        match=r"^the serializer 'yaml' is not installed: give a Serializer object, or one of json, .*, zjson$",
    ):
        find_serializer("yaml")
