"""The commands of `schedule`."""

from __future__ import annotations

import json

import pytest

from pyxqueue import TaskQueue

from .conftest import Command


@pytest.fixture
def ids(queue: TaskQueue) -> list[str]:
    """Two schedules of the task of the queue."""
    task = queue.task(name="jobs.report")(lambda: None)
    queue.schedules.upsert("daily", task, cron="30 2 * * *", timezone="Europe/Berlin")
    queue.schedules.upsert("often", task, every=60, missed="skip", overlap="queue")
    return ["daily", "often"]


def test_the_list(queue: TaskQueue, command: Command, ids: list[str]) -> None:
    """A line for each schedule, in the order of their ids."""
    lines = command("schedule", "list").stdout.splitlines()
    assert lines[0].split() == ["id", "when", "state", "last", "next", "runs", "skipped", "missed", "errors"]
    assert [line.split()[0] for line in lines[1:]] == ids
    assert "active" in lines[1]


def test_ids_and_times_are_not_cut(queue: TaskQueue, command: Command) -> None:
    """The other commands take the id, and a cron expression means nothing without its time zone."""
    task = queue.task(name="jobs.report")(lambda: None)
    queue.schedules.upsert("shop.reports.daily_for_all_customers", task, cron="30 2 * * *", timezone="Europe/Berlin")
    shown = command("schedule", "list").stdout
    assert "shop.reports.daily_for_all_customers  30 2 * * * Europe/Berlin  active" in shown


def test_the_module_comes_after_the_command(queue: TaskQueue, command: Command) -> None:
    """The error says so."""
    told = command("schedule", "shop:mail")
    assert told.exit_code == 2
    assert "'shop:mail' is not a command of schedule" in told.stderr
    assert "`pyxqueue schedule list shop:mail`" in told.stderr


def test_the_json_of_the_list(queue: TaskQueue, command: Command, ids: list[str]) -> None:
    """It has everything that is known about a schedule."""
    daily, often = json.loads(command("schedule", "list", "--json").stdout)
    assert daily["cron"] == "30 2 * * *"
    assert daily["timezone"] == "Europe/Berlin"
    assert daily["next"].endswith(":30:00Z")
    assert (often["every"], often["missed_policy"], often["overlap"]) == (60, "skip", "queue")
    assert {often[name] for name in ("runs", "skipped", "missed", "errors")} == {0}
    assert (often["task"], often["state"], often["origin"], often["last"]) == ("jobs.report", "active", "runtime", None)


def test_a_queue_without_schedules(queue: TaskQueue, command: Command) -> None:
    """It says so."""
    queue.stores.backend.lease_ms()
    assert command("schedule", "list").stdout == "the queue has no schedules\n"
    assert command("schedule", "list", "--json").stdout == "[]\n"


def test_pause_and_resume(queue: TaskQueue, command: Command, ids: list[str]) -> None:
    """Several schedules at once."""
    assert command("schedule", "pause", *ids).stdout == "paused: daily\npaused: often\n"
    assert {one.state for one in queue.schedules} == {"paused"}
    said = json.loads(command("schedule", "resume", "often", "--json").stdout)
    assert said == {"resumed": [{"id": "often"}], "unknown": []}
    assert [one.state for one in queue.schedules] == ["paused", "active"]


def test_trigger(queue: TaskQueue, command: Command, ids: list[str]) -> None:
    """It prints the id of the task."""
    _, name, task_id = command("schedule", "trigger", "daily").stdout.split()
    assert name == "daily"
    assert queue.admin.task(task_id).name == "jobs.report"


def test_delete_and_what_is_not_known(queue: TaskQueue, command: Command, ids: list[str]) -> None:
    """A schedule that is not known is said, after the others are done; the exit code is 1."""
    result = command("schedule", "delete", "nothing", "daily", "daily")
    assert result.exit_code == 1
    assert result.stdout == "deleted: daily\n"
    assert "there is no schedule 'nothing'" in result.stderr
    assert [one.id for one in queue.schedules] == ["often"]


def test_an_id_is_needed(queue: TaskQueue, command: Command) -> None:
    """Without one, the command line is wrong."""
    assert command("schedule", "pause").exit_code == 2
    assert command("schedule").exit_code in (0, 2)
