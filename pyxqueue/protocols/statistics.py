"""Statistics: counts of what became of the runs of a group, by task and minute; an optional protocol of a backend.

`pyxqueue.model.statistics` says what is counted, and has the rules by which it is kept in a bounded number of slots.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:  # a program that only enqueues does not need it
    from ..model.statistics import Statistics, StatisticsBatch


@runtime_checkable
class HasStatistics(Protocol):
    """A backend that adds up what workers have counted. Each group has its own sums (B9).

    * **M1 Counted once.** What an accepted batch says is added to the sums of its task names, in one step.

      - A batch is accepted, and `add_statistics` returns True, if its number is larger than those of all accepted
        batches of its sender; else it is refused, and changes nothing. So a batch can be sent again when the reply was
        lost. The store knows the last numbers of at least the `MAX_SENDERS` senders whose numbers are the largest.
      - It is counted in the minute of the store's clock in which it arrives.
      - `statistics` returns a slice for each of the last minutes, if it is asked for at most `MINUTES` (8 hours);
        else one for each span of ten minutes, of the last 72 hours. The last one is under way. A slice has the sums of
        the batches that arrived in it. What is older than that is in no slice.
      - The totals are the sums of all accepted batches; they never become smaller.
      - Batches of several senders at the same time are all counted.
      - In a group that is not registered nothing is counted, and every batch is refused. `remove_group` removes the
        statistics.

    * **M2 Bounded.** The size of the statistics of a group does not depend on how many batches or names there were.

      - A slice, and the totals, have at most `MAX_NAMES` names, and "other". What comes with further names, or with
        names longer than `MAX_NAME` characters, is counted under "other".
      - A number that would become larger than `MAX_NUMBER` stays there.
      - Any other name comes back as it is.
    """

    def add_statistics(self, batch: StatisticsBatch) -> bool:
        """Add a batch (M1). Returns whether it was accepted."""
        ...

    def statistics(self, minutes: int) -> Statistics:
        """Return the totals, and the slices of the last minutes (1 or more)."""
        ...
