"""``pyxqueue pause``: let no worker start a task for a while."""

from __future__ import annotations

import click

from ..output import json_option, say_pause
from ..target import Target, module_argument, pass_target, target_options


@click.command()
@module_argument
@target_options
@json_option
@pass_target
def pause(target: Target, as_json: bool) -> None:
    """Let no worker start a task of the group, on any machine, until `resume`.

    What runs goes on, tasks can be enqueued, and delayed ones become due.
    """
    queue = target.existing()
    changed = queue.admin.pause()
    facts = {"queue": queue.stream_key, "group": queue.consumer_group, "paused": True, "changed": changed}
    say_pause(facts, "paused" if changed else "was paused already", as_json=as_json)
