"""The command `limits`."""

from __future__ import annotations

import json
from pathlib import Path

from pyxqueue import Rate, TaskQueue
from pyxqueue.model.message import FLOW_VERSION, Message

from .conftest import Command


def blocked(queue: TaskQueue) -> None:
    queue.limits.set("api", concurrency=1)
    ids = ("a", "b", "c")
    queue.stores.backend.enqueue([Message(one, "job", gates=("api/k",), v=FLOW_VERSION) for one in ids])


def test_limits_are_shown(queue: TaskQueue, command: Command) -> None:
    """Two tables for people, and JSON; `info` and `task` say what is blocked."""
    assert command("limits").stdout == "" or "no limits" in command("limits").stdout
    blocked(queue)
    lines = [line.split() for line in command("limits").stdout.splitlines()]
    assert ["api", "1", "-"] in lines
    assert ["api/k", "1", "1", "2"] in lines
    shown = json.loads(command("limits", "--json").stdout)
    assert shown["rates"] == []
    assert shown["limits"] == [{"name": "api", "number": 1, "declared": None}]
    assert shown["gates"] == [{"name": "api/k", "used": 1, "limit": 1, "waiting": 2}]
    assert json.loads(command("info", "--json").stdout)["groups"][0]["depth"]["blocked"] == 2
    assert "the limit api/k has no room" in command("task", "b").stdout


def test_limits_are_set(queue: TaskQueue, command: Command) -> None:
    """For the limit and for one key, and back to the number in the code."""
    blocked(queue)
    shown = json.loads(command("limits", "--set", "api", "--key", "k", "--concurrency", "2", "--json").stdout)
    assert shown["gates"] == [{"name": "api/k", "used": 2, "limit": 2, "waiting": 1}]
    command("limits", "--set", "api", "--key", "k", "--reset")
    shown = json.loads(command("limits", "--set", "api", "--reset", "--json").stdout)
    assert shown["limits"] == []
    assert shown["gates"] == [{"name": "api/k", "used": 3, "limit": None, "waiting": 0}]


def test_a_name_that_nothing_uses(queue: TaskQueue, command: Command) -> None:
    """The number is stored, and the user is told which names there are; a known name needs no word."""
    blocked(queue)
    queue.limits.set("api", concurrency=None)
    told = command("limits", "--set", "ap", "--concurrency", "2")
    assert told.exit_code == 0
    assert told.stderr == "no task has a limit 'ap' yet; known are api. --reset removes the number again\n"
    assert command("limits", "--set", "api", "--concurrency", "2").stderr == ""


def test_a_limit_without_keys_is_shown_by_its_name(queue: TaskQueue, command: Command) -> None:
    """Its gate is stored with a slash, which says nothing to people."""
    queue.limits.set("gpu", concurrency=1)
    queue.stores.backend.enqueue([Message(one, "job", gates=("gpu/",), v=FLOW_VERSION) for one in ("a", "b")])
    assert ["gpu", "1", "1", "1"] in [line.split() for line in command("limits").stdout.splitlines()]
    assert "the limit gpu has no room: 1 of 1 tokens are taken" in command("task", "b").stdout


def test_long_names_are_not_cut(queue: TaskQueue, command: Command) -> None:
    """They are what --set takes."""
    name = "a.package.with.a.long.name.and.a.module.in.it.whose.task.has.a.limit.of.its.own"
    queue.limits.set(name, concurrency=3)
    assert name in command("limits").stdout


def test_half_an_order_is_refused(queue: TaskQueue, command: Command) -> None:
    """A name without a number, a number without a name, or both ways at once."""
    blocked(queue)
    for words in (
        ["--set", "api"],
        ["--concurrency", "1"],
        ["--set", "api", "--concurrency", "1", "--reset"],
        ["--set", "api", "--rate", "1"],
        ["--set", "api", "--rate", "1", "--per", "60", "--concurrency", "1"],
    ):
        result = command("limits", *words)
        assert result.exit_code == 2
        assert "--set" in result.stderr


def test_rates_are_shown_and_set(command: Command, tmp_path: Path) -> None:
    """In a store that has rates: for the rate and for one key, and back to what the code says."""
    url = f"sqlite:///{tmp_path / 'rates.db'}"
    queue = TaskQueue(url, stream_key="rates")
    where = ["--url", url, "--queue", "rates", "limits"]

    @queue.task(name="mail", limits=[Rate(100, per=60, burst=10, by="customer")])
    def mail(customer: int) -> None: ...

    mail(7)
    shown = json.loads(command(*where, "--set", "mail", "--key", "7", "--rate", "5", "--per", "1.5", "--json").stdout)
    declared = {"count": 100, "per": 60.0, "burst": 10}
    assert shown["rates"] == [
        {"name": "mail", "pace": declared, "declared": declared},
        {"name": "mail/7", "pace": {"count": 5, "per": 1.5, "burst": 1}, "declared": None},
    ]
    lines = [line.split() for line in command(*where).stdout.splitlines()]
    assert ["mail/7", "5", "per", "1.5", "s,", "1", "at", "once", "-"] in lines
    command(*where, "--set", "mail", "--key", "7", "--reset")
    assert [rate.name for rate in queue.limits.rates()] == ["mail"]
    queue.close()
