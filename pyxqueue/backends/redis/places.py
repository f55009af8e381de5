"""Pages of the tasks of one place (`HasPlaces`): a first step finds their ids there, a second what they are like."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeAlias

from ...errors import ConfigurationError
from ...model.message import Unreadable, evolve
from ...model.places import Listed, Place, PlacePage, cut_fields
from ...printable import quoted
from . import commands
from .commands import Found, Outline
from .keys import LINES, LIVE
from .reading import is_entry, message_in, task_info
from .registration import Registration
from .steps import Steps

Part: TypeAlias = tuple[str, str]
"""A kind of `page.lua`, and a line of it."""
_LARGEST_PAGE = 256
_DELAYED = re.compile(rb"\d{1,18} [\x00-\xff]{1,64}", re.DOTALL)
_SCANNED = re.compile(rb"\d{1,20} [\x00-\xff]*", re.DOTALL)
_LONGEST = 2_000
_SUSPENDED = b"+"
"""What the name of a field of the dependents begins with, of a task that is suspended."""
_ENDED = (Place.FAILED, Place.HISTORY)


def _ready() -> list[Part]:
    found: list[Part] = []
    for again, new in LINES.values():
        found += [("ready", again), ("ready", new), ("lined", f"[fair:{again}\0\n(fair:{again}\1")]
    return found


_PARTS: Mapping[Place, Sequence[Part]] = {
    Place.READY: _ready(),
    Place.IN_FLIGHT: [("held", line) for lines in LINES.values() for line in lines],
    Place.DELAYED: [("delayed", "")],
    Place.BLOCKED: [("lined", "-\n(fair:"), ("lined", "[fair;\n+")],
    Place.DEPENDENT: [("dependent", "")],
    Place.FAILED: [("ended", "f")],
    Place.HISTORY: [("ended", "h")],
}
"""Of all priority classes, so that the number of a part does not change when one comes into use."""
_LETTERS: Mapping[Place, Sequence[str]] = {
    Place.READY: (*LIVE, "g"),
    Place.IN_FLIGHT: LIVE,
    Place.DELAYED: ("d",),
    Place.BLOCKED: ("g",),
    Place.DEPENDENT: ("w",),
    Place.FAILED: ("f",),
    Place.HISTORY: ("h",),
}


def page(registration: Registration, place: Place, cursor: str, count: int, peek: int) -> Steps[PlacePage]:
    """As `HasPlaces.page` has it."""
    group, size = registration.options.group, min(count, _LARGEST_PAGE)
    part, position = _position(place, cursor)
    found = yield from registration.current(
        lambda groups: commands.page(groups.streams[group], _PARTS[place][part:], position, size, peek)
    )
    ids = [_id_of(at, what) for _, at, what in found]
    known = yield from registration.each(
        [one for one in ids if one], lambda keys, batch: commands.outlines(keys, group, batch, peek)
    )
    outlines = dict(zip([one for one in ids if one], known, strict=False))
    tasks = []
    for task_id, one_found in zip(ids, found, strict=True):
        one = _listed(place, task_id, one_found, outlines.get(task_id), peek)
        if one is not None:
            tasks.append(one)
    more = found and (len(found) >= size or not ids[-1])
    return PlacePage(tasks, _cursor(part + found[-1][0], found[-1][1]) if more else "")


def held_by(
    registration: Registration, count: int
) -> Callable[[tuple[int, bytes]], Steps[tuple[list[tuple[bytes, str]], tuple[int, bytes] | None]]]:
    """Return what reads the holders and the ids of `count` tasks in flight from a position on, and the next position;
    None if there are no more."""
    group, parts = registration.options.group, _PARTS[Place.IN_FLIGHT]

    def read(
        position: tuple[int, bytes],
    ) -> Steps[tuple[list[tuple[bytes, str]], tuple[int, bytes] | None]]:
        part, at = position
        found = yield from registration.current(
            lambda groups: commands.page(groups.streams[group], parts[part:], at, count, 0)
        )
        pairs = [(what[1], _id_of(entry, what)) for _, entry, what in found]
        return pairs, (part + found[-1][0], found[-1][1]) if len(found) >= count else None

    return read


def _listed(place: Place, task_id: str, found: Found, outline: Outline | None, peek: int) -> Listed | None:
    """The task, if it is in the place: it may have moved between the two steps."""
    _, at, what = found
    if outline is not None and outline.place in _LETTERS[place] and _is_there(place, what, outline):
        return outline.listed
    if place not in _ENDED or (outline is not None and not outline.listed.info.status.ended):
        return None
    flat, body, whole = what  # nothing else is known of it any more
    info = task_info(task_id, {b"entry": at}, flat)
    if info is not None and isinstance(info.message, Unreadable):
        body, info = whole, evolve(info, message=cut_fields(info.message, peek))
    return None if info is None else Listed(info, body, 0)


def _is_there(place: Place, what: Any, outline: Outline) -> bool:
    info = outline.listed.info
    match place:
        case Place.READY:
            return not outline.is_held and (outline.place != "g" or info.line > 0)
        case Place.IN_FLIGHT:
            return outline.is_held
        case Place.BLOCKED:
            return not info.line
        case Place.DEPENDENT:  # one that has waited before it was suspended has two fields
            return info.suspended is what.startswith(_SUSPENDED)
        case _:
            return True


def _id_of(at: bytes, what: Any) -> str:
    """The id of what was found, '' for none."""
    if isinstance(what, bytes):
        return "" if what.startswith(b":") else what.removeprefix(_SUSPENDED).decode(errors="replace")
    flat = what[0] if what and isinstance(what[0], list) else what
    return message_in(at, flat).id


def _cursor(part: int, position: bytes) -> str:
    return f"{part}.{urlsafe_b64encode(position).decode()}"


def _position(place: Place, cursor: str) -> tuple[int, bytes]:
    """The number of the part and the position there. Raises `ConfigurationError` for a cursor that `page` has not
    returned."""
    if not cursor:
        return 0, b""
    number, dot, text = cursor.partition(".")
    with suppress(ValueError):
        if dot and number.isascii() and number.isdigit() and len(number) < 3 and text and len(text) < _LONGEST:
            parts, position = _PARTS[place], urlsafe_b64decode(text.encode("ascii"))
            if int(number) < len(parts) and _fits(parts[int(number)][0], position):
                return int(number), position
    raise ConfigurationError(f"{quoted(cursor)} is not a cursor that `page` has returned")


def _fits(kind: str, position: bytes) -> bool:
    match kind:
        case "delayed":
            return _DELAYED.fullmatch(position) is not None
        case "dependent":
            return _SCANNED.fullmatch(position) is not None
        case "lined":
            return bool(position)
        case _:
            return is_entry(position.decode(errors="replace"))
