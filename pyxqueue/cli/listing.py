"""The command that lists tasks."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from typing import Any

import click

from ..message import Message, TaskInfo, TaskStatus
from ..protocols import Inspector
from .output import duration, json_option, moment, print_json, print_table, progress_text
from .target import Target, module_argument, pass_target, target_options

_PAGE = 256
_LOOKED_AT = 10_000
"""Tasks that one command looks at for a name, so that it ends soon however long the queue is."""


@click.command()
@module_argument
@click.option(
    "--state",
    type=click.Choice([state.name for state in TaskStatus], case_sensitive=False),
    help="Only tasks in this state.",
)
@click.option("--name", help="Only tasks of this name.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="How many, newest first.")
@click.option("--after", default="", metavar="CURSOR", help="Go on behind the list that ended with this cursor.")
@target_options
@json_option
@pass_target
def tasks(target: Target, /, *, state: str | None, name: str | None, limit: int, after: str, as_json: bool) -> None:
    """List tasks by state and name, the newest first, a page at a time."""
    wanted = None if state is None else TaskStatus[state.upper()]
    found, cursor = _find(target.existing().stores.backend, wanted, name, limit, after)
    if as_json:
        print_json({"tasks": [_facts(info) for info in found], "next": cursor or None})
        return
    now = round(time.time() * 1000)
    rows = [
        [info.id, _name(info), info.status.name, duration(max(0, now - info.updated)), progress_text(info)]
        for info in found
    ]
    if rows:
        print_table(["id", "task", "state", "for", "progress"], rows, {"task", "progress"})
    else:
        click.echo("no such task" + (f" among the newest {_LOOKED_AT:,}" if cursor else ""))
    if cursor:
        click.echo(f"... and more: --after {shlex.quote(cursor)}", err=True)


def _find(
    inspector: Inspector, state: TaskStatus | None, name: str | None, limit: int, cursor: str
) -> tuple[Sequence[TaskInfo], str]:
    """At most `limit` tasks of the name, and the cursor behind them."""
    if name is None:
        return inspector.tasks(state, cursor, limit)
    found: list[TaskInfo] = []
    for _ in range(-(-_LOOKED_AT // _PAGE)):
        page, following = inspector.tasks(state, cursor, _PAGE)
        places = [place for place, info in enumerate(page, 1) if _name(info) == name]
        if len(places) > limit - len(found):  # the page has more than are wanted: end behind the last of those
            page, following = inspector.tasks(state, cursor, places[limit - len(found) - 1])
        found += [info for info in page if _name(info) == name]
        cursor = following
        if not cursor or len(found) >= limit:
            break
    return found, cursor


def _name(info: TaskInfo) -> str:
    return info.message.name if isinstance(info.message, Message) else "?"


def _facts(info: TaskInfo) -> dict[str, Any]:
    message = info.message if isinstance(info.message, Message) else None
    progress = info.progress
    return {
        "id": info.id,
        "task": message.name if message else None,
        "state": info.status.name,
        "attempt": message.attempt if message else None,
        "enqueued": moment(message.enqueued) if message else None,
        "due": moment(message.due) if message else None,
        "started": moment(info.started),
        "updated": moment(info.updated),
        "worker": info.worker or None,
        "progress": None
        if progress is None
        else {"done": progress.done, "total": progress.total, "message": progress.message},
    }
