"""``pyxqueue delete``: delete tasks."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import click

from ...client.admin import Place
from ..filters import act_on_those, ids_or_place, place_option, print_batch, where_options
from ..output import confirm, json_option, yes_option
from ..target import Target, pass_target, target_options

_PLACES = tuple(place for place in Place if place is not Place.IN_FLIGHT)


@click.command()
@click.argument("words", metavar="[MODULE[:QUEUE]] [ID]...", nargs=-1)
@place_option(_PLACES, "The tasks of this place that fit the other options, instead of IDs.")
@where_options
@yes_option
@target_options
@json_option
@pass_target
def delete(target: Target, words: Sequence[str], *, place: str | None, yes: bool, as_json: bool) -> None:
    """Delete tasks with their results. A task in flight is not deleted; `cancel` ends it.

    With --place instead of IDs, it deletes at most 1,000 tasks at once.
    """
    ids = ids_or_place(target, words, place)
    queue = target.existing()
    if place is None:
        confirm(f"Of {queue.stream_key}, group {queue.consumer_group}, delete {len(ids)} by id?", yes=yes, err=as_json)
        print_batch(queue.admin.delete(ids), "deleted", as_json=as_json)
        return
    act_on_those(
        queue,
        "delete",
        "deleted",
        Place(place),
        partial(queue.admin.delete, place=place),
        yes=yes,
        as_json=as_json,
    )
