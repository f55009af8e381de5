"""Looks after tasks that wait for others of their flow (L11): whether these can still end.

Who takes a message out of its stream by hand, by XDEL or XTRIM, takes its edges with it. The message of its successor
names those before it, so that the successor can be looked at: if none of them is in a place from which it can end, it
does not wait any more. A suspended task does not name its children, but what is noted of it has their numbers: if none
of them can end any more, it runs again, and finds what has become of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import chain

from ...model.flows import number_of
from ...model.message import Message
from . import commands
from .inspector import show
from .registration import Registration
from .steps import Steps

_PAGE = 256
_CHILDREN = re.compile(r"[0-9]+ ([\w.-]{1,64}) ([0-9]{1,7}) ([0-9]{1,7})", re.ASCII)


def look(registration: Registration, ids: Sequence[str]) -> Steps[None]:
    """Look at some tasks that wait for others. Those whose own messages are gone end."""
    for info in (yield from show(registration, ids)):
        if info is not None and info.waits_for and info.readable is not None:
            yield from _look_at(registration, info.readable)


def _look_at(registration: Registration, message: Message) -> Steps[None]:
    """Doom a task of whose predecessors none can end any more, and one has not; start it if all have succeeded."""
    group = registration.options.group
    noted, lost = b"", ""
    # Of several pages, one that had ended may be requeued while the next ones are looked at.
    again = message.after if number_of(message.after) > _PAGE else ()
    for page in chain(_pages(message.after), _pages(again)):
        found = yield from registration.current(
            lambda groups: commands.standing(groups.streams[group], message.id, page)  # noqa: B023 - runs before the next
        )
        if found.goes_on or not found.noted or (noted and noted != found.noted):
            return
        noted, lost = found.noted, lost or found.lost
    if lost:
        yield from show(registration, [lost])  # which ends it
    if noted:
        yield from registration.current(lambda groups: commands.give_up(groups.streams[group], message.id, noted, lost))


def look_at_suspended(registration: Registration, ids: Sequence[str]) -> Steps[None]:
    """Look at some suspended tasks. Those whose own messages are gone end."""
    for info in (yield from show(registration, ids)):
        if info is not None and info.waits_for and info.readable is not None:
            yield from _look_at_children(registration, info.readable.id)


def _look_at_children(registration: Registration, parent: str) -> Steps[None]:
    """Start a suspended task of whose children none can end any more. If one of them is retried meanwhile, the task is
    started without a reason, and waits again."""
    group = registration.options.group

    def standing(page: Sequence[str]) -> Steps[commands.Standing]:
        return registration.current(lambda groups: commands.standing(groups.streams[group], parent, page))

    noted = (yield from standing(())).noted
    pages = list(_pages_of_children(noted.decode(errors="replace")))
    for page in pages:
        found = yield from standing(page)
        if found.noted != noted:  # one has not ended, or something has happened to the parent
            return
    for page in pages:
        yield from show(registration, page)  # which ends those that are gone, so that they have records
    if pages:
        yield from registration.current(lambda groups: commands.give_up(groups.streams[group], parent, noted, ""))


def _pages_of_children(noted: str) -> Iterator[Sequence[str]]:
    """The ids of the children of a suspended task, the last ones first; none if it is not noted which they are."""
    if numbered := _CHILDREN.fullmatch(noted):
        flow, first, last = numbered[1], int(numbered[2]), int(numbered[3])
        for start in reversed(range(first, last + 1, _PAGE)):
            yield [f"{flow}.{number}" for number in range(start, min(start + _PAGE, last + 1))]


def _pages(after: Sequence[str]) -> Iterator[Sequence[str]]:
    """The ids that `Message.after` stands for; of many the last ones first, since they are most likely to run still."""
    for text in after:
        prefix, many, _ = text.partition(".*")
        count = number_of([text]) if many else 0
        for start in reversed(range(0, count, _PAGE)):
            yield [f"{prefix}.{number}" for number in range(start, min(start + _PAGE, count))]
    single = [text for text in after if ".*" not in text]
    yield from (single[start : start + _PAGE] for start in range(0, len(single), _PAGE))
