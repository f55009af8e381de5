"""The command `info` for one queue."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from redis import Redis

from pyxqueue import TaskQueue
from pyxqueue.model.message import Message
from pyxqueue.model.presence import Announcement, Process

from .conftest import Command, Write
from .jobs import WORKER, claim, enqueue, fail, succeed


def test_info_counts_the_tasks_in_each_place(queue: TaskQueue, command: Command) -> None:
    """The JSON has the number under the name of the place."""
    # Given
    fail(queue, "f1", "f2")
    succeed(queue, "s1")
    claim(queue, "h1")
    enqueue(queue, "r1", "r2", "r3")
    enqueue(queue, "d1", delay=3600)
    # When
    result = command("info", "--json")
    # Then
    [group] = json.loads(result.stdout)["groups"]
    assert group["depth"] == {
        "ready": 3,
        "in_flight": 1,
        "delayed": 1,
        "blocked": 0,
        "dependent": 0,
        "failed": 2,
        "history": 1,
    }


def test_info_shows_the_tasks_of_each_worker(queue: TaskQueue, command: Command) -> None:
    """The host and the process are taken from the worker's name."""
    claim(queue, "h1")

    [group] = json.loads(command("info", "--json").stdout)["groups"]

    [worker] = group["workers"]
    assert (worker["name"], worker["host"], worker["pid"], worker["in_flight"]) == (
        WORKER,
        "0242ac120002",
        4242,
        ["h1"],
    )


