"""``pyxqueue tasks``: list tasks."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import click
import msgspec

from ...client import admin
from ...client.admin import Admin, Place, Where
from ...client.views import progress_of, progress_text
from ...model.message import TaskInfo, TaskStatus
from ...printable import quoted
from ..filters import place_option, where_given, where_options
from ..output import (
    age,
    json_option,
    moment,
    page_options,
    print_json,
    print_more,
    print_table,
    say,
)
from ..target import Target, module_argument, pass_target, target_options

_WAITING = (Place.READY, Place.DELAYED, Place.BLOCKED, Place.DEPENDENT)
_PLACES: Mapping[str | None, Sequence[Place]] = {
    None: (Place.IN_FLIGHT, *_WAITING, Place.FAILED, Place.HISTORY),
    "PENDING": _WAITING,
    "RETRY": _WAITING,
    "STARTED": (Place.IN_FLIGHT,),
    "FAILURE": (Place.FAILED, Place.HISTORY),
    "SUCCESS": (Place.HISTORY,),
    "CANCELLED": (Place.HISTORY,),
}
"""Where the tasks of each state are."""


@click.command()
@module_argument
@click.option(
    "--state",
    type=click.Choice([state.name for state in TaskStatus], case_sensitive=False),
    help="Only tasks in this state.",
)
@place_option(tuple(Place), "Only tasks in this place, in its order.")
@where_options
@page_options
@target_options
@json_option
@pass_target
def tasks(target: Target, /, *, state: str | None, place: str | None, limit: int, after: str, as_json: bool) -> None:
    """List tasks by state, place, name, age and text.

    They come one page at a time, the newest first, or in the order of --place: ready tasks the next to run first,
    delayed ones the next to be due.
    """
    where, found_in = where_given(), target.existing().admin
    if place is None and _is_plain(where):
        plain = found_in.tasks(state, name=where.name if where else None, after=after, limit=limit)
        found, following, looked_at = plain.tasks, plain.next, f"the newest {admin.SCAN_LIMIT:,}"
    else:
        places = _PLACES[state] if place is None else [Place(place)]
        found, following = _by_place(found_in, places, state, where, after=after, limit=limit)
        looked_at = "those looked at"
    if as_json:
        print_json({"tasks": [_facts(info) for info in found], "next": following or None})
        return
    if found:
        _print_tasks(found)
    else:
        say("no matching tasks" + (f" among {looked_at}" if following else ""))
    print_more(following)


def _is_plain(where: Where | None) -> bool:
    """Whether only tasks of one name are wanted, or all."""
    return where is None or (where.name is not None and "*" not in where.name and where == Where(name=where.name))


def _by_place(
    queue: Admin, places: Sequence[Place], state: str | None, where: Where | None, *, after: str, limit: int
) -> tuple[list[TaskInfo], str]:
    """Return a page of the tasks that fit, one place after the other, and its cursor, which begins with the place."""
    name, _, cursor = after.partition("/")
    if after and name not in places:
        raise click.UsageError(f"--after {quoted(after)} is not a cursor of this list")
    left = places[places.index(Place(name)) :] if after else places
    found: list[TaskInfo] = []
    for number, place in enumerate(left):
        page = queue.list(place, where=where, after="" if number else cursor, limit=limit - len(found))
        found += [one.info for one in page.tasks if state in (None, one.info.status.name)]
        if page.next:
            return found, f"{place}/{page.next}"
        if len(found) == limit:
            following = left[number + 1 :]
            return found, f"{following[0]}/" if following else ""
    return found, ""


def _print_tasks(found: Sequence[TaskInfo]) -> None:
    now = round(time.time() * 1000)
    rows = [
        [
            info.id,
            info.readable.name if info.readable else "?",
            info.status.name,
            age(max(0, now - info.updated_ms)),
            info.reason.partition("\n")[0] or progress_text(progress_of(info)),
        ]
        for info in found
    ]
    last = "error" if any(info.reason for info in found) else "progress"
    print_table(["id", "task", "state", "for", last], rows, {"task", last})


def _facts(info: TaskInfo) -> dict[str, Any]:
    message = info.readable
    return {
        "id": info.id,
        "task": message.name if message else None,
        "state": info.status.name,
        "attempt": message.attempt if message else None,
        "enqueued": moment(message.enqueued_ms) if message else None,
        "due": moment(message.due_ms) if message else None,
        "started": moment(info.started_ms),
        "updated": moment(info.updated_ms),
        "worker": info.worker or None,
        "progress": msgspec.to_builtins(info.progress),
        "error": info.reason.partition("\n")[0] or None,
    }
