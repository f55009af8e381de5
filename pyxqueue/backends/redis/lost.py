"""Looks after tasks that wait for others of their flow (L11): whether these can still end.

Who takes a message out of its stream by hand, by XDEL or XTRIM, takes its edges with it. The message of its successor
names those before it, so that the successor can be looked at: if none of them is in a place from which it can end, it
does not wait any more.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...model.flows import expand
from ...model.message import Message
from . import commands
from .inspector import show
from .registration import Registration
from .steps import Steps

_PAGE = 256


def look(registration: Registration, ids: Sequence[str]) -> Steps[None]:
    """Look at some tasks that wait for others. Those whose own messages are gone end."""
    for info in (yield from show(registration, ids)):
        if info is not None and info.waits_for and info.readable is not None:
            yield from _look_at(registration, info.readable)


def _look_at(registration: Registration, message: Message) -> Steps[None]:
    """Doom a task of whose predecessors none can end any more, and one has not; start it if all have succeeded."""
    group = registration.options.group
    before, noted, lost = list(expand(message.after)), b"", ""
    for start in reversed(range(0, len(before), _PAGE)):  # the last ones are most likely to run still
        page = before[start : start + _PAGE]
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
