"""Finds tasks that would wait for ever, because of what another program has deleted or the server has evicted.

What waits is a message in one stream, and its id where it is found in time: among what is delayed, in a line, or among
what depends on others. One that is noted nowhere is noted again. A gate, at which a line waits, has no room for ever if
messages were deleted that had its tokens, or if it is not noted when it has: it is looked at.
"""

from __future__ import annotations

import time

from ...log import get_logger
from . import commands
from .registration import Registration
from .steps import Steps

EVERY = 60.0
"""Seconds between two looks. One costs a call of a script, unless something is missing."""
_PAGE = 16
"""Messages that one call looks at: they may be long."""
_PAGES = 256
_PAGES_OF_GATES = 16

log = get_logger("pyxqueue")


class Repairer:
    """Looks from time to time."""

    def __init__(self, registration: Registration) -> None:
        self._registration = registration
        self._from = "-"
        self._gate = b""
        self._next = time.monotonic() + EVERY

    def look(self) -> None:
        """Look, if it is time for that."""
        if (now := time.monotonic()) < self._next:
            return
        self._next = now + EVERY
        registration = self._registration
        noted, has_lines = registration.session.run(self._note_again())
        if has_lines and (wrong := registration.session.run(self._recount())):
            log.warning(
                "the store at %s had a wrong count of the tokens of gates of the queue %s: messages, or counts, were "
                "deleted or evicted. They are counted again; number of gates: %d",
                *(registration.session.config.url, registration.options.stream_key, wrong),
            )
        if noted:
            log.warning(
                "the store at %s had lost what it keeps about %d of the tasks that wait in the queue %s, such as when "
                "they are due: it was deleted or evicted. They go on: %s",
                *(registration.session.config.url, len(noted), registration.options.stream_key),
                ", ".join(noted[:5]) + (" …" if len(noted) > 5 else ""),
            )

    def _note_again(self) -> Steps[tuple[list[str], bool]]:
        """Returns the ids of those that were noted again, and whether some wait in lines."""
        registration, group, noted = self._registration, self._registration.options.group, list[str]()
        has_lines = False
        for _ in range(_PAGES):
            page = yield from registration.current(
                lambda groups: commands.unnoted(groups.streams[group], self._from, _PAGE)
            )
            self._from = page.next or "-"
            has_lines = page.has_lines
            if page.found:
                noted += yield from registration.current(
                    lambda groups: commands.note_again(groups.streams[group], page.found)  # noqa: B023 - runs before the next
                )
            if not page.next:
                break
        return noted, has_lines

    def _recount(self) -> Steps[int]:
        """Look at the gates at which tasks wait. Returns of how many the tokens were counted wrong."""
        registration, group, wrong = self._registration, self._registration.options.group, 0
        for _ in range(_PAGES_OF_GATES):
            self._gate, found = yield from registration.current(
                lambda groups: commands.recount(groups.streams[group], self._gate)
            )
            wrong += found
            if not self._gate:
                break
        return wrong
