"""``pyxqueue pause``: let no worker start a task for a while."""

from __future__ import annotations

import click

from ..output import json_option
from ..pauses import check_part, part_options, show_pause
from ..target import Target, module_argument, pass_target, target_options


@click.command()
@module_argument
@target_options
@part_options
@json_option
@pass_target
def pause(target: Target, limit: str | None, key: str | None, task: str | None, as_json: bool) -> None:
    """Let no worker start a task of the group, on any machine, until `resume`.

    What runs goes on, tasks can be enqueued, and delayed ones become due.
    """
    queue = target.existing()
    check_part(queue, limit, key, task)
    changed = queue.admin.pause(limit=limit, key=key, task=task)
    show_pause(queue, (limit, key, task), paused=True, changed=changed, as_json=as_json)
