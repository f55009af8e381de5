"""Failed tasks beyond the limits (I9)."""

from __future__ import annotations

from ...model.failed import Dropped, FailedLimits
from . import commands
from .reading import entry_fence
from .registration import Registration
from .steps import Steps


def drop_failed(registration: Registration, limits: FailedLimits, count: int) -> Steps[list[Dropped]]:
    """As `DropsFailed` has it: one step finds the entries, another deletes the tasks that are still there in them."""
    group = registration.options.group
    found = yield from registration.current(lambda groups: commands.beyond(groups.streams[group], limits, count))
    dropped = yield from registration.each([(message.id, entry) for entry, _, message in found], commands.drop_failed)
    return [
        Dropped(message.id, getattr(message, "name", ""), entry_fence(entry) >> 64, is_old)
        for (entry, is_old, message), is_dropped in zip(found, dropped, strict=True)
        if is_dropped
    ]
