"""An optional protocol: claiming from several queues with one request, and waiting on all of them at once."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, Protocol, runtime_checkable

from ..model.message import Delivery


class SharedClaims(Protocol):
    """Claims from several brokers of one store, so that an idle queue costs no request of its own.

    * **Q1 As from each.** What it hands out of a queue is what `claim` of its broker may hand out, with the same
      receipts; for all else, the broker is used.
    * **Q2 In order.** It returns at most `limit` deliveries, those of the first queue of the order first. What it read
      beyond that is ready as before: in its place, uncharged, and at most once in flight.
    * **Q3 One wait.** With a wait, it returns as soon as one of the queues has a message.
    * **Q4 Quiet.** `quiet_ms` is never larger than the time until `maintain` has a message to make ready or a schedule
      is due, as far as what is stored now decides it; it is 0 while a message is ready or in flight.
    """

    def claim(self, consumer: str, limit: int, wait_ms: int, order: Sequence[int]) -> Sequence[Sequence[Delivery]]:
        """Claim from the brokers with these numbers. Returns the deliveries of each, in this order.

        If the reply is lost, its messages come back when their leases end. Reclaiming (B3) is left to `maintain`.
        """
        ...

    def quiet_ms(self) -> Sequence[int]:
        """Return for each broker the ms until `maintain` may have something to do; -1: nothing is due at any time."""
        ...

    def interrupt(self) -> None:
        """As `Broker.interrupt`. Any thread may call it."""
        ...

    def close(self) -> None:
        """Close its connections, and not those of the brokers."""
        ...


@runtime_checkable
class HasSharedClaims(Protocol):
    """A broker of a store that can wait on several queues at once."""

    def claim_key(self) -> Hashable:
        """Return what is equal for the brokers that can be claimed from together; None: for no other."""
        ...

    def shared_claims(self, brokers: Sequence[Any]) -> SharedClaims:
        """Return an object that claims from these brokers, this one among them, all with the same `claim_key`."""
        ...
