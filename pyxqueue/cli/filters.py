"""The options that filter tasks, and operations on all tasks that fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

from ..client.admin import BULK, Admin, BatchResult, Place, Where
from ..client.finding import seconds_of_age
from ..client.queue import TaskQueue
from ..printable import quoted
from .arguments import take_ids, take_module
from .output import Decorated, confirm, print_json, print_result, say
from .target import Target

_COUNTED = 10_000
"""How many tasks that fit are counted."""
_THOSE = {
    Place.READY: "ready tasks",
    Place.IN_FLIGHT: "tasks in flight",
    Place.DELAYED: "delayed tasks",
    Place.BLOCKED: "blocked tasks",
    Place.DEPENDENT: "dependent tasks",
    Place.FAILED: "failed tasks",
    Place.HISTORY: "tasks in the history",
}


def seconds(text: str) -> float:
    """Return an age in seconds. Raises `click.BadParameter` for a text that is not an age."""
    age = seconds_of_age(text)
    if age is None:
        raise click.BadParameter(f"{quoted(text)} is not an age such as 30s, 10m, 1h or 2d")
    return age


def _note(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    if value is not None:
        context.meta.setdefault(__name__, {})[parameter.name] = value


def _option(name: str, help_text: str, **settings: Any) -> Callable[[Decorated], Decorated]:
    return click.option(name, expose_value=False, callback=_note, help=help_text, **settings)


def where_options(command: Decorated) -> Decorated:
    """Add the options ``--name``, ``--error``, ``--text``, ``--older`` and ``--newer``; `where_given` returns them."""
    for option in (
        _option(
            "--newer", "Only tasks that came to their place since then: 30s, 10m, 1h, 2d.", type=seconds, metavar="AGE"
        ),
        _option("--older", "Only tasks that came to their place before that.", type=seconds, metavar="AGE"),
        _option("--text", "Only tasks with this text in id, name, error or arguments."),
        _option("--error", "Only tasks that failed with an error of this type."),
        _option("--name", "Only tasks of this name; * stands for any characters."),
    ):
        command = option(command)
    return command


def where_given() -> Where | None:
    """Return what the options of `where_options` say; None if none of them was given."""
    given = click.get_current_context().meta.get(__name__)
    return Where(**given) if given else None


def place_option(places: Sequence[Place], help_text: str) -> Callable[[Decorated], Decorated]:
    """Add the option ``--place``."""
    choice = click.Choice([place.value for place in places], case_sensitive=False)
    return click.option("--place", type=choice, help=help_text)


def ids_or_place(target: Target, words: Sequence[str], place: str | None) -> Sequence[str]:
    """Return the ids among the arguments; none if `place` is given. Raises `click.UsageError` if both or neither are
    given."""
    if place is None:
        if where_given() is not None:
            raise click.UsageError("--place is missing: options such as --name choose from the tasks of one place")
        return take_ids(target, words, or_else="or --place and options such as --name")
    if ids := take_module(target, words, everything=True):
        raise click.UsageError(f"give either IDs or --place, not both; {quoted(ids[0])} is not a module")
    return ids


def count(admin: Admin, place: Place, where: Where) -> tuple[int, bool]:
    """Return how many tasks of a place fit, and whether these are all: no more than 10,000 are counted."""
    found, cursor = 0, ""
    while found < _COUNTED:
        page = admin.list(place, where=where, after=cursor, limit=BULK, peek=0)
        found, cursor = found + len(page.tasks), page.next
        if not cursor:
            return found, True
    return found, False


def act_on_those(
    queue: TaskQueue,
    verb: str,
    participle: str,
    place: Place,
    act: Callable[..., BatchResult],
    *,
    yes: bool,
    as_json: bool,
) -> None:
    """Say how many tasks fit the options, ask, and change at most 1,000 of them."""
    where = where_given() or Where()
    fitting, complete = count(queue.admin, place, where)
    result, left, all_left = BatchResult(0), 0, True
    if fitting:
        which = f"{_number(fitting, complete=complete)} {_THOSE[place]}"
        first = f", the first {BULK:,} now" if fitting > BULK else ""
        confirm(f"Of {queue.stream_key}, group {queue.consumer_group}, {verb} {which}{first}?", yes=yes, err=as_json)
        result = act(where=where, limit=BULK)
        if result.left:
            left, all_left = count(queue.admin, place, where)
    if as_json:
        print_json({"done": result.done, "left": left, "counted_all": all_left})
        return
    print_result(result, participle)
    if left:
        say(f"left: {_number(left, complete=all_left)}; run it again for the next {BULK:,}")


def _number(number: int, *, complete: bool) -> str:
    return f"{number:,}" if complete else f"more than {number:,}"


def print_batch(result: BatchResult, participle: str, *, as_json: bool) -> None:
    """Print the result of an operation on tasks that were named by their ids."""
    if not as_json:
        print_result(result, participle)
        return
    print_json({"done": result.done, "refused": {name: str(why) for name, why in result.refused.items()}})
    if result.refused:
        click.get_current_context().exit(1)
