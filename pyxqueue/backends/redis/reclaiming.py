"""Making messages ready again whose holder is gone: released, silent for a lease, or removed by another program."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence

from ...batching import MAX_ITEMS, batches
from ...errors import BrokerUnavailableError
from ...model.message import Message, Unreadable
from ...model.past import line_of_silent
from ...model.presence import WorkerFacts, facts_about
from ...protocols import NO_LINES
from ...takeovers import log_takeovers
from . import commands
from .commands import Orphan
from .keys import live_of
from .presence import present
from .reading import LAST_ENTRY, entry_fence, message_in, pairs
from .registration import Registration

_FORGET_CONSUMER_AFTER = 3_600_000
"""Ms after which a consumer that holds nothing and says nothing is forgotten."""
_READ_CLOCK_AFTER = 60.0
"""Seconds after which the server's clock is read again, although nothing needs to be reclaimed."""
_LONGEST_PERIOD = 5_000
"""The most ms between two scans; with a short lease it is a quarter of the lease."""


class ServerClock:
    """The server's clock in ms, reckoned from when it was read last, so that no claim has to ask for it. It is behind
    by the time that the reply took then. 0 before the first reading."""

    def __init__(self) -> None:
        self._ahead = 0.0
        """How many ms it is ahead of `time.monotonic`."""
        self._read = float("-inf")

    def __call__(self) -> int:
        return int(time.monotonic() * 1000 + self._ahead) if self._ahead else 0

    def note(self, server_ms: int) -> None:
        """Note what the server has just replied."""
        self._read = time.monotonic()
        self._ahead = server_ms - self._read * 1000

    @property
    def is_old(self) -> bool:
        """Whether it may have drifted since it was read."""
        return time.monotonic() - self._read > _READ_CLOCK_AFTER


class HealthClock:
    """How long we have been in touch with the server without a break: the condition for reclaiming messages.

    After an outage every live worker looks dead, because no lease could be extended. So no message is reclaimed before
    this side has been in contact for one full lease: by then every live worker has extended its leases.
    """

    def __init__(self) -> None:
        self._since = float("-inf")
        self.last = float("-inf")
        """When the server answered last, as `time.monotonic` counts."""
        self._offset: float | None = None
        self.lost()

    def lost(self) -> None:
        """The server did not answer, or the last contact was too long ago."""
        self._since = self.last = time.monotonic()
        self._offset = None

    def seen(self, lease: int, server_ms: int | None = None) -> None:
        """The server answered. `server_ms` is its clock: a jump of half a lease counts as a break."""
        now = time.monotonic()
        if (now - self.last) * 1000 > lease / 2:
            self.lost()
        self.last = now
        if server_ms is not None:
            offset = server_ms - now * 1000
            if self._offset is not None and abs(offset - self._offset) > lease / 2:
                self.lost()
            self._offset = offset

    @property
    def knows_clock(self) -> bool:
        """Whether the server's clock was read since the last break, so that a jump of it would be noticed."""
        return self._offset is not None

    def unbroken_ms(self) -> float:
        """Milliseconds of unbroken contact."""
        return (self.last - self._since) * 1000


