"""``pyxqueue tasks``: list tasks."""

from __future__ import annotations

import time
from typing import Any

import click
import msgspec

from ...client import admin
from ...model.message import TaskInfo, TaskStatus
from ..output import (
    duration,
    json_option,
    moment,
    page_options,
    print_json,
    print_more,
    print_table,
    progress_text,
    say,
)
from ..target import Target, module_argument, pass_target, target_options


@click.command()
@module_argument
@click.option(
    "--state",
    type=click.Choice([state.name for state in TaskStatus], case_sensitive=False),
    help="Only tasks in this state.",
)
@click.option("--name", help="Only tasks of this name.")
@page_options
@target_options
@json_option
@pass_target
def tasks(target: Target, /, *, state: str | None, name: str | None, limit: int, after: str, as_json: bool) -> None:
    """List tasks by state and name, the newest first, one page at a time."""
    page = target.existing().admin.tasks(state, name=name, after=after, limit=limit)
    if as_json:
        print_json({"tasks": [_facts(info) for info in page.tasks], "next": page.next or None})
        return
    now = round(time.time() * 1000)
    rows = [
        [
            info.id,
            info.readable.name if info.readable else "?",
            info.status.name,
            duration(max(0, now - info.updated_ms)),
            progress_text(info),
        ]
        for info in page.tasks
    ]
    if rows:
        print_table(["id", "task", "state", "for", "progress"], rows, {"task", "progress"})
    else:
        say("no matching tasks" + (f" among the newest {admin.SCAN_LIMIT:,}" if page.next else ""))
    print_more(page)


def _facts(info: TaskInfo) -> dict[str, Any]:
    message = info.readable
    return {
        "id": info.id,
        "task": message.name if message else None,
        "state": info.status.name,
        "attempt": message.attempt if message else None,
        "enqueued": moment(message.enqueued_ms) if message else None,
        "due": moment(message.due_ms) if message else None,
        "started": moment(info.started_ms),
        "updated": moment(info.updated_ms),
        "worker": info.worker or None,
        "progress": msgspec.to_builtins(info.progress),
    }
