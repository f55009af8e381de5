"""``pyxqueue retry``: run failed tasks again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import click

from ...client.admin import Place
from ...client.editing import arguments_of_json
from ...client.queue import TaskQueue
from ...printable import quoted
from ..arguments import module_hint, take_module
from ..filters import act_on_those, print_batch, where_given, where_options
from ..output import Decorated, json_option, print_json, say, yes_option
from ..target import Target, pass_target, target_options


def _note_change(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    if value is not None:
        context.meta.setdefault(__name__, {})[parameter.name] = value


def _change_option(*names: str, **settings: Any) -> Callable[[Decorated], Decorated]:
    return click.option(*names, expose_value=False, callback=_note_change, **settings)


def _change_options(command: Decorated) -> Decorated:
    """Add the options that say what is to be changed; `_changes` returns what they say."""
    for option in (
        _change_option("--priority", type=int, help="Of one ID: its new priority."),
        _change_option("--as", "task_name", metavar="NAME", help="Of one ID: the task to run instead."),
        _change_option("--kwargs", metavar="JSON", help="Of one ID: its new named arguments, as an object."),
        _change_option("--args", metavar="JSON", help="Of one ID: its new positional arguments, as a list."),
    ):
        command = option(command)
    return command


def _changes() -> dict[str, Any]:
    changes: dict[str, Any] = click.get_current_context().meta.get(__name__, {})
    return changes


@click.command()
@click.argument("words", metavar="[MODULE[:QUEUE]] [ID]...", nargs=-1)
@click.option("--all-failed", is_flag=True, help="All failed tasks, instead of IDs.")
@click.option("--ended", is_flag=True, help="Also tasks that succeeded or were cancelled.")
@click.option("--fresh", is_flag=True, help="Also from their first step.")
@_change_options
@where_options
@yes_option
@target_options
@json_option
@pass_target
def retry(
    target: Target, words: Sequence[str], *, all_failed: bool, ended: bool, fresh: bool, yes: bool, as_json: bool
) -> None:
    """Run failed tasks again, from their first attempt.

    Instead of IDs, options such as --name and --error say which of the failed tasks are meant. At most 1,000 are then
    retried at once, and it asks before.

    With --args, --kwargs, --as or --priority, one failed task is replaced by a new one that is changed so; what is not
    given stays. In JSON, other types have tags, as `pyxqueue task` shows them.
    """
    where = where_given()
    ids = take_module(target, words, everything=all_failed or where is not None)
    if changes := _changes():
        if len(ids) != 1 or all_failed or ended or fresh or where is not None:
            raise click.UsageError(
                f"--args, --kwargs, --as and --priority need one ID and no other choice{module_hint(words, ids)}"
            )
        _edit(target.existing(), ids[0], changes, as_json=as_json)
        return
    if [bool(ids), all_failed, where is not None].count(True) > 1:
        extra = f"; {quoted(ids[0])} is not a module" if ids else ""
        raise click.UsageError(f"give either IDs or --all-failed, or options such as --name, not both{extra}")
    if where is not None:
        if ended:
            raise click.UsageError("--ended needs IDs")
        queue = target.existing()
        act_on_those(
            queue,
            "retry",
            "retried",
            Place.FAILED,
            partial(queue.admin.retry, fresh=fresh),
            yes=yes,
            as_json=as_json,
        )
        return
    if not ids and not all_failed:
        raise click.UsageError(f"give either IDs or --all-failed, or options such as --name{module_hint(words, ids)}")
    result = target.existing().admin.retry(ids or None, all_failed=all_failed, ended=ended, fresh=fresh)
    print_batch(result, "retried", as_json=as_json)


def _edit(queue: TaskQueue, task_id: str, changes: dict[str, Any], *, as_json: bool) -> None:
    """Run a failed task again with other arguments, and print the id of the new task."""
    for name in ("args", "kwargs"):
        if name in changes:
            changes[name] = arguments_of_json(queue.core.codec, f"--{name}", changes[name])
    handle = queue.admin.edit(task_id, name=changes.pop("task_name", None), **changes)
    if as_json:
        print_json({"id": handle.task_id, "retry_of": task_id})
        return
    say(f"enqueued: {handle.task_id}, instead of {task_id}")
