"""What a supervisor does for one of its queues: it opens the store, does the duties, releases what was lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from attrs import define, field, frozen

from ..errors import BrokerError, BrokerUnavailableError
from ..inflight import InFlight, InFlightTable
from ..model.failed import FailedLimits
from ..model.message import Record
from ..model.past import LOST, STOPPED
from ..model.presence import Order
from ..protocols import Broker, HasPresence, HasRisks, HasSharedClaims
from ..worker.events import Event, log
from ..worker.reporting import Reporter
from ..worker.tally import Tally
from .children import Child
from .duties import Duty, DutyLoop, Loss, PresenceDuty, QuietLook, Releaser, StatisticsDuty, all_duties, line_of
from .presence import Presence

if TYPE_CHECKING:
    from .duties.failed import FailedDuty

_NO_STORE = 0.1
"""Seconds until the next attempt while the duties are not done because the store cannot be reached."""
_REST = 1.0
"""With several queues, how many times as long as a request that failed took the next attempt waits: while one store
does not reply at all, the others have half of the time at least."""


@frozen(eq=False)
class QueueAccess:
    """What a supervisor needs of a queue."""

    connect: Callable[[], Broker]
    """Opens the store; called after the first processes were started."""
    seal: Callable[[Record], Record] = lambda record: record
    """Signs the record of a task that was killed, where the queue has a seal."""
    name: str = ""
    duties: Callable[[Broker, Callable[[Event], None]], Sequence[Duty]] = lambda _broker, _tell: ()
    """Makes the duties for the schedules and the limits in the code, from the broker and a function that passes events
    to the observer."""
    is_observed: bool = False
    """Whether it has an observer."""
    label: str = ""
    """The name of the queue in events."""
    tasks: Mapping[str, str] = field(factory=dict)
    """For each of its tasks, its `Signature.text`."""
    serializers: Sequence[str] = ()
    """Those that its workers read."""
    tally: Callable[[Broker], Tally | None] = lambda _broker: None
    """Makes the tally that counts tasks that expire or crash; None if the queue has no statistics."""
    failed: FailedLimits | None = None
    """Which failed tasks are deleted; None if all are kept."""


@define(eq=False)
class QueueCare:
    """Takes care of one queue. If its store is down, the other queues are not affected."""

    access: QueueAccess
    kill: Callable[[InFlightTable, InFlight], None]
    """Kills the process of a running task."""
    number: int = 0
    """The number of the queue in the tables."""
    several: bool = False
    """Whether there are other queues."""
    tell: Callable[[Event], None] = lambda _: None
    """Has a worker pass an event to the observer of the queue."""
    presence: Presence | None = None
    """Makes the announcements of the supervisor; None if it makes none."""
    obey: Callable[[Order], None] = lambda _: None
    """Called once with each order to the supervisor."""
    quiet: Callable[[float, float], float] | None = field(default=None, init=False)
    """Returns for how long there is no maintenance to do, if the queue shares that question with others."""
    peers: Sequence[QueueCare] = field(default=(), init=False)
    """The other queues of the same store: if it cannot be reached for one, it cannot be for the others."""
    duties: DutyLoop | None = field(default=None, init=False)
    """None until the store has been reached for the first time."""
    broker: Broker | None = field(default=None, init=False)
    _releaser: Releaser | None = field(default=None, init=False)
    _announcer: PresenceDuty | None = field(default=None, init=False)
    _tally: Tally | None = field(default=None, init=False)
    _failed: FailedDuty | None = field(default=None, init=False)
    _unreachable: bool = field(default=False, init=False)
    _next_try: float = field(default=0.0, init=False)

    def open(self) -> None:
        self.broker = self.access.connect()
        self._tally = tally = self.access.tally(self.broker)
        Reporter(self.access.label, self._tell, tally, self._of()).watch(self.broker)
        self._releaser = Releaser(self.broker, self.access.seal, tally)

    def step(self, tables: Sequence[InFlightTable], *, stopping: bool) -> float:
        """Do what is due, and return the seconds until this is to be called again.

        Raises `BrokerError` if the store refuses at the start: waiting would not help.
        """
        duties = self.duties = self.duties or self._make_duties()
        if duties is None or (stopping and self._is_silent()):
            # While stopping, no request may wait until it times out: that would use up the grace period.
            return _NO_STORE
        failing = duties.failing
        pause = duties.step(tables)
        if duties.failing or failing:
            for peer in self.peers:
                peer.put_off(duties.next_try if duties.failing else 0.0)
        return pause

    def put_off(self, until: float) -> None:
        """Do nothing before a time of `time.monotonic`; 0: try now."""
        self._next_try = until
        if self.duties is not None:
            self.duties.put_off(until)

    def silent(self) -> bool:
        """Return whether the store could not be reached the last time."""
        return self._unreachable if self.duties is None else self.duties.failing

    def _is_silent(self) -> bool:
        return self.silent() or any(peer.silent() for peer in self.peers)

    def _make_duties(self) -> DutyLoop | None:
        assert self.broker is not None
        assert self._releaser is not None
        if (begun := time.monotonic()) < self._next_try:
            return None
        try:
            lease = self.broker.lease_ms()
            made = all_duties(self.broker, lease, self._releaser, self.kill, queue=self.number, quiet=self.quiet)
        except BrokerUnavailableError as error:
            if not self._unreachable:
                log.warning("waiting for the store%s: %s", self._of(), error)
            self._unreachable = True
            if self.several:
                now = time.monotonic()
                for care in (self, *self.peers):
                    care.put_off(now + _REST * (now - begun))
            return None
        made += self.access.duties(self.broker, self._tell)
        if self.access.failed is not None:
            from .duties.failed import failed_duty  # noqa: PLC0415 - few queues have such limits

            count: Callable[[str], None] = (lambda _: None) if self._tally is None else self._tally.dropped
            self._failed = failed_duty(self.broker, self.access.failed, count, self._of())
            made.append(self._failed)
        if self.presence is not None and isinstance(self.broker, HasPresence):
            text = partial(self.presence.text, self.number, self.access.tasks, self.access.serializers)
            self._announcer = PresenceDuty(self.broker, self.presence.name, text, self.obey)
            made.append(self._announcer)
        if self._tally is not None:
            made.append(StatisticsDuty(self._tally))
        self._warn(self.broker)
        return DutyLoop(made, of=self._of(), rest=_REST if self.several else 0.0)

    def _warn(self, broker: Broker) -> None:
        """Log what puts tasks in danger, if the store knows of it."""
        if isinstance(broker, HasRisks):
            with suppress(BrokerError):
                for risk in broker.risks():
                    log.warning("the store%s puts tasks in danger: %s; %s", self._of(), risk.text, risk.remedy)

    def announce_again(self) -> None:
        """Announce the supervisor in the next step: something has changed."""
        if self._announcer is not None:
            self._announcer.again()

    def _tell(self, event: Event) -> None:
        if self.access.is_observed:
            self.tell(event)

    def _of(self) -> str:
        return f" of the queue {self.access.name}" if self.several else ""

    def watched(self) -> list[int]:
        """The file descriptors that the supervisor is to watch until the next step."""
        return [] if self.duties is None else self.duties.watched()

    def wake(self, readable: Collection[int]) -> None:
        if self.duties is not None:
            self.duties.wake(readable)

    def lost(self, child: Child, how: str, *, charged: bool) -> None:
        """Note that a process was lost, to release what it had of this queue. `how`: how it ended, or why it was
        killed; `charged`: whether what it was running may be the cause."""
        if self._releaser is None:
            return
        overdue = child.overdue if child.overdue is not None and child.overdue.queue == self.number else None
        had = [entry for entry in child.table.entries() if entry.queue == self.number]
        running = [entry for entry in had if entry.running]
        ended = {entry.slot for entry in (child.overdue, *child.cancelled) if entry is not None}
        kind = LOST if charged else STOPPED
        past = {one.receipt: line_of(one, child.consumer, kind, how) for one in running if one.slot not in ended}
        stacks = "" if overdue is None else child.table.stacks.read()
        self._releaser.add(Loss(child.consumer, running if charged else [], overdue, bool(had), past, stacks))

    def end(self) -> None:
        """Release what is left, unless the store cannot be reached, and close it."""
        if self._releaser is not None and not self._is_silent():
            with suppress(BrokerError):  # it is logged; the leases end by themselves
                self._releaser.step()
            if self._announcer is not None:
                with suppress(BrokerError):  # it is forgotten by itself
                    self._announcer.leave()
            if self._tally is not None:
                self._tally.send()
        if self._failed is not None:
            self._failed.tell()
        self.close()

    def close(self) -> None:
        if self.broker is not None:
            self.broker.close()


def share_looks(cares: Sequence[QueueCare]) -> None:
    """Let the queues that share a store be looked at with one request, so that an idle one costs next to nothing; and
    let them be tried together when it cannot be reached, so that each does not wait until its request times out."""
    by_key: dict[Hashable, list[QueueCare]] = {}
    for care in cares:
        if isinstance(care.broker, HasSharedClaims) and (key := care.broker.claim_key()) is not None:
            by_key.setdefault((type(care.broker), key), []).append(care)
    for together in by_key.values():
        first = together[0].broker
        if len(together) > 1 and isinstance(first, HasSharedClaims):
            shared = first.shared_claims([care.broker for care in together])
            look = QuietLook(shared.quiet_ms)
            for number, care in enumerate(together):
                care.quiet = partial(look.left, number)
                care.peers = [other for other in together if other is not care]
