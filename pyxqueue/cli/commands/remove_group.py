"""``pyxqueue remove-group``: delete a consumer group."""

from __future__ import annotations

from collections.abc import Sequence

import click

from ..arguments import take_one
from ..output import confirm, json_option, print_json, say, yes_option
from ..target import Target, check_group, pass_target, target_options


@click.command("remove-group")
@click.argument("words", metavar="[MODULE[:QUEUE]] NAME", nargs=-1, required=True)
@yes_option
@target_options
@json_option
@pass_target
def remove_group(target: Target, words: Sequence[str], yes: bool, as_json: bool) -> None:
    """Delete the group NAME with all its tasks.

    Stop its workers first: a worker that still runs creates the group again.
    """
    name = take_one(target, words, "name")
    queue = target.open()
    check_group(queue, name)
    confirm(f"Delete the group {name} of {queue.stream_key}, with all its tasks and results?", yes=yes, err=as_json)
    queue.admin.remove_group(name)
    if as_json:
        print_json({"removed": name})
    else:
        say(f"group {name} removed")
