"""Steps: what a task has done so far, and its waiting in between; an optional protocol of a backend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from ..model.message import LeaseStatus
from ..model.steps import EventStatus, Steps


@runtime_checkable
class HasSteps(Protocol):
    """A backend that keeps the steps of tasks, takes events for them, and lets them wait.

    The names and values are texts and bytes of the application: a store keeps them as they are. Each group has its own
    (B9).

    * **L14 Steps stay.** What is saved as a step of a task that is in flight can be loaded until the task ends.

      - `save_steps` is fenced (B4): a receipt that is not current returns LOST and changes nothing. It replaces the
        values of the names that it is given, and leaves the others. It tells of a request to cancel as `extend` does,
        saves all the same, and does not extend the lease.
      - Steps and events survive a retry, a deferral, a suspension, a release, the end of a lease, a failure and a
        requeue. The step in which the task ends otherwise, or is deleted, deletes them: after Done, Cancelled, a
        cancellation, an expiry, a deletion there are none, also for a task that is enqueued later under the same id.
        `forget_steps` deletes those of tasks that are kept with the failed ones, and of no others.
      - An *event* of a task is stored under its name, whether the task waits for it or not: STORED for the first of a
        name, EARLIER for each later one, which changes nothing. It is REFUSED for a task that has ended, also for one
        that has failed, and for an id that is not known. Of more than `MAX_EVENTS` names it returns FULL.
      - `Suspend` takes a task from its holder, and saves its steps in the same step. The task becomes ready or delayed
        again, and B11 says how it is charged. A refused one changes nothing, and one whose task was cancelled ends it
        (I3). From then on it does not expire (L8): it has started.
      - A suspended task waits as `Suspend` says. Until then it cannot be claimed. It is delayed if it waits until a
        time, and `Message.due_ms` has that time; otherwise it is dependent (`Depth`). `TaskInfo.suspended` is true, and
        `event` and `waits_for` say what it waits for. It holds no token (L3), it is cancelled, deleted and listed like
        a delayed task, and `adopt` raises `ConfigurationError` for it.
      - The step in which the event comes, or the last of its children ends, makes it ready: it came back (B2), and has
        no `due_ms`. If the event was there before, or no child was new, it is ready at once. Nothing but these, and its
        time, makes it ready.
      - A child counts if the suspending step has stored it, in the group of the settlement, it has an edge of the
        policy CONTINUE to the task, and it is part of `Suspend.flow`, which no other has. Whatever its end is, the edge
        fires (L11); and it has not fired any more if the child is stored again, once its id is free. It does not matter
        what flow the task itself is part of; another edge changes nothing.
      - When the task runs again, a wait is over: the end of a child, or an event, that comes later makes nothing ready.
    """

    def load_steps(self, task_id: str) -> Steps:
        """Return the steps and events of a task, and the time. It has none if the task is not known."""
        ...

    def save_steps(self, receipt: str, steps: Mapping[str, bytes]) -> LeaseStatus:
        """Save steps of the task that the holder of `receipt` runs."""
        ...

    def send_event(self, task_id: str, name: str, value: bytes) -> EventStatus:
        """Store an event for a task of this group, and make the task ready if it waits for it."""
        ...

    def forget_steps(self, task_ids: Sequence[str]) -> None:
        """Delete the steps and events of failed tasks."""
        ...
