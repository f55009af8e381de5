"""The optional protocol of a broker that decides at the last moment whether a task may start."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, TypeAlias, runtime_checkable

from ..model.message import StartStatus


class Expired(NamedTuple):
    """A task that waited and has ended because it expired."""

    id: str
    name: str
    """The name of the task; empty if its message cannot be read."""


TellExpired: TypeAlias = Callable[[Sequence[Expired]], None]


@runtime_checkable
class Beginning(Protocol):
    """A broker whose worker asks once more, just before it runs certain messages.

    A delivery with `must_begin` is run only after `begin` has returned RUN for its receipt. A delivery without it is
    never asked about, so that the usual task pays nothing. What a start depends on (an expiry, a rate, a pause of its
    name, a lock that is held until the task starts) is looked at here, in one step with the check of the receipt.

    * **L8 Expiry.** A message with `expires_ms` does not start at that moment of the store's clock, or later.

      - `enqueue` and the follow-ups of `settle` set `expires_ms` if the message has a `lifetime_ms`, which counts from
        then on, and set `lifetime_ms` to 0. Without one, a message keeps the `expires_ms` it was given.
      - Each delivery of such a message has `must_begin`. `begin` returns EXPIRED from that moment on, and ends the
        task; before it, RUN.
      - A task that waits (ready or delayed) ends by itself: `maintain` and `claim` end what has expired, and the
        returned time of `maintain` counts the next expiry as it does the next delay.
      - A broker with `TellsExpired` tells of each task that a `maintain` or `claim` of its handle has ended so, once.
      - An expired task ends as CANCELLED, with a record as in B5 whose error has the type `Expired`.
      - While the task runs, the expiry does nothing. If it comes back, it waits with the same expiry.
      - A Retry whose next run would be due at `expires_ms` or later fails the task instead, as Fail does: with the
        record that came with the Retry, which has the error of the run, if there is one.
      - `requeue` sets `expires_ms` to 0. `adopt` keeps it.
    """

    def begin(self, receipts: Sequence[str]) -> Sequence[StartStatus]:
        """Ask whether the tasks of these receipts may start now. Returns one status for each.

        * RUN: it may start. The caller still holds it. Asked again for the same receipt, because the reply was lost, it
          does not count a second start.
        * LATER: the store has made it ready or delayed again, without a charge (B11): the receipt is not current any
          more. A repeat returns LOST.
        * EXPIRED: the store has ended it. A repeat returns LOST.
        * LOST: the receipt is not current, so the caller must not run the task.

        In the last three cases the caller forgets the delivery, and settles nothing.
        """
        ...


@runtime_checkable
class TellsExpired(Protocol):
    """A broker that says which waiting tasks its own calls have ended because they expired (L8)."""

    def watch_expired(self, tell: TellExpired) -> None:
        """Call `tell` from now on after each `maintain` and `claim` of this handle that has ended such tasks, in the
        thread of that call, before it returns. It does not raise."""
        ...
