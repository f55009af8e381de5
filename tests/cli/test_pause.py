"""The commands `pause` and `resume`, and what `info` and `task` say meanwhile."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pyxqueue import TaskQueue

from .conftest import Command, Write
from .jobs import claim, enqueue


def test_a_pause_is_said_once(queue: TaskQueue, command: Command, stream_key: str) -> None:
    """The second pause, and a resume without one, say that nothing has changed."""
    enqueue(queue, "r1")
    said = [command(one).stdout for one in ("pause", "pause", "resume", "resume")]
    states = ["paused", "was paused already", "resumed", "was not paused"]
    assert said == [f"group cg of {stream_key}: {state}\n" for state in states]


def test_the_json_of_a_pause(queue: TaskQueue, command: Command, stream_key: str) -> None:
    """It says whether the group is paused now, and whether that is new."""
    enqueue(queue, "r1")
    common = {"queue": stream_key, "group": "cg"}
    assert json.loads(command("pause", "--json").stdout) == {**common, "paused": True, "changed": True}
    assert json.loads(command("resume", "--json").stdout) == {**common, "paused": False, "changed": True}


def test_a_pause_creates_no_group(queue: TaskQueue, command: Command) -> None:
    """A misspelt name is refused."""
    enqueue(queue, "r1")
    result = command("pause", "--group", "nobody")
    assert result.exit_code == 1
    assert list(queue.admin.groups()) == ["cg"]


def test_info_says_what_is_paused(queue: TaskQueue, command: Command) -> None:
    """The list of queues, the text about one, and the JSON."""
    enqueue(queue, "r1")
    command("pause")
    assert "group cg is paused: no worker starts a task of it until `pyxqueue resume`" in command("info").stdout
    assert json.loads(command("info", "--json").stdout)["groups"][0]["paused"] is True
    command("resume")
    assert "paused" not in command("info").stdout


def test_task_says_what_it_waits_for(queue: TaskQueue, command: Command) -> None:
    """A ready task, a delayed one, both in a paused queue, and one that runs."""
    claim(queue, "h1")
    enqueue(queue, "r1", "r2")
    enqueue(queue, "d1", delay=3600)
    command("pause")

    waits = {one: json.loads(command("task", one, "--json").stdout).get("waits_for") for one in ("r2", "d1", "h1")}

    paused = "the queue is paused: admin.resume() or `pyxqueue resume` lets it go on"
    assert waits["r2"] == [paused, "ready, about 1 before it"]
    assert waits["d1"][0].startswith("delayed until 2")
    assert waits["d1"][1:] == [paused]
    assert waits["h1"] is None
    indent = " " * len("waits for     ")
    assert f"waits for     {paused}\n{indent}ready, about 1 before it\n" in command("task", "r2").stdout


def test_a_limit_is_paused(queue: TaskQueue, command: Command, stream_key: str) -> None:
    """By its name, or for one key; `limits` lists it, and the group itself is not paused."""
    enqueue(queue, "r1")
    said = [command(*words.split()).stdout for words in ("pause --limit api", "pause --limit api --key 7", "limits")]
    where = f"in group cg of {stream_key}"
    assert said[:2] == [f"limit api {where}: paused\n", f"limit api/7 {where}: paused\n"]
    assert said[2].endswith(
        "the limit api is paused: nothing gets past it until `pyxqueue resume --limit`\n"
        "the limit api/7 is paused: nothing gets past it until `pyxqueue resume --limit`\n"
    )
    assert json.loads(command("limits", "--json").stdout)["paused"] == ["api", "api/7"]
    facts = json.loads(command("resume", "--limit", "api", "--json").stdout)
    assert facts == {"queue": stream_key, "group": "cg", "limit": "api", "paused": False, "changed": True}
    assert command("resume", "--limit", "api").stdout == f"limit api {where}: was not paused\n"
    assert queue.limits.paused() == ["api/7"]
    assert not queue.admin.info().paused


def test_a_key_needs_a_limit(queue: TaskQueue, command: Command) -> None:
    enqueue(queue, "r1")
    for name in ("pause", "resume"):
        result = command(name, "--key", "7")
        assert result.exit_code == 2
        assert "--key needs --limit NAME" in result.stderr


def test_a_task_name_is_paused(queue: TaskQueue, command: Command, stream_key: str) -> None:
    """`info` says it, and the group itself is not paused."""
    enqueue(queue, "r1")
    where = f"in group cg of {stream_key}"
    said = [command(name, "--task", "shop.render").stdout for name in ("pause", "pause", "resume", "resume")]
    states = ["paused", "was paused already", "resumed", "was not paused"]
    assert said == [f"task shop.render {where}: {state}\n" for state in states]
    assert not queue.admin.info().paused
    facts = json.loads(command("pause", "--task", "shop.render", "--json").stdout)
    assert facts == {"queue": stream_key, "group": "cg", "task": "shop.render", "paused": True, "changed": True}
    told = "the task shop.render in group cg is paused: no worker starts it until `pyxqueue resume --task shop.render`"
    assert told in command("info").stdout
    assert json.loads(command("info", "--json").stdout)["groups"][0]["paused_tasks"] == ["shop.render"]
    assert json.loads(command("limits", "--json").stdout)["paused"] == []


def test_a_task_and_a_limit_are_paused_one_by_one(queue: TaskQueue, command: Command) -> None:
    enqueue(queue, "r1")
    for name in ("pause", "resume"):
        result = command(name, "--task", "a", "--limit", "b")
        assert result.exit_code == 2
        assert "give --task or --limit, not both" in result.stderr


@pytest.fixture
def module(url: str, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stream_key: str) -> str:
    """A module with the queue and one task."""
    monkeypatch.chdir(tmp_path)
    queue = f"TaskQueue({url!r}, stream_key={stream_key!r}, consumer_group='cg')"
    render = "@queue.task(name='shop.render')\ndef render(): pass"
    return write(f"from pyxqueue import TaskQueue\nqueue = {queue}\n{render}")


def test_a_misspelt_task_name_is_told(queue: TaskQueue, command: Command, module: str) -> None:
    """If the command knows a module with tasks; the name is paused all the same, as another program may have it."""
    enqueue(queue, "r1")
    told = command("pause", module, "--task", "shop.rendr")
    assert told.stderr == "no task of the module has the name 'shop.rendr'; it has shop.render\n"
    assert queue.admin.info().paused_tasks == ["shop.rendr"]
    assert command("pause", module, "--task", "shop.render").stderr == ""
