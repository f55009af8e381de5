"""A queue as one of its workers serves it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias

from attrs import define, frozen

from ..codec import Codec
from ..errors import BrokerError
from ..model.message import Defer, Delivery, Settlement
from ..plugin import Plugins
from ..protocols import Broker
from ..registry import Registry
from ..resources import Resources
from .deciding import Decider
from .events import Observer, log
from .running import Runner
from .settling import SettlingQueue
from .tally import Tally


@frozen(eq=False)
class QueueParts:
    """What a worker needs of a queue."""

    broker: Broker
    registry: Registry
    codec: Codec
    observer: Observer | None = None
    """Called for every start and settlement."""
    name: str = ""
    """The queue's name in the log."""
    plugins: Plugins | None = None
    resources: Sequence[Resources] = ()
    """Empty, or the one `Resources` of the queue, which is closed when the process ends."""
    eager: bool = False
    """Whether a task that waits for another one lets it run meanwhile."""
    tally: Tally | None = None
    """Counts how its tasks end; None if the queue has no statistics."""


@define(eq=False)
class ServedQueue:
    """A queue with what its worker has for it alone, so that a store that is down affects no other queue."""

    broker: Broker
    registry: Registry
    decider: Decider
    settling: SettlingQueue
    runner: Runner
    name: str = ""
    number: int = 0
    """Its number in the table of what is in flight."""
    sealed: bool = False
    """Whether calls are sealed. If so, copies of calls do not run."""

    def give_back(self, deliveries: Sequence[Delivery]) -> None:
        """Give back what was claimed and has not started."""
        try:
            self.broker.settle([Settlement(delivery.receipt, Defer()) for delivery in deliveries])
        except BrokerError as error:
            text = "messages could not be given back (%d); they are claimed again when their leases end: %s"
            log.warning(text, len(deliveries), error)


Claimed: TypeAlias = Sequence[tuple[ServedQueue, Sequence[Delivery]]]
"""Deliveries by their queue, in the order in which they are to run."""


class Claims(Protocol):
    """Where a worker claims: one queue, or several in turns."""

    def claim(self, consumer: str, limit: int, wait_ms: int) -> Claimed:
        """Claim messages as `Broker.claim` does. Raises `BrokerError` if no store can be used now."""
        ...

    def interrupt(self) -> None:
        """As `Broker.interrupt`."""
        ...

    def close(self) -> None:
        """End its threads, and close its own connections."""
        ...


@frozen(eq=False)
class OneQueue:
    """Claims from the only queue of a worker."""

    queue: ServedQueue

    def claim(self, consumer: str, limit: int, wait_ms: int) -> Claimed:
        return [(self.queue, self.queue.broker.claim(consumer, limit, wait_ms))]

    def interrupt(self) -> None:
        self.queue.broker.interrupt()

    def close(self) -> None:
        """It has no threads and no connections of its own."""
