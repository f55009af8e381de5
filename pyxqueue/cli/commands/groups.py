"""``pyxqueue groups``: list the consumer groups."""

from __future__ import annotations

import click

from ..output import json_option, print_json, say
from ..target import Target, groups_of, module_argument, pass_target, target_options


@click.command()
@module_argument
@target_options
@json_option
@pass_target
def groups(target: Target, as_json: bool) -> None:
    """List the consumer groups of the queue. Each group gets every task."""
    found = groups_of(target.open())
    if as_json:
        print_json(list(found))
    else:
        for name in found:
            say(name)
