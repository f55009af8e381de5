"""``pyxqueue failed``: list the failed tasks."""

from __future__ import annotations

from typing import Any

import click

from ...model.message import TaskInfo
from ..output import cut, json_option, moment, page_options, print_json, print_more, print_table, say
from ..target import Target, module_argument, pass_target, target_options


@click.command()
@page_options
@module_argument
@target_options
@json_option
@pass_target
def failed(target: Target, limit: int, after: str, as_json: bool) -> None:
    """List the failed tasks with their reasons, the newest first."""
    page = target.existing().admin.failed(after=after, limit=limit)
    rows = [_facts(info) for info in page.tasks]
    if as_json:
        print_json(rows)
    elif rows:
        print_table(list(rows[0]), [[*list(row.values())[:-1], cut(row["reason"])] for row in rows])
    else:
        say("no task has failed")
    print_more(page)


def _facts(info: TaskInfo) -> dict[str, Any]:
    message = info.readable
    error = info.record.error if info.record else None
    reason = info.reason or (f"{error.type}: {error.message}" if error else "")
    return {
        "id": info.id,
        "task": message.name if message else "?",
        "attempts": message.attempt if message else 0,
        "when": moment(info.updated_ms) or "?",
        "reason": reason.partition("\n")[0],
    }
