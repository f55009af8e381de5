"""The optional protocol of a broker whose groups can be paused."""

from __future__ import annotations

from typing import Protocol, runtime_checkable


@runtime_checkable
class Pausing(Protocol):
    """A broker that can stop handing out the messages of its group for a while.

    * **L9 Paused.** While a group is paused, no claim on any handle returns a message of it.

      - The pause is stored with the group: it survives the end of every process, and ends with `resume` or with the
        removal of the group, so that a group of the same name that is registered later is not paused.
      - A claim that waits does not return because of what it may not hand out. It waits as for an empty group, and
        costs no more. `resume` wakes it.
      - Everything else goes on: what is in flight is extended and settled, messages are enqueued, delayed ones become
        ready when they are due, retries, releases and ended leases make messages ready, waiting tasks expire. All of
        them wait.
      - After `resume`, messages are handed out in the order in which they would have been without the pause (B2).
      - A claim whose reply was on its way at that moment may still deliver. Other groups go on (B9).
    """

    def pause(self) -> bool:
        """Pause the group. Returns False if it was paused already."""
        ...

    def resume(self) -> bool:
        """End the pause. Returns False if the group was not paused."""
        ...

    def is_paused(self) -> bool:
        """Return whether the group is paused. A group that is not registered is not."""
        ...
