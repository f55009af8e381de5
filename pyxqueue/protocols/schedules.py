"""The optional protocol of a store that keeps schedules, and its laws.

A store keeps the schedules of a queue, tells which are due, and replaces one in the step that enqueues its tick. What a
change makes of a schedule is decided before, in `pyxqueue.model.schedules`.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from attrs import frozen

from ..model.message import Message

if TYPE_CHECKING:
    from ..model.schedules import Schedule


@frozen
class ScheduleChange:
    """A change of one schedule, and the task of its tick."""

    id: str
    mark: str
    """The mark of the schedule as the caller has seen it; empty if there must be none."""
    new: Schedule | None
    """What replaces it, with a new mark; None deletes it."""
    message: Message | None = None
    """Enqueued into every group in the same step."""
    not_before: int = 0
    """The change is refused before this time of the store's clock: a tick."""
    unless: str = ""
    """The id of a task that must have ended."""
    otherwise: Schedule | None = None
    """What replaces the schedule, and nothing is enqueued, if the task `unless` has not ended in some group."""


class Changed(enum.Enum):
    """What `ScheduleStore.change` did."""

    DONE = "done"
    OTHERWISE = "otherwise"
    """The task `unless` has not ended, so `otherwise` was stored."""
    REFUSED = "refused"
    """Nothing: the schedule was changed since the caller has seen it, or it is too early."""


@frozen
class DueSchedules:
    """The schedules that are due."""

    now: int
    """The time of the store's clock."""
    schedules: Sequence[Schedule]
    left: int
    """The ms until the next look at the others, or -1 if there is none."""


class ScheduleStore(Protocol):
    """The schedules of one queue. They belong to the queue, not to a group.

    * **L1 Once.** A tick is enqueued once, however many programs tick: `change` replaces a schedule only if it still
      has the mark that the caller has seen, and enqueues in the same atomic step.

      - A refused change changes nothing, and enqueues nothing. A repeat of a change that was made is refused.
      - The message goes into every registered group, as with `enqueue`. If its id is known (B1), nothing is enqueued
        and the schedule is changed all the same.
      - If the store does not accept the message, the schedule is not changed.
      - If the task `unless` is ready, delayed or in flight in any group, `otherwise` replaces the schedule instead, and
        nothing is enqueued.

    * **L2 Never early.** `change` is refused before `not_before`, by the store's clock in the same step. `due` returns
      a schedule from its `next_ms` on, the one that is longest due first.

      - A schedule without a `next_ms` is never due.
    """

    next_look: float
    """The time of `time.monotonic` at which the next schedule is due, as far as this handle knows; infinite if there
    is none. `maintain` of the same handle sets it, and the caller of `due` may."""

    def due(self, limit: int) -> DueSchedules:
        """Return at most `limit` schedules that are due (L2)."""
        ...

    def get(self, ids: Sequence[str]) -> Sequence[Schedule | None]:
        """Return the schedules with these ids; None for an id that is not known or cannot be read."""
        ...

    def ids(self) -> Sequence[str]:
        """Return the ids of all schedules, in alphabetical order."""
        ...

    def change(self, change: ScheduleChange) -> Changed:
        """Change one schedule (L1, L2)."""
        ...


@runtime_checkable
class HasSchedules(Protocol):
    """A backend that keeps schedules."""

    def schedules(self) -> ScheduleStore | None:
        """Return the same object at each call; None if the store cannot keep schedules."""
        ...


def schedules_of(store: object) -> ScheduleStore | None:
    """Return the schedules of a backend; None if it does not keep any."""
    return store.schedules() if isinstance(store, HasSchedules) else None
