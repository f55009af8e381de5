"""The fixtures of `conftest.py` notice what they are there to notice."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from pyxqueue.testing import servers
from pyxqueue.testing.servers import ServerKind, Wheel

from . import conftest

Run: TypeAlias = Callable[..., pytest.RunResult]

NOT_INSTALLED = Wheel("some-package", "no_such_module", "*", systems=(sys.platform,), machines=(platform.machine(),))
NOT_FOR_US = Wheel("some-package", "no_such_module", "*", systems=())

SET_A_KEY = """
from redis import Redis

def test_set(redis_url, stream_key):
    with Redis.from_url(redis_url) as client:
        client.set(KEY, "value")

def test_next(redis_url):
    with Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
"""


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a test module under a copy of our conftest that knows only these kinds of servers."""

    def run(source: str, *kinds: ServerKind) -> pytest.RunResult:
        monkeypatch.setattr(servers, "KINDS", kinds)
        pytester.makeconftest(Path(conftest.__file__).read_text())
        pytester.makepyfile(source)
        return pytester.runpytest_inprocess("-p", "no:randomly", "-p", "no:valkey")

    return run


def test_keys_of_another_queue_are_strays() -> None:
    """Only the stream itself and the keys in its hash slot belong to a queue."""
    keys = ["q", "{q}:delayed", "q:done", "{q2}:delayed", "{q}", "rpc"]

    assert conftest.strays_among(keys, "q") == ["q:done", "rpc", "{q2}:delayed", "{q}"]


@pytest.mark.parametrize("key", ["stream_key", "'{' + stream_key + '}:delayed'"])
def test_the_keys_of_the_queue_may_stay_behind(run: Run, key: str) -> None:
    """They are cleared away, and the next test finds an empty server."""
    run(SET_A_KEY.replace("KEY", key), "valkey").assert_outcomes(passed=2)


def test_a_stray_key_fails_its_test_and_no_other(run: Run) -> None:
    """The one that left it is blamed; the next one finds an empty server all the same."""
    result = run(SET_A_KEY.replace("KEY", "'rpc'"), "valkey")

    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*ERROR at teardown of test_set*", "E *keys outside of *rpc*"])


def test_a_server_that_should_be_installed_fails_the_tests(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a wheel exists, its absence is an error and not a skip."""
    monkeypatch.setitem(servers.WHEELS, "redis8", NOT_INSTALLED)

    result = run("def test(redis_url): pass", "redis8", "valkey")

    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*pip install some-package*"])


def test_a_server_without_a_wheel_is_left_out(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no wheel exists, the tests run on the other servers, and the header says so."""
    monkeypatch.setitem(servers.WHEELS, "redis8", NOT_FOR_US)

    result = run("def test(redis_url): pass", "redis8", "valkey")

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["servers: valkey (left out, not to be had here: redis8)"])


@pytest.mark.parametrize(("ci", "outcomes"), [("true", {"passed": 1, "errors": 1}), ("", {"passed": 1})])
def test_ci_wants_the_server_on_the_path_too(
    run: Run, monkeypatch: pytest.MonkeyPatch, ci: str, outcomes: dict[str, int]
) -> None:
    """At home it is welcome; with ``CI=true`` its absence is an error."""
    monkeypatch.setenv("CI", ci)
    monkeypatch.setenv("PATH", "")

    run("def test(redis_url): pass", "path", "valkey").assert_outcomes(**outcomes)


def test_a_server_on_the_path_is_welcome(monkeypatch: pytest.MonkeyPatch) -> None:
    """A redis-server on the PATH is not required, but tested if there is one."""
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr(conftest, "has_wheel", lambda kind: False)
    monkeypatch.setattr(conftest, "available", lambda: {"path": Path("redis-server")})

    assert conftest.kinds_to_test() == ["path"]


def test_files_are_in_memory_where_there_is_room(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A folder that somebody has named stays, and a small or missing one is not used."""
    monkeypatch.setattr(conftest, "MEMORY", tmp_path)
    monkeypatch.setenv("TMPDIR", "/somewhere")
    named = conftest.folder_for_files()
    monkeypatch.delenv("TMPDIR")
    monkeypatch.setattr(conftest, "ROOM", 1)
    there = conftest.folder_for_files()
    monkeypatch.setattr(conftest, "ROOM", 2**80)
    small = conftest.folder_for_files()
    monkeypatch.setattr(conftest, "MEMORY", tmp_path / "missing")
    missing = conftest.folder_for_files()

    assert (named, there, small, missing) == (None, str(tmp_path), None, None)