def test_what_a_worker_holds_and_does_not_run_is_told_apart(
    queue: TaskQueue, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task that waits to run alone. A worker that has just started, whose host has no name yet, is no other host."""
    backend = queue.stores.backend
    enqueue(queue, "h1", "h2")
    backend.claim(WORKER, 2, 0)
    backend.claim("worker-2-4243-0242ac120002-1e9gmXli", 1, 0)
    process = Process(4242, 60_000, 8, None, [("h1", 500)])
    backend.announce("s", 60_000, Announcement("web1", 1, "1", "3", ["jobs.add"], 0, False, {WORKER: process}).text())  # type: ignore[attr-defined]  # the store of this test has it
    monkeypatch.setattr("pyxqueue.client.views._JUST_NOW_MS", -1)

    lines = [line.split() for line in command("info").stdout.splitlines()]
    [group] = json.loads(command("info", "--json").stdout)["groups"]

    assert ["web1:4242", "jobs.add", "not", "begun"] in lines
    assert ["2", "workers", "on", "1", "host:", "1", "busy,", "1", "idle"] in lines
    assert {run["id"]: run["begun"] for run in group["workers"][0]["running"]} == {"h1": True, "h2": False}


def test_info_is_a_table_for_people(queue: TaskQueue, command: Command) -> None:
    """It has the queue, a line per group, a line about the workers, and a line per task that runs."""
    claim(queue, "h1")
    enqueue(queue, "r1")

    place, _, tables = command("info").stdout.partition("\n\n")
    lines = [line.split() for line in tables.splitlines()]

    assert re.fullmatch(r"memory: [\d.]+ [KM]B, no limit", place.splitlines()[2])
    assert place.splitlines()[-1] == "eviction: noeviction"
    assert lines[0] == ["group", "ready", "in", "flight", "delayed", "failed", "history", "oldest"]
    assert lines[1][:6] == ["cg", "1", "1", "0", "0", "0"]
    assert lines[3] == ["1", "worker", "on", "1", "host:", "1", "busy"]
    assert lines[4] == ["running", "on", "task", "for", "progress"]
    assert lines[5][:2] == ["0242ac120002:4242", "jobs.add"]
    assert lines[6][:7] == ["!", "1", "wait,", "every", "worker", "is", "busy,"]


def test_info_warns_of_a_server_that_evicts_keys(queue: TaskQueue, url: str, command: Command) -> None:
    """Such a server loses tasks when its memory is full."""
    enqueue(queue, "r1")
    with Redis.from_url(url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        try:
            store = json.loads(command("info", "--json").stdout)["store"]
        finally:
            client.config_set("maxmemory-policy", "noeviction")

    assert store["server"].startswith(("valkey ", "redis "))
    assert store["eviction"] == "allkeys-lru: the server may drop tasks, set noeviction"


def test_info_shows_every_group(queue: TaskQueue, url: str, command: Command) -> None:
    """Without --group, because an operator looks for groups without workers."""
    other = TaskQueue(url, stream_key=queue.stream_key, consumer_group="eu")
    other.stores.backend.maintain(1)
    other.close()
    enqueue(queue, "r1")
    claimed = queue.stores.backend.claim(WORKER, 1, 0)

    groups = json.loads(command("info", "--json").stdout)["groups"]

    assert claimed
    assert [(group["group"], group["depth"]["ready"]) for group in groups] == [("cg", 0), ("eu", 1)]


def test_info_names_the_groups_it_does_not_show(
    queue: TaskQueue, url: str, command: Command, write: Write, tmp_path: Path
) -> None:
    """An app has one group; tasks that wait in another group, perhaps without workers, must be seen."""
    other = TaskQueue(url, stream_key=queue.stream_key, consumer_group="eu")
    other.stores.backend.maintain(1)
    other.close()
    enqueue(queue, "r1", "r2")
    module = write(f"from pyxqueue import TaskQueue\nqueue = TaskQueue({url!r}, stream_key={queue.stream_key!r})")
    args = ["--path", str(tmp_path), "info", "--app", module]

    shown = json.loads(command(*args, "--json").stdout)

    assert ([group["group"] for group in shown["groups"]], shown["others"]) == (["cg"], {"eu": 2})
    assert "other group eu: 2 waiting" in command(*args).stdout


def test_info_shows_the_group_that_is_asked_for(queue: TaskQueue, url: str, command: Command) -> None:
    """It shows no other group, before and after which word the option is."""
    other = TaskQueue(url, stream_key=queue.stream_key, consumer_group="eu")
    for one in (queue, other):
        one.stores.backend.maintain(1)
    other.close()

    for args in (["--group", "eu", "info", "--json"], ["info", "--group", "eu", "--json"]):
        assert [group["group"] for group in json.loads(command(*args).stdout)["groups"]] == ["eu"]


def test_info_says_in_words_that_nobody_works(queue: TaskQueue, command: Command) -> None:
    """With the command that starts a worker."""
    enqueue(queue, "r1")

    assert command("info").stdout.splitlines()[-1] == "! no worker is running → pyxqueue worker MODULE"


def test_info_says_what_has_failed(queue: TaskQueue, command: Command) -> None:
    """By type of error, the most frequent first, with the command that shows more."""
    fail(queue, "f1")
    fail(queue, "f2", "f3", error="TypeError")

    said = "! 3 failed: TypeError 2, ValueError 1 → pyxqueue failed"
    assert command("info").stdout.splitlines()[-1] == f"{said} --by kind"
    shown = " ".join(command("info", "--queue", queue.stream_key, "--group", "cg").stdout.split())
    assert shown.endswith(f"{said} --queue {queue.stream_key} --group cg --by kind")


def test_numbers_have_separators(queue: TaskQueue, command: Command) -> None:
    """A number of five digits is read at a glance."""
    queue.stores.backend.enqueue([Message(f"m{number}", "jobs.add") for number in range(1_200)])

    assert "1,200" in command("info").stdout


@pytest.mark.parametrize(("environment", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_what_is_wrong_is_coloured_on_a_terminal(
    queue: TaskQueue, command: Command, environment: dict[str, str], coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not in a pipe, and not if the user says so."""
    enqueue(queue, "r1")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    on_terminal = command("info", color=True).stdout
    in_pipe = command("info").stdout

    assert ("\x1b[31m! no worker is running" in on_terminal) is coloured
    assert "\x1b" not in in_pipe


def test_info_fits_a_terminal_with_many_workers(queue: TaskQueue, command: Command) -> None:
    """However many workers and tasks there are, it shows those that have run longest."""
    queue.stores.backend.enqueue([Message(f"m{number}", "shop." + "n" * 80) for number in range(700)])
    for number in range(600):
        queue.stores.backend.claim(f"worker-1-{number + 1}-0242ac{number % 30:06x}-1e9gmXli", 1, 0)

    lines = command("info").stdout.splitlines()

    assert max(map(len, lines)) <= 80
    assert len(lines) < 30
    assert "600 workers on 30 hosts: 600 busy" in lines
    assert "... and 590 more: pyxqueue tasks --state started" in lines
    assert any(line.startswith("! 100 wait, every worker is busy") for line in lines)
