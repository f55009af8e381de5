"""``pyxqueue resume``: end a pause."""

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
def resume(target: Target, limit: str | None, key: str | None, task: str | None, as_json: bool) -> None:
    """End a pause: workers start tasks of the group again."""
    queue = target.existing()
    check_part(queue, limit, key, task)
    changed = queue.admin.resume(limit=limit, key=key, task=task)
    show_pause(queue, (limit, key, task), paused=False, changed=changed, as_json=as_json)
