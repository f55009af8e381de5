"""``pyxqueue purge``: delete all tasks in one place."""

from __future__ import annotations

import click

from ..output import confirm, json_option, print_json, say, yes_option
from ..target import Target, module_argument, pass_target, target_options


@click.command()
@click.option("--waiting", is_flag=True, help="Ready and delayed tasks.  [default]")
@click.option("--failed", is_flag=True, help="Failed tasks.")
@click.option("--history", is_flag=True, help="Tasks that succeeded or were cancelled, with their results.")
@click.option("--all", "everything", is_flag=True, help="All three.")
@yes_option
@json_option
@module_argument
@target_options
@pass_target
def purge(
    target: Target, *, waiting: bool, failed: bool, history: bool, everything: bool, yes: bool, as_json: bool
) -> None:
    """Delete all tasks that wait, that failed, or that are in the history. Tasks in flight are not deleted; `cancel`
    ends them."""
    waiting = waiting or everything or not (failed or history)
    failed, history = failed or everything, history or everything
    queue = target.existing()
    depth = queue.admin.info().depth
    assert depth is not None
    numbers = [
        f"{number:,} {place}"
        for chosen, place, number in (
            (waiting, "waiting", depth.waiting),
            (failed, "failed", depth.failed),
            (history, "in the history", depth.history),
        )
        if chosen
    ]
    confirm(f"Of {queue.stream_key}, group {queue.consumer_group}, delete {', '.join(numbers)}?", yes=yes, err=as_json)
    deleted = queue.admin.purge(waiting=waiting, failed=failed, history=history)
    if as_json:
        print_json({"done": deleted})
    else:
        say(f"deleted: {deleted:,}")
