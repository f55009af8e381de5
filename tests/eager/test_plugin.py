"""The pytest plugin, as a project that tests its tasks gets it."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points

import pytest

APP = """
from pyxqueue import TaskQueue

queue = TaskQueue("app")
sent = []

@queue.task
def send(address):
    if "@" not in address:
        raise ValueError(address)
    sent.append(address)
"""
TESTS = """
import app
import pytest
from pyxqueue import TaskError

def test_at_once(pyxqueue_eager):
    app.send("ada@example.org")
    assert app.sent == ["ada@example.org"]

def test_later(pyxqueue_eager):
    app.send.with_options(delay=60)("bob@example.org")
    assert "bob@example.org" not in app.sent
    pyxqueue_eager.advance(60)
    assert "bob@example.org" in app.sent

def test_a_new_store(pyxqueue_eager):
    assert app.queue.task_total() == 0

def test_failure(pyxqueue_eager):
    with pytest.raises(TaskError):
        app.send("nobody").get()

def test_propagate(pyxqueue_eager):
    pyxqueue_eager.propagate = True
    with pytest.raises(ValueError):
        app.send("nobody")
"""


def test_the_fixture_makes_queues_eager(pytester: pytest.Pytester) -> None:
    """Nothing has to be configured, and each test has a store of its own."""
    pytester.makepyfile(app=APP, test_app=TESTS)

    result = pytester.runpytest_subprocess("-p", "no:randomly", "-p", "no:valkey")

    result.assert_outcomes(passed=5)


def test_a_project_may_propagate_everywhere(pytester: pytest.Pytester) -> None:
    """A project overrides the fixture in the usual way."""
    pytester.makeconftest(
        """
        import pytest

        @pytest.fixture
        def pyxqueue_eager(pyxqueue_eager):
            pyxqueue_eager.propagate = True
            return pyxqueue_eager
        """
    )
    pytester.makepyfile(
        app=APP,
        test_app="""
        import app
        import pytest

        def test_it(pyxqueue_eager):
            with pytest.raises(ValueError):
                app.send("nobody")
        """,
    )

    pytester.runpytest_subprocess("-p", "no:randomly", "-p", "no:valkey").assert_outcomes(passed=1)


def test_the_plugin_is_installed() -> None:
    """Pytest finds it by its entry point."""
    (plugin,) = entry_points(group="pytest11", name="pyxqueue")

    assert plugin.value == "pytest_pyxqueue"


def test_loading_it_costs_nothing() -> None:
    """It is loaded in every project of the environment, so it imports nothing of ours."""
    program = "import sys, pytest_pyxqueue; print([name for name in sys.modules if name.startswith(('pyxq', 'redis'))])"

    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "[]"


def test_the_package_does_without_redis() -> None:
    """Eager mode and ``memory://`` need no client library to be loaded."""
    program = "import sys, pyxqueue, pyxqueue.testing; print('redis' in sys.modules, 'pytest' in sys.modules)"

    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "False False"
