"""The optional protocols of a broker whose groups can be paused, and of limits that can be paused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from .limits import limits_of


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
      - A limit, or one key of it, can be paused by itself (`LimitPausing`): no gate of it has room meanwhile, and
        `begin` returns LATER for a task with a rate of it. So what asks there waits, in the order of arrival (L5);
        tasks with other gates go on. What was set, declared, used or spent stays as it is, and counts again afterwards.
      - So can the name of a task, by its gate (`task_gate` in `pyxqueue.model.limits`). Each delivery of the group has
        `must_begin` meanwhile, and `begin` returns LATER for a task of that name, unless it has expired: it waits
        without a token, in the line of that gate. What has begun goes on. After `resume`, those that waited become
        ready in the order in which they could not begin. A handle that claims may learn of the pause 5 s late.
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


@runtime_checkable
class LimitPausing(Protocol):
    """Limits (`LimitStore`) and task names that can be paused (L9), on a broker that is `Beginning`. A name is that of
    a limit, or ``NAME/KEY`` for one key of it, and stands for the concurrency and for the rate of that name; or it is
    the gate of a task name."""

    def pause(self, name: str) -> bool:
        """Pause a limit, one of its keys, or a task name. Returns False if this name was paused already."""
        ...

    def resume(self, name: str) -> bool:
        """End the pause of this name; the tasks for which there is room become ready at once (L4). Returns False if it
        was not paused. A key of a limit that is paused as a whole stays paused."""
        ...

    def paused(self) -> Sequence[str]:
        """Return the names that are paused, in alphabetical order."""
        ...


def limit_pausing_of(store: object) -> LimitPausing | None:
    """Return the limits of a backend if they can be paused; else None."""
    limits = limits_of(store)
    return limits if isinstance(limits, LimitPausing) else None
