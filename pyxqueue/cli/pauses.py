"""What the commands ``pause`` and ``resume`` have in common."""

from __future__ import annotations

import click

from ..client.queue import TaskQueue
from ..printable import quoted
from .output import Decorated, print_json, say

_LISTED = 20
"""The most names of tasks that a warning lists."""


def part_options(command: Decorated) -> Decorated:
    """Add the options that name a part of the queue: ``--limit``, ``--key`` and ``--task``."""
    task = click.option("--task", metavar="NAME", help="Only the tasks of this name.")
    key = click.option("--key", help="With --limit: only for this key.")
    limit = click.option("--limit", metavar="NAME", help="Only the limit NAME, its number and its rate.")
    return limit(key(task(command)))


def check_part(queue: TaskQueue, limit: str | None, key: str | None, task: str | None) -> None:
    """Raise `UsageError` for options that exclude each other. Tell a user who may have misspelt the name of a task."""
    if key is not None and limit is None:
        raise click.UsageError("--key needs --limit NAME")
    if task is not None and limit is not None:
        raise click.UsageError("give --task or --limit, not both: run the command once for each")
    names = [spec.name for spec in queue.core.registry]
    if task is not None and names and task not in names:
        say(f"no task of the module has the name {quoted(task)}; it has {', '.join(names[:_LISTED])}", err=True)


def show_pause(
    queue: TaskQueue, part: tuple[str | None, str | None, str | None], *, paused: bool, changed: bool, as_json: bool
) -> None:
    """Print what has become of a group, or of a part of it: limit, key and task."""
    limit, key, task = part
    facts = {"queue": queue.stream_key, "group": queue.consumer_group, "paused": paused, "changed": changed}
    if limit is not None:
        facts["limit"] = limit if key is None else f"{limit}/{key}"
    if task is not None:
        facts["task"] = task
    if as_json:
        print_json(facts)
        return
    states = {(True, True): "paused", (True, False): "was paused already", (False, True): "resumed"}
    named = next((f"{kind} {facts[kind]} in " for kind in ("limit", "task") if kind in facts), "")
    say(f"{named}group {facts['group']} of {facts['queue']}: {states.get((paused, changed), 'was not paused')}")
