"""The command `info` for a whole store, and for busy workers."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest
from redis import Redis

from pyxqueue import TaskQueue
from pyxqueue.backends.sqlite.driver import best
from pyxqueue.cli.commands import info as info_module
from pyxqueue.model.message import Extension, Message, Progress

from .conftest import Command
from .jobs import WORKER, claim, enqueue


@pytest.fixture(params=["redis", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a store, which is in the environment of the command; it names no queue."""
    place = url if request.param == "redis" else f"sqlite:///{tmp_path}/queue.db"
    monkeypatch.setenv("PYXQUEUE_URL", place)
    monkeypatch.delenv("PYXQUEUE_QUEUE", raising=False)
    return place


def open_queue(store: str, name: str, group: str = "cg") -> TaskQueue:
    queue = TaskQueue(store, stream_key=name, consumer_group=group)
    queue.task(name="jobs.add")(lambda a, b=0: a + b)
    return queue


def test_info_lists_the_queues_of_a_store(command: Command, store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a queue, it shows every group of every queue, and the command for one queue."""
    monkeypatch.delenv("PYXQUEUE_QUEUE", raising=False)
    for name, group in (("mail", "cg"), ("mail", "eu"), ("shop", "cg")):
        with closing(open_queue(store, name, group)) as queue:
            enqueue(queue, f"{name}-{group}")

    shown, table = json.loads(command("info", "--json").stdout), command("info").stdout

    ready = [(group["queue"], group["group"], group["depth"]["ready"]) for group in shown["queues"]]
    assert (ready, shown["complete"]) == ([("mail", "cg", 2), ("mail", "eu", 1), ("shop", "cg", 1)], True)
    lines = [line.split()[:3] for line in table.splitlines()]
    assert lines[-6:-2] == [["queue", "group", "ready"], ["mail", "cg", "2"], ["mail", "eu", "1"], ["shop", "cg", "1"]]
    assert "pyxqueue info --queue mail" in table


def test_many_queues_are_cut_with_a_count(command: Command, store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table reads only the first ones, because each needs a connection; the JSON has all."""
    monkeypatch.setattr(info_module, "_LISTED", 3)
    for number in range(5):
        with closing(open_queue(store, f"customer-{number}")) as queue:
            enqueue(queue, "r1")

    shown = command("info").stdout

    assert "customer-2" in shown
    assert "customer-3" not in shown
    assert "... and 2 more queues: --json has them too" in shown
    assert len(json.loads(command("info", "--json").stdout)["queues"]) == 5


def test_info_on_an_empty_store(command: Command, store: str) -> None:
    """It is an error, and nothing is created."""
    result = command("info")

    assert result.exit_code == 1
    assert f"there is no queue at {store}: check the store" in result.stderr


def test_info_continues_after_a_queue_that_it_may_not_read(
    command: Command, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Redis user may see the names of queues without the permission to read them."""
    for name in ("mail", "shop"):
        with closing(open_queue(url, name)) as queue:
            enqueue(queue, "r1")
    with Redis.from_url(url) as client:
        client.execute_command(
            "ACL",
            "SETUSER",
            "one",
            "on",
            ">pw",
            "resetkeys",
            "resetchannels",
            "~shop",
            "~{shop}:*",
            "&{shop}:*",
            "+@all",
        )
    monkeypatch.setenv("PYXQUEUE_URL", url.replace("://", "://one:pw@"))
    monkeypatch.delenv("PYXQUEUE_QUEUE")

    shown = json.loads(command("info", "--json").stdout)

    with Redis.from_url(url) as client:
        client.execute_command("ACL", "DELUSER", "one")
    assert [(group["queue"], group["depth"]["ready"]) for group in shown["queues"]] == [("mail", "?"), ("shop", 1)]


def test_a_worker_shows_what_it_runs(command: Command, store: str) -> None:
    """The task's name, since when it runs and its progress. Extending the lease does not change the time."""
    with closing(open_queue(store, "shop")) as queue:
        delivery = claim(queue, "h1")
        queue.stores.backend.extend([Extension(delivery.receipt, Progress(40, 200, "rows"))])
        before = queue.stores.backend.show(["h1"])[0]
        queue.stores.backend.extend([Extension(delivery.receipt)])
        shown = command("info", "--queue", "shop").stdout
        [worker] = json.loads(command("info", "--queue", "shop", "--json").stdout)["groups"][0]["workers"]
        after = queue.stores.backend.show(["h1"])[0]

    assert [(run["id"], run["task"], run["progress"]) for run in worker["running"]] == [
        ("h1", "jobs.add", "40 of 200 rows")
    ]
    assert "\n0242ac120002:4242  jobs.add  " in shown
    assert "██░░░░░░░░  20% rows\n" in shown
    assert before is not None
    assert after is not None
    assert abs(after.started_ms - before.started_ms) < 100 < before.started_ms


def test_no_line_about_a_worker_is_longer_than_a_terminal(command: Command, store: str) -> None:
    """With many tasks and long names; the number of tasks that are left out is shown."""
    worker = f"{'w' * 300}\x1b[31m"
    with closing(open_queue(store, "shop", "g" * 64)) as queue:
        queue.stores.backend.enqueue([Message(f"{'i' * 60}{number}", "n" * 200) for number in range(100)])
        held = queue.stores.backend.claim(worker, 100, 0)
        queue.stores.backend.extend([Extension(one.receipt, Progress(1, 2, "m" * 3_000)) for one in held])
        queue.stores.backend.claim(WORKER, 1, 0)
        lines = command("info", "--queue", "shop").stdout.split("\n\n", 1)[1].splitlines()

    assert max(map(len, lines)) <= 80
    assert [line for line in lines if "more" in line] == [
        "... and 90 more: pyxqueue tasks --queue shop --state started"
    ]
    assert "\x1b" not in "".join(lines)
    assert len([line for line in lines if "n" * 20 in line]) == 10


def test_a_long_list_of_groups_is_cut_with_a_count(command: Command, tmp_path: Path, store: str) -> None:
    """The rest of the output stays on the screen; the JSON has all groups."""
    with closing(open_queue(store, "shop")) as queue:
        enqueue(queue, "r1")
    if not store.startswith("sqlite"):
        with Redis.from_url(store) as client:
            for number in range(59):
                client.hset("{shop}:meta", f"group:g{number}", f"{{shop}}:g{number}:stream")
    else:
        with closing(best().connect(f"{(tmp_path / 'queue.db').as_uri()}?mode=rw")) as file:
            file.executemany(
                "INSERT INTO consumer_group VALUES (?, 'shop', ?, 30000, 1, 0, 0, 0)",
                [(1_000 + number, f"g{number}") for number in range(59)],
            )

    shown = command("info", "--queue", "shop")

    assert "... and 10 more groups: --json has all of them" in shown.stdout
    assert len(json.loads(command("info", "--queue", "shop", "--json").stdout)["groups"]) == 60
