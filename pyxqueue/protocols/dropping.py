"""The optional protocol of a backend that limits what is kept of failed tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:  # few queues have such limits
    from ..model.failed import Dropped, FailedLimits


@runtime_checkable
class DropsFailed(Protocol):
    """An inspector that deletes failed tasks beyond a limit.

    * **I9 Drop.** `drop_failed` deletes those failed tasks that the limits do not keep, the oldest first, at most
      `count`.

      - The age is the time since the task failed, by the store's clock. A task that was requeued and fails again is as
        new as any other that fails then.
      - A task that is requeued meanwhile is not deleted. Each that was deleted is returned once, however many calls
        there are at the same time.
      - Each is deleted as `delete` does it (I5). Without limits nothing is deleted.
      - A call that deletes nothing costs no more than `depth`.
    """

    def drop_failed(self, limits: FailedLimits, count: int) -> Sequence[Dropped]:
        """Delete failed tasks beyond the limits, and return them, the oldest first.

        If it raises because the reply was lost, it may have deleted some.
        """
        ...
