"""``pyxqueue pause``: let no worker start a task for a while."""

from __future__ import annotations

import click

from ..output import json_option, say_pause
from ..target import Target, module_argument, pass_target, target_options


@click.command()
@module_argument
@target_options
@click.option("--limit", metavar="NAME", help="Only the limit NAME, its number and its rate.")
@click.option("--key", help="With --limit: only for this key.")
@click.option("--task", metavar="NAME", help="Only the tasks of this name.")
@json_option
@pass_target
def pause(target: Target, limit: str | None, key: str | None, task: str | None, as_json: bool) -> None:
    """Let no worker start a task of the group, on any machine, until `resume`.

    What runs goes on, tasks can be enqueued, and delayed ones become due.
    """
    queue = target.existing()
    if key is not None and limit is None:
        raise click.UsageError("--key needs --limit NAME")
    if task is not None and limit is not None:
        raise click.UsageError("--task and --limit are two commands: give one of them")
    changed = queue.admin.pause(limit=limit, key=key, task=task)
    facts: dict[str, object] = {
        "queue": queue.stream_key,
        "group": queue.consumer_group,
        "paused": True,
        "changed": changed,
    }
    if limit is not None:
        facts["limit"] = limit if key is None else f"{limit}/{key}"
    if task is not None:
        facts["task"] = task
    say_pause(facts, "paused" if changed else "was paused already", as_json=as_json)
