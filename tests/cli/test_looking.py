"""`info`, `task`, and that looking changes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from redis import Redis

from pyxqueue import TaskQueue
from pyxqueue.cli.output import duration, showable

from .conftest import Command, Write
from .jobs import WORKER, claim, enqueue, fail, succeed

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


def test_info_counts_what_stands_where(queue: TaskQueue, command: Command) -> None:
    """Each place has its number, in JSON under its own name."""
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
    assert group["depth"] == {"ready": 3, "in_flight": 1, "delayed": 1, "failed": 2, "history": 1}


def test_info_says_what_each_worker_holds(queue: TaskQueue, command: Command) -> None:
    """A worker's name tells its machine and the process of its supervisor."""
    claim(queue, "h1")

    [group] = json.loads(command("info", "--json").stdout)["groups"]

    [worker] = group["workers"]
    assert (worker["name"], worker["host"], worker["pid"], worker["holds"]) == (WORKER, "0242ac120002", 4242, ["h1"])


def test_info_is_a_table_for_people(queue: TaskQueue, command: Command) -> None:
    """The queue, a line per group, and a line per worker, with one for each task it runs."""
    claim(queue, "h1")
    enqueue(queue, "r1")

    place, _, tables = command("info").stdout.partition("\n\n")
    lines = [line.split() for line in tables.splitlines()]

    assert place.splitlines()[-1] == "eviction: noeviction"
    assert lines[0] == ["group", "ready", "in", "flight", "delayed", "failed", "history", "oldest"]
    assert lines[1][:6] == ["cg", "1", "1", "0", "0", "0"]
    assert lines[3][:5] == ["worker-1-4242", "on", "0242ac120002,", "group", "cg,"]
    assert lines[4][:3] == ["h1", "jobs.add", "for"]


def test_looking_makes_no_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Command) -> None:
    """In a folder where no queue is kept nothing is left behind, and the answer says where it was looked for."""
    monkeypatch.delenv("PYXQUEUE_URL")
    monkeypatch.chdir(tmp_path)

    result = command("info")

    assert result.exit_code == 1
    assert f"sqlite:///{tmp_path}/.pyxqueue/queue.db: nothing was enqueued" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_info_warns_of_a_server_that_drops_tasks(queue: TaskQueue, url: str, command: Command) -> None:
    """One that evicts keys when its memory is full."""
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
    """Without --group, because a group that nobody serves is what an operator looks for."""
    other = TaskQueue(url, stream_key=queue.stream_key, consumer_group="eu")
    other.stores.backend.promote(1)
    other.close()
    enqueue(queue, "r1")
    claimed = queue.stores.backend.claim(WORKER, 1, 0)

    groups = json.loads(command("info", "--json").stdout)["groups"]

    assert claimed
    assert [(group["group"], group["depth"]["ready"]) for group in groups] == [("cg", 0), ("eu", 1)]


def test_info_names_the_groups_it_does_not_show(
    queue: TaskQueue, url: str, command: Command, write: Write, tmp_path: Path
) -> None:
    """An app has one; what waits in another, which perhaps nobody serves, must not go unseen."""
    other = TaskQueue(url, stream_key=queue.stream_key, consumer_group="eu")
    other.stores.backend.promote(1)
    other.close()
    enqueue(queue, "r1", "r2")
    module = write(f"from pyxqueue import TaskQueue\nqueue = TaskQueue({url!r}, stream_key={queue.stream_key!r})")
    args = ["--path", str(tmp_path), "info", "--app", module]

    shown = json.loads(command(*args, "--json").stdout)

    assert ([group["group"] for group in shown["groups"]], shown["others"]) == (["cg"], {"eu": 2})
    assert "other group eu: 2 waiting" in command(*args).stdout


def test_info_shows_the_group_that_is_asked_for(queue: TaskQueue, url: str, command: Command) -> None:
    """And no other, wherever the option stands."""
    other = TaskQueue(url, stream_key=queue.stream_key, consumer_group="eu")
    for one in (queue, other):
        one.stores.backend.promote(1)
    other.close()

    for args in (["--group", "eu", "info", "--json"], ["info", "--group", "eu", "--json"]):
        assert [group["group"] for group in json.loads(command(*args).stdout)["groups"]] == ["eu"]


@pytest.mark.parametrize("args", LOOKING, ids=" ".join)
def test_looking_at_no_queue_makes_none(args: list[str], command: Command, keys: Callable[[], list[bytes]]) -> None:
    """A name that was misspelt is an error, and the store stays as it was."""
    result = command(*args)

    assert (result.exit_code, keys()) == (1, [])
    assert "there is no queue" in result.stderr


@pytest.mark.parametrize("args", [args for args in LOOKING if not {"groups", "remove-group"} & set(args)], ids=" ".join)
def test_looking_at_no_group_makes_none(args: list[str], queue: TaskQueue, command: Command) -> None:
    """A group that came to be by looking would get a copy of every task from then on."""
    enqueue(queue, "r1")

    result = command(*args, "--group", "typo")

    assert (result.exit_code, queue.stores.backend.groups()) == (1, ["cg"])
    assert "has no group 'typo', only cg" in result.stderr


