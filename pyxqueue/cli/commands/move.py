"""``pyxqueue move``: move tasks to another store."""

from __future__ import annotations

from typing import Any

import click

from ...client import moving
from ...client.moving import MovedGroup
from ...printable import counted, quoted
from ...stores import absolute
from ...urls import shown
from ..output import json_option, print_json, say


@click.command()
@click.argument("source", metavar="SRC")
@click.argument("target", metavar="DST")
@click.option("--queue", "queue", default="tasks", envvar="PYXQUEUE_QUEUE", show_default=True, help="The queue's name.")
@json_option
def move(source: str, target: str, queue: str, as_json: bool) -> None:
    """Move the ready, delayed and failed tasks of every group from the store at the URL SRC to the one at DST, with
    schedules, limits and pauses.

    Stop the workers and the producers of SRC first. If a move is interrupted, run it again within an hour: no task is
    moved twice. Results stay in SRC.
    """
    found = [_facts(one) for one in moving.move(source, target, queue)]
    if not found:
        raise click.ClickException(
            f"there is no queue {quoted(queue)} at {shown(absolute(source))}; --queue names another one"
        )
    if as_json:
        print_json({"queue": queue, "groups": found})
    else:
        for one in found:
            say("queue {queue}, group {group}: moved {waiting} waiting, {failed} failed".format(queue=queue, **one))
    left = sum(int(one["left"]) for one in found)
    if left:
        say(
            f"not moved: {counted(left, 'task')}, in flight, enqueued meanwhile, or with an id that DST has already",
            err=True,
        )
        click.get_current_context().exit(1)


def _facts(one: MovedGroup) -> dict[str, Any]:
    return {"group": one.group, "waiting": one.moved.waiting, "failed": one.moved.failed, "left": one.moved.left}