class Reclaimer:
    """Makes messages ready again whose holder is gone.

    `after_ms`: the ms of unbroken contact with the server before it reclaims; None is one lease.
    """

    def __init__(self, registration: Registration, after_ms: int | None) -> None:
        self._registration = registration
        self._session = registration.session
        self._options = registration.options
        self._after_ms = after_ms
        self._next_scan = 0.0
        self._tidied = float("-inf")
        self.period_ms = 0.0
        """The ms between two scans, by the lease of the last one."""
        self.health = HealthClock()
        self.clock = ServerClock()

    def reclaim(self) -> None:
        """Reclaim messages whose lease has ended, if we have been in touch with the server for long enough."""
        now = time.monotonic()
        if now < self._next_scan:
            return
        try:
            lease = self._registration.read_lease()
            handed_out = self._last_handed_out()
            reads = handed_out or not self.health.knows_clock or self.clock.is_old
            server_ms = self._server_ms() if reads else None
        except BrokerUnavailableError:
            self.health.lost()
            raise
        if server_ms is not None:
            self.clock.note(server_ms)
        self.health.seen(lease, server_ms)
        self.period_ms = min(lease / 4, _LONGEST_PERIOD)
        if self._after_ms != 0:
            self._next_scan = now + 0.9 * self.period_ms / 1000  # due for a caller that has slept for one period
        if self.health.unbroken_ms() < (lease if self._after_ms is None else self._after_ms):
            return
        for place, last in handed_out.items():
            if self._scan(place, lease, last) == MAX_ITEMS:
                self._next_scan = now  # there may be more
        if now - self._tidied >= _FORGET_CONSUMER_AFTER / 60_000:
            self._tidied = now
            self._forget_consumers()

    def _last_handed_out(self) -> dict[str, str]:
        """The last entry that was handed out, of each live stream in which some of those that were are left or in
        flight."""
        found, registration = dict[str, str](), self._registration
        paused, repaired = registration.paused_at, False
        for place in live_of(registration.keys.classes):
            stream, (last, in_flight) = registration.keys.places[place], registration.handed_out(place)
            if paused is not None and last == LAST_ENTRY:
                last = paused.get(place, last)
            elif paused is not None and not repaired:  # another program has moved it, or the pause has just ended
                registration.do(lambda keys: commands.pause(keys, repair=True))
                repaired = True
            if in_flight or (last != "0-0" and self._session.execute("XRANGE", stream, "-", last, "COUNT", 1)):
                found[place] = last
        return found

    def _server_ms(self) -> int:
        seconds, micros = self._session.execute_near(self._registration.keys.meta, "TIME")
        return int(seconds) * 1000 + int(micros) // 1000

    def _scan(self, place: str, lease: int, last: str) -> int:
        """Make ready what is held no more. Returns `MAX_ITEMS` if there may be more of it."""
        registration, group = self._registration, self._options.group
        stream = registration.keys.places[place]
        rows = self._session.execute("XPENDING", stream, group, "IDLE", lease, "-", "+", MAX_ITEMS)
        if rows:
            self._restore(place, [(row[0].decode(), row[1], "expired") for row in rows], lease)
        if stranded := self._stranded(stream, last):
            registration.do(lambda keys: commands.rewind(keys, place))
            self._restore(place, [(entry.decode(), "", "expired") for entry in stranded], lease)
        return max(len(rows), len(stranded))

    def release(self, consumer: str, started: Sequence[str], past: Mapping[str, str]) -> int:
        """Make ready what a consumer holds, and forget the consumer. `started`: the receipts of what it was running;
        `past`: lines to keep of runs, by receipt."""
        registration = self._registration
        registration.repaired(lambda: registration.read_classes(always=True))  # it may have claimed of a new one
        running = {receipt.split("|", 1)[0] for receipt in started}
        lines = {receipt.split("|", 1)[0]: line for receipt, line in past.items()}
        places = live_of(registration.keys.classes)
        returned = sum(self._release(place, consumer, running, lines) for place in places)
        registration.do(lambda keys: commands.retire(keys, self._options.group, [consumer]))
        return returned

    def _release(self, place: str, consumer: str, running: set[str], lines: Mapping[str, str]) -> int:
        registration, returned = self._registration, 0

        def held() -> list[list[bytes]]:
            stream, group = registration.keys.places[place], self._options.group
            found: list[list[bytes]] = self._session.execute("XPENDING", stream, group, "-", "+", MAX_ITEMS, consumer)
            return found

        while True:
            rows = registration.repaired(held)
            entries = [row[0].decode() for row in rows]
            if not entries:
                return returned
            charged = [(entry, consumer, "started" if place + entry in running else "none") for entry in entries]
            returned += self._restore(place, charged, 0, lines)

    def put_back(self, consumer: str, positions: Sequence[str]) -> None:
        """Make ready what a consumer has just claimed and will not run."""
        for place in live_of(self._registration.keys.classes):
            found = [(position[1:], consumer, "none") for position in positions if position[0] == place]
            for batch in batches(found):
                self._restore(place, batch, 0)

    def _restore(
        self,
        place: str,
        found: Sequence[tuple[str, str | bytes, str]],
        min_idle: int,
        lines: Mapping[str, str] = NO_LINES,
    ) -> int:
        """Make entries ready again; each comes with its consumer and its charge. `lines`: those to keep of their runs,
        by place and entry; of a lease that has ended it is made here."""
        options = self._options
        silent = {_text(consumer) for _, consumer, charge in found if charge == "expired" and consumer}
        facts = facts_about(silent, present(self._registration)) if silent else {}
        orphans = self._orphans(place, found, lines, facts)
        restored = self._registration.do(
            lambda keys: commands.restore(keys, options.group, options.history, min_idle, orphans)
        )
        if silent and restored:  # else another program was faster
            gone = [(_text(one.consumer), one.task_id) for one in orphans if one.charge == "expired" and one.consumer]
            log_takeovers((name, facts[name].host if name in facts else "", task_id) for name, task_id in gone)
        return restored

    def _orphans(
        self,
        place: str,
        found: Sequence[tuple[str, str | bytes, str]],
        lines: Mapping[str, str],
        facts: Mapping[str, WorkerFacts],
    ) -> list[Orphan]:
        messages = self._messages_of(place, (entry for entry, _, _ in found))
        return [
            Orphan(
                place,
                entry,
                message.id,
                "1" if isinstance(message, Unreadable) else "",
                consumer,
                charge,
                self._line(message, _text(consumer), facts) if charge == "expired" else lines.get(place + entry, ""),
            )
            if (message := messages.get(entry)) is not None
            else Orphan(place, entry, entry, "", consumer, charge)
            for entry, consumer, charge in found
        ]

    def _line(self, message: Message | Unreadable, consumer: str, facts: Mapping[str, WorkerFacts]) -> str:
        """The line to keep of a run that was not heard of any more (B14)."""
        said, now = facts.get(consumer), self.clock() or round(time.time() * 1000)
        runs = said.runs if said is not None else ()
        since = next((run.since_ms for run in runs if run.id == message.id), now)
        return line_of_silent(message.attempt, now - since, now, consumer, said.host if said is not None else "")

    def _messages_of(self, place: str, entries: Iterable[str]) -> dict[str, Message | Unreadable]:
        """The messages in entries of a live stream; an entry that is gone is left out."""
        stream = self._registration.keys.places[place]
        found = {}
        for entry in entries:
            for raw, flat in self._session.execute("XRANGE", stream, entry, entry):
                found[entry] = message_in(raw, flat)
        return found

    def _stranded(self, stream: str, last: str) -> list[bytes]:
        """Entries up to `last` that count as handed out and have no holder, because another program called `XACK`,
        `XGROUP DELCONSUMER` or `XGROUP SETID`: Redis would never hand them out. Both ends of what was handed out are
        searched."""
        session, group = self._session, self._options.group
        for way in (("XRANGE", stream, "-", last), ("XREVRANGE", stream, last, "-")):
            end = session.execute(*way, "COUNT", 1)
            if not end or session.execute("XPENDING", stream, group, end[0][0], end[0][0], 1):
                continue
            found = [entry for entry, _ in session.execute(*way, "COUNT", MAX_ITEMS)]
            found.sort(key=lambda entry: entry_fence(entry.decode()))
            first, final = (found[0], found[-1]) if found else ("-", "-")
            held = {row[0] for row in session.execute("XPENDING", stream, group, first, final, MAX_ITEMS)}
            return [entry for entry in found if entry not in held]
        return []

    def _forget_consumers(self) -> None:
        group = self._options.group
        known = map(pairs, self._session.execute("XINFO", "CONSUMERS", self._registration.keys.new, group))
        silent = [
            one[b"name"] for one in known if int(one[b"idle"]) > _FORGET_CONSUMER_AFTER and not int(one[b"pending"])
        ]
        if silent:
            self._registration.do(lambda keys: commands.retire(keys, group, silent[:MAX_ITEMS]))


def _text(consumer: str | bytes) -> str:
    return consumer.decode(errors="replace") if isinstance(consumer, bytes) else consumer
