"""``pyxqueue delete``: delete tasks by their ids."""

from __future__ import annotations

from collections.abc import Sequence

import click

from ..output import confirm, print_result, yes_option
from ..target import Target, pass_target, target_options
from ..words import take_ids


@click.command()
@click.argument("words", metavar="[MODULE[:QUEUE]] ID...", nargs=-1, required=True)
@yes_option
@target_options
@pass_target
def delete(target: Target, words: Sequence[str], yes: bool) -> None:
    """Delete tasks with their results. A task in flight is not deleted; `cancel` ends it."""
    ids = take_ids(target, words)
    queue = target.existing()
    confirm(f"Of {queue.stream_key}, group {queue.consumer_group}, delete {len(ids)} by id?", yes=yes)
    print_result(queue.admin.delete(ids), "deleted")
