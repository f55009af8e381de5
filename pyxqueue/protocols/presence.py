"""Presence: supervisors announce themselves, and get orders in reply; an optional protocol of a backend.

`pyxqueue.model.presence` says what an announcement contains. To the store it is a text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:  # a program that only enqueues does not need it
    from ..model.presence import Order, OrderKind, Present


@runtime_checkable
class HasPresence(Protocol):
    """A backend that knows which supervisors there are. Each group has its own (B9).

    * **P1 Present while it says so.** `present` returns what each supervisor has announced last, byte for byte, with
      the time of that by the store's clock.

      - It is fresh for `keep_ms` after it was announced. After that it is not, and is kept as the last that is known,
        for a day at most.
      - `leave` removes it, and so does `remove_group`. In a group that is not registered nothing is announced, and
        there are no orders.
      - However many supervisors there were, a group keeps at most `MAX_SUPERVISORS` of them: those that were heard of
        last.

    * **P2 Orders arrive.** `give_order` gives an order to a supervisor that is fresh, and returns True; otherwise it
      changes nothing, and returns False.

      - Every later announcement of the supervisor returns the last order that it was given, until it leaves; so an
        order arrives although a reply was lost. Other supervisors do not get it.
      - The numbers of the orders of a supervisor become larger by one, from 1 on, also if they are given at the same
        time.
      - An order is gone when its supervisor is, or when that is not kept any more.
    """

    def announce(self, supervisor: str, keep_ms: int, text: str) -> Order | None:
        """Note what a supervisor says (P1). Returns the last order that it was given (P2)."""
        ...

    def leave(self, supervisor: str) -> None:
        """Forget a supervisor that ends, and its order."""
        ...

    def present(self) -> Sequence[Present]:
        """Return the supervisors that are known, in the order of their names."""
        ...

    def give_order(self, supervisor: str, kind: OrderKind) -> bool:
        """Give a supervisor an order (P2). A store that can wake supervisors (`HasWakeups`) does so."""
        ...
