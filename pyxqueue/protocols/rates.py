"""Rates: how many tasks start in a period, by the clock of the store.

`pyxqueue.model.rates` has the rule, `pyxqueue.protocols.limits` the laws of gates and lines, which hold for the gates
of a rate too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from ..model.rates import Pace, RateInfo
from .limits import LimitStore, limits_of


@runtime_checkable
class RateStore(LimitStore, Protocol):
    """The limits of a backend that keeps rates as well. Such a backend has `Beginning`.

    A task starts when `begin` returns RUN for it. Each delivery of a task with a rate has `must_begin`.

    * **L6 Rates.** No time that is `n` intervals of a pace long, by the store's clock, has more than ``burst + n``
      starts of the same gate.

      - `begin` looks at all rates of a task, and counts the start for all of them or for none. Asked again for the same
        receipt, it counts no second start; after the message was handed out again, it does.
      - If there is no room, `begin` returns LATER: the task waits in the line of a gate, where it keeps its place in
        the order of arrival (it comes before those that asked later), and nothing is charged for it (B11): it has the
        same attempt, crashes and deferrals, and is not redelivered. If it was cancelled, it ends instead (I3).
      - A task that becomes ready is admitted at the gate of a rate if there is room for one more beside those that were
        admitted; else it waits there (L5). So it is handed out about when it may start, and a long line costs nothing.
        The returned time of `maintain` counts the next moment at which a waiting task is admitted.
      - While nobody works, nothing is saved up: at most `burst` tasks start at once after that.
      - A gate whose rate has no pace has room at any time. A count of 0 lets nothing start.
      - When the last start of a gate no longer matters, nothing of it is left (L13).
      - After a pace was changed, or the clock was set back, the next task of a gate starts after one interval of the
        pace that counts, at the latest.
    """

    def declare_rates(self, paces: Mapping[str, Pace], *, replace: bool) -> None:
        """Store the paces that the code declares, by the name of the rate; one that `set_rate` has set counts more.

        `replace`: also where another pace is declared already, as when workers start.
        """
        ...

    def set_rate(self, name: str, pace: Pace | None) -> None:
        """Set the pace of a rate, or of one of its keys (``NAME/KEY``), at once. It counts more than a declared one,
        until it is None again."""
        ...

    def rates(self) -> Sequence[RateInfo]:
        """Return the rates that have a pace, in alphabetical order."""
        ...


def rates_of(store: object) -> RateStore | None:
    """Return the rates of a backend; None if it does not have any."""
    limits = limits_of(store)
    return limits if isinstance(limits, RateStore) else None