def test_task_says_what_is_known(queue: TaskQueue, command: Command) -> None:
    """The call, its state, who ran it, and what it answered."""
    succeed(queue, "s1")

    facts = json.loads(command("task", "s1", "--json").stdout)

    expected = {"id": "s1", "task": "jobs.add", "state": "SUCCESS", "args": [1], "kwargs": {"b": 2}, "result": 3}
    assert {name: facts[name] for name in expected} == expected
    assert facts["worker"] == WORKER


def test_task_shows_why_it_failed(queue: TaskQueue, command: Command) -> None:
    """With the worker's traceback as text."""
    fail(queue, "f1")

    shown = command("task", "f1").stdout

    assert "ValueError: no f1" in shown
    assert shown.endswith("\n\n  Traceback: in jobs.py\n")


def test_an_unknown_task_is_an_error(queue: TaskQueue, command: Command) -> None:
    """It may have expired, so the message says so."""
    enqueue(queue, "r1")

    result = command("task", "r2")

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: no task has the id 'r2'")


def test_a_store_that_cannot_be_reached_is_exit_code_3(command: Command) -> None:
    """So that a script can try again later."""
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
    """A bare word is not taken for something else."""
    result = command(*args)

    assert result.exit_code == 2
    assert "Invalid value for '--url'" in result.stderr
    assert "it must be a URL, such as " in result.stderr


def test_a_password_is_not_shown(command: Command, url: str, stream_key: str) -> None:
    """Neither one before the host nor one behind the question mark. (Without a password, the server takes any.)"""
    result = command("info", "--url", url.replace("//", "//default:p@ss:w@") + "?username=default&password=hunter2")

    assert f"there is no queue {stream_key!r} at {url}:" in result.stderr


def test_app_and_store_exclude_each_other(command: Command) -> None:
    """An app says where its queue is; to look elsewhere under its name would be a trap."""
    result = command("info", "some.app", "--queue", "other")

    assert result.exit_code == 2
    assert "leave out --queue" in result.stderr


def test_the_store_on_the_command_line_wins_over_the_apps_variable(
    queue: TaskQueue, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is typed is meant."""
    enqueue(queue, "r1")
    monkeypatch.setenv("PYXQUEUE_APP", "no_such_app")

    assert command("info", "--queue", queue.stream_key).exit_code == 0
    assert command("info").exit_code == 2


def test_eager_mode_does_not_hide_a_store(queue: TaskQueue, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable is for programs that enqueue."""
    enqueue(queue, "r1")
    monkeypatch.setenv("PYXQUEUE_EAGER", "1")

    assert json.loads(command("task", "r1", "--json").stdout)["state"] == "PENDING"


def test_an_eager_app_has_nothing_to_show(command: Command, write: Write, tmp_path: Path) -> None:
    """Its tasks never were in a store, and an empty table would look like an answer."""
    module = write("from pyxqueue import TaskQueue\nqueue = TaskQueue(eager=True)")

    result = command("--path", str(tmp_path), "info", module)

    assert result.exit_code == 2
    assert "is eager" in result.stderr


def test_an_app_names_its_own_queue(queue: TaskQueue, url: str, command: Command, write: Write, tmp_path: Path) -> None:
    """With its own store, name and group; the variables for a store play no part."""
    module = write(
        f"from pyxqueue import TaskQueue\nqueue = TaskQueue({url!r}, stream_key='app', consumer_group='eu')\n"
        f"queue.stores.backend.promote(1)"
    )

    shown = json.loads(command("--path", str(tmp_path), "--app", module, "info", "--json").stdout)

    assert (shown["queue"], shown["at"], shown["groups"][0]["group"]) == ("app", url, "eu")


def test_a_url_that_an_app_would_not_follow_is_a_mistake(
    url: str, command: Command, write: Write, tmp_path: Path
) -> None:
    """What is shown would be of another store than the one that was asked for."""
    module = write("from pyxqueue import TaskQueue\nqueue = TaskQueue('redis://127.0.0.1:1')")

    result = command("info", "--path", str(tmp_path), "--app", module, "--url", url)

    assert result.exit_code == 2
    assert "--url cannot change it" in result.stderr


@pytest.mark.parametrize(("ms", "text"), [(0, "0 ms"), (999, "999 ms"), (3_200, "3.2 s"), (5_400_000, "1.5 h")])
def test_durations_are_short(ms: int, text: str) -> None:
    """One unit, one decimal."""
    assert duration(ms) == text


def test_what_json_cannot_show_is_described() -> None:
    """Also an int that Python would not turn into text."""
    assert showable({"a": [1]}) == {"a": [1]}
    assert showable({1, 2}) == "{1, 2}"
    assert showable(10**5000) == "<int that is too long to show>"


def test_help_lists_the_exit_codes(command: Command) -> None:
    """They are a promise to scripts."""
    shown = command("--help").stdout

    assert "3  the store cannot be reached" in shown


def test_a_task_that_is_due_at_the_end_of_time(queue: TaskQueue, command: Command) -> None:
    """No calendar has its moment any more."""
    handle = queue.task(name="jobs.late")(lambda: None).with_options(eta=datetime.max.replace(tzinfo=UTC))()

    shown = command("task", handle.task_id)

    assert shown.exit_code == 0
    assert "after the year 9999" in shown.stdout
    assert json.loads(command("task", handle.task_id, "--json").stdout)["due"] == "after the year 9999"
