"""Limits: how many tasks with the same gate are ready or in flight at the same time.

`pyxqueue.model.limits` says what a limit, a gate and a token are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from ..model.limits import GateInfo, LimitInfo


class LimitStore(Protocol):
    """The limits of one group of a backend in which messages wait while their limits have no room.

    Each group has limits, tokens and lines of its own (B9). A blocked task is waiting: it is PENDING or RETRY, it is
    cancelled and deleted like a delayed one, and `Depth.blocked` counts it.

    * **L3 A token is a place.** A message with gates is ready or in flight if and only if it has a token of each of
      them; it gets all of them in one step, or none. (One that is doomed needs none, as it does not run: L10.)

      - The tokens that are out are never more than the number of the limit, except that those of a number that was
        lowered stay out until their tasks leave; until then no other is given out.
      - A message that leaves the ready ones and those in flight gives its tokens back in the same step: at its end,
        with a retry or a deferral, when it is released or reclaimed, when it is cancelled or deleted.
      - What becomes ready again (Retry, Defer, a release, reclaiming, a delay that ends, a requeue, an adoption) asks
        for its tokens again.
      - A gate whose limit has no number has room for any number; its tokens are counted all the same.

    * **L4 No room is left idle.** A task that waits while all its gates have room becomes ready with the next
      `maintain`, or before. A task that waits at one gate delays none of other gates.
    * **L5 In order of arrival.** A task that asks at a gate where others wait, waits too. Of those that wait at the
      same gates, the one that came first becomes ready first; what was in flight and has to wait again comes last.

      - A task that was blocked came back (B2): claims take turns between such tasks and new ones.

    * **L12 Refused changes nothing.** A settlement that is refused (B4) gives no token back, and moves no line.
    * **L13 Drained.** When all tasks have ended, no token is out, no line is left, and the size of what is stored for
      limits depends on the number of limits only (B13).
    """

    def declare(self, numbers: Mapping[str, int], *, replace: bool) -> None:
        """Store the numbers that the code declares, by the name of the limit; one that `set` has set counts more.

        `replace`: also where another number is declared already, as when workers start.
        """
        ...

    def set(self, name: str, number: int | None) -> None:
        """Set the number of a limit, or of one of its gates (``NAME/KEY``), at once (L4). It counts more than a
        declared one, until it is None again. 0 lets nothing with that gate start."""
        ...

    def numbers(self) -> Sequence[LimitInfo]:
        """Return the limits that have a number, in alphabetical order."""
        ...

    def gates(self, count: int) -> Sequence[GateInfo]:
        """Return the gates of which tokens are out, or at which tasks wait: at most `count` of them, in alphabetical
        order."""
        ...


@runtime_checkable
class HasLimits(Protocol):
    """A backend that has limits."""

    def limits(self) -> LimitStore | None:
        """Return the same object at each call; None if the store cannot keep limits."""
        ...


def limits_of(store: object) -> LimitStore | None:
    """Return the limits of a backend; None if it does not have any."""
    return store.limits() if isinstance(store, HasLimits) else None
