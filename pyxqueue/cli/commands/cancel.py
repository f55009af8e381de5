"""``pyxqueue cancel``: cancel tasks that wait or run."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import click

from ...client.admin import Place
from ..filters import act_on_those, ids_or_place, place_option, print_batch, where_options
from ..output import json_option, yes_option
from ..target import Target, pass_target, target_options

_PLACES = (Place.READY, Place.IN_FLIGHT, Place.DELAYED, Place.BLOCKED, Place.DEPENDENT)


@click.command()
@click.argument("words", metavar="[MODULE[:QUEUE]] [ID]...", nargs=-1)
@click.option("--force", is_flag=True, help="Kill the process that runs a task.")
@place_option(_PLACES, "The tasks of this place that fit the other options, instead of IDs.")
@where_options
@yes_option
@target_options
@json_option
@pass_target
def cancel(target: Target, words: Sequence[str], *, force: bool, place: str | None, yes: bool, as_json: bool) -> None:
    """Cancel tasks: a waiting one ends at once, a running one is interrupted by its worker.

    With --place instead of IDs, it cancels at most 1,000 tasks at once, and asks before.
    """
    ids = ids_or_place(target, words, place)
    queue = target.existing()
    if place is None:
        print_batch(queue.admin.cancel(ids, force=force), "cancelled", as_json=as_json)
        return
    act_on_those(
        queue,
        "cancel",
        "cancelled",
        Place(place),
        partial(queue.admin.cancel, place=place, force=force),
        yes=yes,
        as_json=as_json,
    )
