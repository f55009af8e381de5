"""The queue that a command acts on; commands that only read create nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pyxqueue import TaskQueue
from pyxqueue.cli.program import COMMANDS

from .conftest import Command, Write
from .jobs import enqueue

LOOKING = [
    ["info"],
    ["task", "a"],
    ["failed"],
    ["retry", "--all-failed"],
    ["purge", "--failed", "--yes"],
    ["cancel", "a"],
    ["purge", "--yes"],
    ["groups"],
    ["remove-group", "cg", "--yes"],
]


def test_reading_creates_no_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Command) -> None:
    """In a folder without a store none is created, and the error says which store was read."""
    monkeypatch.delenv("PYXQUEUE_URL")
    monkeypatch.chdir(tmp_path)

    result = command("info")

    assert result.exit_code == 1
    assert f"sqlite:///{tmp_path}/.pyxqueue/queue.db: check the name and the store" in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("args", LOOKING, ids=" ".join)
def test_reading_an_unknown_queue_creates_none(
    args: list[str], command: Command, keys: Callable[[], list[bytes]]
) -> None:
    """A misspelt name is an error, and the store does not change."""
    result = command(*args)

    assert (result.exit_code, keys()) == (1, [])
    assert "there is no queue" in result.stderr


@pytest.mark.parametrize("args", [args for args in LOOKING if not {"groups", "remove-group"} & set(args)], ids=" ".join)
def test_reading_an_unknown_group_creates_none(args: list[str], queue: TaskQueue, command: Command) -> None:
    """A group that was created by accident would get a copy of every task."""
    enqueue(queue, "r1")

    result = command(*args, "--group", "typo")

    assert (result.exit_code, queue.stores.backend.groups()) == (1, ["cg"])
    assert "does not have a group 'typo'; its groups: cg" in result.stderr


def test_a_store_that_cannot_be_reached_is_exit_code_3(command: Command) -> None:
    """A script can try again later."""
    result = command("info", "--url", "redis://:secret@127.0.0.1:1/0")

    assert result.exit_code == 3
    assert "secret" not in result.stderr


def test_a_wrong_url_is_exit_code_2(command: Command) -> None:
    """Trying again would not help."""
    result = command("info", "--url", "nosql://somewhere")

    assert result.exit_code == 2
    assert "no backend for nosql://" in result.stderr


@pytest.mark.parametrize("args", [("--url", "foo", "info"), ("info", "--url", "localhost:6379")])
def test_a_url_needs_a_scheme(args: tuple[str, ...], command: Command) -> None:
    """A word without a scheme is refused."""
    result = command(*args)

    assert result.exit_code == 2
    assert "Invalid value for '--url'" in result.stderr
    assert "give a URL, such as " in result.stderr


def test_a_password_is_not_shown(command: Command, url: str, stream_key: str) -> None:
    """Neither one before the host nor one in the query. (A server without a password accepts any.)"""
    result = command("info", "--url", url.replace("//", "//default:p@ss:w@") + "?username=default&password=hunter2")

    assert f"there is no queue {stream_key!r} at {url}:" in result.stderr


def test_app_and_store_exclude_each_other(command: Command) -> None:
    """An app determines its queue, so --queue and --group beside it are errors."""
    result = command("info", "some.app", "--queue", "other")

    assert result.exit_code == 2
    assert "leave out --queue" in result.stderr


def test_the_store_on_the_command_line_wins_over_the_apps_variable(
    queue: TaskQueue, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An option wins over a variable."""
    enqueue(queue, "r1")
    monkeypatch.setenv("PYXQUEUE_APP", "no_such_app")

    assert command("info", "--queue", queue.stream_key).exit_code == 0
    assert command("info").exit_code == 2


def test_eager_mode_does_not_hide_a_store(queue: TaskQueue, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable for eager mode applies to programs that enqueue, not to commands."""
    enqueue(queue, "r1")
    monkeypatch.setenv("PYXQUEUE_EAGER", "1")

    assert json.loads(command("task", "r1", "--json").stdout)["state"] == "PENDING"


def test_an_eager_app_has_nothing_to_show(command: Command, write: Write, tmp_path: Path) -> None:
    """Its tasks were never in a store; an empty table would be misleading."""
    module = write("from pyxqueue import TaskQueue\nqueue = TaskQueue(eager=True)")

    result = command("--path", str(tmp_path), "info", module)

    assert result.exit_code == 2
    assert "is eager" in result.stderr


def test_an_app_names_its_own_queue(queue: TaskQueue, url: str, command: Command, write: Write, tmp_path: Path) -> None:
    """With its own store, name and group; the variables for a store are ignored."""
    module = write(
        f"from pyxqueue import TaskQueue\nqueue = TaskQueue({url!r}, stream_key='app', consumer_group='eu')\n"
        f"queue.stores.backend.maintain(1)"
    )

    shown = json.loads(command("--path", str(tmp_path), "--app", module, "info", "--json").stdout)

    assert (shown["queue"], shown["at"], shown["groups"][0]["group"]) == ("app", url, "eu")


def test_a_url_beside_an_app_with_its_own_store_is_an_error(
    url: str, command: Command, write: Write, tmp_path: Path
) -> None:
    """The output would be of another store than the one that was given."""
    module = write("from pyxqueue import TaskQueue\nqueue = TaskQueue('redis://127.0.0.1:1')")

    result = command("info", "--path", str(tmp_path), "--app", module, "--url", url)

    assert result.exit_code == 2
    assert "names its own store: leave out --url" in result.stderr


def test_help_lists_the_exit_codes(command: Command) -> None:
    """Scripts rely on them."""
    shown = command("--help").stdout

    assert "3  the store cannot be reached" in shown


def test_help_shows_every_command_with_a_whole_summary(command: Command) -> None:
    """In sections; none is cut, and none is missing."""
    shown = command("--help").stdout

    sections = shown.partition("Run:")[2].partition("Examples")[0].splitlines()
    listed = [line.split()[0] for line in sections if line.startswith("  ") and line.strip()]
    assert sorted(listed) == sorted(set(COMMANDS) - {"child"})
    assert "..." not in "".join(sections)
    assert max(map(len, sections)) <= 70
