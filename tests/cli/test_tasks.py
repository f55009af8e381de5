"""The command `tasks`: by state and name, one page at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pyxqueue import TaskQueue
from pyxqueue.cli import main
from pyxqueue.client import admin
from pyxqueue.model.message import Message

from .conftest import Command
from .jobs import claim, enqueue, fail, succeed


def listed(command: Command, *args: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(command("tasks", "--json", *args).stdout)
    return found


def ids(command: Command, *args: str) -> list[str]:
    return [task["id"] for task in listed(command, *args)["tasks"]]


def pages(command: Command, *args: str) -> Iterator[list[str]]:
    """The ids of each page, from each cursor to the next."""
    after: str | None = ""
    while after is not None:
        page = listed(command, *args, "--after", after)
        after = page["next"]
        yield [task["id"] for task in page["tasks"]]


def test_tasks_lists_every_state(queue: TaskQueue, command: Command) -> None:
    """The newest first, or only those of one state, in upper or lower case."""
    fail(queue, "f1")
    succeed(queue, "s1")
    claim(queue, "h1")
    enqueue(queue, "r1")

    newest = ids(command)  # of what came to two places within one millisecond, either may be first
    assert sorted(newest) == ["f1", "h1", "r1", "s1"]
    assert newest.index("r1") < newest.index("h1")
    assert [ids(command, "--state", state) for state in ("pending", "STARTED", "Failure", "success")] == [
        ["r1"], ["h1"], ["f1"], ["s1"],
    ]  # fmt: skip
    [task] = listed(command, "--state", "started")["tasks"]
    assert (task["task"], task["state"], task["attempt"]) == ("jobs.add", "STARTED", 1)
    assert task["started"] is not None


def test_tasks_is_a_table_for_people(queue: TaskQueue, command: Command) -> None:
    """It has the whole id, because other commands need it."""
    task_id = "i" * 30
    enqueue(queue, task_id)
    queue.stores.backend.enqueue([Message("long", "n" * 200)])

    head, *rows = command("tasks").stdout.splitlines()

    assert head.split() == ["id", "task", "state", "for", "progress"]
    assert rows[1].split()[:3] == [task_id, "jobs.add", "PENDING"]
    assert max(map(len, rows)) <= 80


def test_tasks_come_in_pages(queue: TaskQueue, command: Command) -> None:
    """Each page has the cursor of the next one, and each task is on one page."""
    enqueue(queue, *(f"r{number}" for number in range(5)))

    assert list(pages(command, "--limit", "2")) == [["r4", "r3"], ["r2", "r1"], ["r0"]]
    assert "... and more: --after " in command("tasks", "--limit", "2").stderr
    assert command("tasks", "--limit", "6").stderr == ""


@pytest.mark.parametrize("page", [256, 2, 3])
def test_tasks_of_a_name(queue: TaskQueue, command: Command, monkeypatch: pytest.MonkeyPatch, page: int) -> None:
    """Pages may be full of other names; no task is left out if the limit is reached within a page."""
    monkeypatch.setattr(admin, "_PAGE", page)
    for number in range(7):
        queue.stores.backend.enqueue([Message(f"m{number}", "mail"), Message(f"x{number}", "other")])

    assert ids(command, "--name", "mail") == [f"m{number}" for number in reversed(range(7))]
    found = list(pages(command, "--name", "mail", "--limit", "3"))
    assert [task_id for one in found for task_id in one] == [f"m{number}" for number in reversed(range(7))]
    assert max(map(len, found)) == 3
    assert command("tasks", "--name", "nobody").stdout == "no matching tasks\n"


def test_the_search_for_a_name_has_a_limit(queue: TaskQueue, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in a long queue; the output has the cursor to continue from."""
    monkeypatch.setattr(admin, "_PAGE", 2)
    monkeypatch.setattr(admin, "SCAN_LIMIT", 4)
    queue.stores.backend.enqueue([Message("m", "mail"), *(Message(f"x{number}", "other") for number in range(5))])

    first = command("tasks", "--name", "mail")

    assert first.stdout == "no matching tasks among the newest 4\n"
    assert "--after" in first.stderr
    assert list(pages(command, "--name", "mail")) == [[], ["m"]]


def test_a_cursor_of_another_list_is_refused(queue: TaskQueue, command: Command) -> None:
    """It is an error, not an empty list."""
    enqueue(queue, "r1")

    result = command("tasks", "--after", "nonsense")

    assert result.exit_code == 2
    assert "nonsense" in result.stderr


def test_tasks_of_a_place_are_in_its_order(queue: TaskQueue, command: Command) -> None:
    """Ready tasks: the next to run first."""
    enqueue(queue, "r1", "r2", "r3")
    enqueue(queue, "d1", delay=3600)

    assert ids(command, "--place", "ready") == ["r1", "r2", "r3"]
    assert ids(command, "--place", "delayed") == ["d1"]


def test_tasks_are_found_in_every_place(queue: TaskQueue, command: Command) -> None:
    """By a pattern, a text, an age, or an error; each task is on one page, also where a place ends a page."""
    fail(queue, "f1", error="TypeError")
    succeed(queue, "s1")
    claim(queue, "h1")
    enqueue(queue, "r1", "r2")
    enqueue(queue, "d1", delay=3600)
    queue.stores.backend.enqueue([Message("other", "mail.send")])

    found = ids(command, "--name", "jobs.*")
    assert found == ["h1", "r1", "r2", "d1", "f1", "s1"]
    for limit in "1", "2", "3":
        paged = list(pages(command, "--name", "jobs.*", "--limit", limit))
        assert [one for page in paged for one in page] == found
    assert ids(command, "--text", "MAIL") == ["other"]
    assert ids(command, "--error", "TypeError") == ["f1"]
    assert ids(command, "--older", "1h") == []
    assert ids(command, "--newer", "1h", "--state", "success") == ["s1"]
    assert command("tasks", "--newer", "1h", "--after", "nowhere/1").exit_code == 2


@pytest.mark.parametrize("junk", ["\x1b[2J\x07", "x" * 100_000, "9" * 5_000, "\udcff", '{"live": "(0-0"}'])
@pytest.mark.parametrize("store", ["server", "sqlite:///q.db"])
def test_text_that_is_not_a_cursor_is_refused(
    url: str, junk: str, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error repeats it printably and with a limit, on every store."""
    monkeypatch.chdir(tmp_path)
    place = url if store == "server" else store
    with closing(TaskQueue(place, stream_key="q")) as queue:
        queue.stores.backend.claim("c", 1, 0)

    result = CliRunner().invoke(main, ["--url", place, "--queue", "q", "tasks", "--after", junk])

    assert result.exit_code == 2, result.output
    assert result.stderr.replace("\n", "").isprintable()
    assert len(result.stderr) < 1_000
