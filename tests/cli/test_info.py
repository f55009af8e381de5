"""The command `info` for one queue."""

from __future__ import annotations

import json
from pathlib import Path

from redis import Redis

from pyxqueue import TaskQueue

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


def test_info_is_a_table_for_people(queue: TaskQueue, command: Command) -> None:
    """It has the queue, a line per group, a line per worker, and a line per task that the worker runs."""
    claim(queue, "h1")
    enqueue(queue, "r1")

    place, _, tables = command("info").stdout.partition("\n\n")
    lines = [line.split() for line in tables.splitlines()]

    assert place.splitlines()[-1] == "eviction: noeviction"
    assert lines[0] == ["group", "ready", "in", "flight", "delayed", "failed", "history", "oldest"]
    assert lines[1][:6] == ["cg", "1", "1", "0", "0", "0"]
    assert lines[3][:5] == ["worker-1-4242", "on", "0242ac120002,", "group", "cg,"]
    assert lines[4][:3] == ["h1", "jobs.add", "for"]


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
