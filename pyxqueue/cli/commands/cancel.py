"""``pyxqueue cancel``: cancel tasks that wait or run."""

from __future__ import annotations

from collections.abc import Sequence

import click

from ..output import print_result
from ..target import Target, pass_target, target_options
from ..words import take_ids


@click.command()
@click.argument("words", metavar="[MODULE[:QUEUE]] ID...", nargs=-1, required=True)
@click.option("--force", is_flag=True, help="Kill the process that runs a task.")
@target_options
@pass_target
def cancel(target: Target, words: Sequence[str], force: bool) -> None:
    """Cancel tasks: a waiting one ends at once, a running one is interrupted by its worker."""
    ids = take_ids(target, words)
    print_result(target.existing().admin.cancel(ids, force=force), "cancelled")
