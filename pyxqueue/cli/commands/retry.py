"""``pyxqueue retry``: run failed tasks again."""

from __future__ import annotations

from collections.abc import Sequence

import click

from ...printable import quoted
from ..output import print_result
from ..target import Target, pass_target, target_options
from ..words import module_hint, take_module


@click.command()
@click.argument("words", metavar="[MODULE[:QUEUE]] [ID]...", nargs=-1)
@click.option("--all-failed", is_flag=True, help="All failed tasks, instead of IDs.")
@click.option("--ended", is_flag=True, help="Also tasks that succeeded or were cancelled.")
@click.option("--fresh", is_flag=True, help="Also from their first step.")
@target_options
@pass_target
def retry(target: Target, words: Sequence[str], all_failed: bool, ended: bool, fresh: bool) -> None:
    """Run failed tasks again, from their first attempt."""
    ids = take_module(target, words, everything=all_failed)
    if all_failed and ids:
        raise click.UsageError(f"give either IDs or --all-failed, not both; {quoted(ids[0])} is not a module")
    if not ids and not all_failed:
        raise click.UsageError(f"give either IDs or --all-failed{module_hint(words, ids)}")
    result = target.existing().admin.retry(ids or None, all_failed=all_failed, ended=ended, fresh=fresh)
    print_result(result, "retried")
