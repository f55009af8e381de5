"""``pyxqueue retry``: run failed tasks again."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import click

from ...client.admin import Place
from ...printable import quoted
from ..filters import act_on_those, print_batch, where_given, where_options
from ..output import json_option, yes_option
from ..target import Target, pass_target, target_options
from ..words import module_hint, take_module


@click.command()
@click.argument("words", metavar="[MODULE[:QUEUE]] [ID]...", nargs=-1)
@click.option("--all-failed", is_flag=True, help="All failed tasks, instead of IDs.")
@click.option("--ended", is_flag=True, help="Also tasks that succeeded or were cancelled.")
@click.option("--fresh", is_flag=True, help="Also from their first step.")
@where_options
@yes_option
@target_options
@json_option
@pass_target
def retry(
    target: Target, words: Sequence[str], *, all_failed: bool, ended: bool, fresh: bool, yes: bool, as_json: bool
) -> None:
    """Run failed tasks again, from their first attempt.

    Instead of IDs, options such as --name and --error say which of the failed tasks are meant. At most 1,000 are then
    retried at once, and it asks before.
    """
    where = where_given()
    ids = take_module(target, words, everything=all_failed or where is not None)
    if [bool(ids), all_failed, where is not None].count(True) > 1:
        extra = f"; {quoted(ids[0])} is not a module" if ids else ""
        raise click.UsageError(f"give either IDs or --all-failed, or options such as --name, not both{extra}")
    if where is not None:
        if ended:
            raise click.UsageError("--ended needs IDs")
        queue = target.existing()
        act_on_those(
            queue,
            "retry",
            "retried",
            Place.FAILED,
            partial(queue.admin.retry, fresh=fresh),
            yes=yes,
            as_json=as_json,
        )
        return
    if not ids and not all_failed:
        raise click.UsageError(f"give either IDs or --all-failed{module_hint(words, ids)}")
    result = target.existing().admin.retry(ids or None, all_failed=all_failed, ended=ended, fresh=fresh)
    print_batch(result, "retried", as_json=as_json)
