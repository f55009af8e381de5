"""Finds tasks that wait and are noted nowhere, so that they would wait for ever, and notes them again.

What waits is a message in one stream, and its id where it is found in time: among what is delayed, in a line, or among
what depends on others. Another program may delete one of these keys, or the server evict it.
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

log = get_logger("pyxqueue")


class Repairer:
    """Looks from time to time."""

    def __init__(self, registration: Registration) -> None:
        self._registration = registration
        self._from = "-"
        self._next = time.monotonic() + EVERY

    def look(self) -> None:
        """Look, if it is time for that."""
        if (now := time.monotonic()) < self._next:
            return
        self._next = now + EVERY
        registration = self._registration
        if noted := registration.session.run(self._note_again()):
            log.warning(
                "the store at %s had lost what it keeps about %d of the tasks that wait in the queue %s, such as when "
                "they are due: it was deleted or evicted. They go on: %s",
                *(registration.session.config.url, len(noted), registration.options.stream_key),
                ", ".join(noted[:5]) + (" …" if len(noted) > 5 else ""),
            )

    def _note_again(self) -> Steps[list[str]]:
        registration, group, noted = self._registration, self._registration.options.group, list[str]()
        for _ in range(_PAGES):
            page = yield from registration.current(
                lambda groups: commands.unnoted(groups.streams[group], self._from, _PAGE)
            )
            self._from = page.next or "-"
            if page.found:
                noted += yield from registration.current(
                    lambda groups: commands.note_again(groups.streams[group], page.found)  # noqa: B023 - runs before the next
                )
            if not page.next:
                break
        return noted
