"""``pyxqueue resume``: end a pause."""

from __future__ import annotations

import click

from ..output import json_option, say_pause
from ..target import Target, module_argument, pass_target, target_options


@click.command()
@module_argument
@target_options
@json_option
@pass_target
def resume(target: Target, as_json: bool) -> None:
    """End a pause: workers start tasks of the group again."""
    queue = target.existing()
    changed = queue.admin.resume()
    facts = {"queue": queue.stream_key, "group": queue.consumer_group, "paused": False, "changed": changed}
    say_pause(facts, "resumed" if changed else "was not paused", as_json=as_json)
