"""Every command takes its module as its first argument."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pyxqueue import TaskQueue

from .conftest import Command, Write
from .jobs import enqueue, fail, states


@pytest.fixture
def module(url: str, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stream_key: str) -> str:
    """A module with the queue; the environment names another queue."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYXQUEUE_QUEUE", "another")
    return write(f"from pyxqueue import TaskQueue\nqueue = TaskQueue({url!r}, stream_key={stream_key!r})")


@pytest.mark.parametrize("form", ["{}", "{}:queue", "{}.py"])
def test_every_command_takes_a_module(queue: TaskQueue, command: Command, module: str, form: str) -> None:
    """Before its other arguments, in each form of a module."""
    shop = form.format(module)
    fail(queue, "f1", "f2", "f3")
    enqueue(queue, "r1", "r2")

    assert json.loads(command("info", shop, "--json").stdout)["queue"] == queue.stream_key
    assert json.loads(command("task", shop, "f1", "--json").stdout)["state"] == "FAILURE"
    assert len(json.loads(command("tasks", shop, "--json").stdout)["tasks"]) == 5
    assert len(json.loads(command("failed", shop, "--json").stdout)) == 3
    assert command("delete", shop, "f3", "--yes").stdout == "deleted: 1\n"
    assert command("retry", shop, "f1").stdout == "retried: 1\n"
    assert command("retry", shop, "--all-failed").stdout == "retried: 1\n"
    assert command("cancel", shop, "r1").stdout == "cancelled: 1\n"
    assert command("purge", shop, "--yes").stdout == "deleted: 3\n"
    assert command("groups", shop).stdout == "cg\n"
    assert command("remove-group", shop, "cg", "--yes").stdout == "group cg removed\n"


def test_an_id_is_not_taken_for_a_module(
    queue: TaskQueue, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if a folder or a module of Python itself has the same name."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    names = ["data", "json", "order-7", "a.b"]
    fail(queue, *names)

    for first in names:
        rest = [name for name in names if name != first]
        assert command("retry", first, rest[0]).stdout == "retried: 2\n"
        command("cancel", first, rest[0])
        command("purge", "--history", "--yes")
        fail(queue, first, rest[0])
    assert states(queue, *names) == ["FAILURE"] * 4


def test_a_single_argument_is_an_id(queue: TaskQueue, command: Command, module: str) -> None:
    """If the environment names the queue, also if a module has the same name."""
    with_id = command("cancel", module, "--queue", queue.stream_key)
    alone = command("retry", module)

    assert f"no task has the id {module!r}" in with_id.stderr or "there is no queue" in with_id.stderr
    assert "there is no queue 'another'" in alone.stderr


@pytest.mark.parametrize("args", [["cancel"], ["retry"], ["delete"], ["task"], ["remove-group"]])
def test_a_module_without_ids_is_an_error(
    args: list[str], queue: TaskQueue, command: Command, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says what to do if the argument was an id."""
    monkeypatch.delenv("PYXQUEUE_QUEUE")
    enqueue(queue, "r1")

    result = command(*args, module)

    assert result.exit_code == 2
    assert "give " in result.stderr
    assert f"{module!r} was used as MODULE: if it is an id, name the queue with --queue or --app" in result.stderr


def test_with_an_option_for_the_queue_all_arguments_are_ids(queue: TaskQueue, command: Command, module: str) -> None:
    """The option --queue names the queue, so no argument does."""
    fail(queue, module, "f1")

    assert command("retry", module, "f1", "--queue", queue.stream_key).stdout == "retried: 2\n"


@pytest.mark.parametrize("args", [["cancel", "x:queue"], ["retry"], ["task", "a", "b", "c"]])
def test_missing_ids_are_an_error(args: list[str], command: Command) -> None:
    """The error asks for them."""
    result = command(*args)

    assert result.exit_code == 2
    assert "give " in result.stderr


def test_a_queues_name_is_not_a_module(command: Command) -> None:
    """The mistake is likely, so the error says what to do."""
    result = command("info", "no_such_module")

    assert result.exit_code == 2
    assert "or name the queue with --queue instead of a module" in result.stderr
