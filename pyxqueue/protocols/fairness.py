"""Fair lines: the ready messages of several tenants are handed out in shares.

`pyxqueue.model.fairness` says what a tenant, a share, a flow and a tag are, and has the rule in code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from ..model.fairness import TenantInfo


class FairLines(Protocol):
    """The fair lines of one group of a backend, one for each priority class.

    Only messages that have a `share` stand in them. Fairness orders what is ready: it is no limit, and nothing waits
    longer because of it while a worker is free. `Depth.ready` counts who stands there.

    What becomes ready joins the fair line of its class: a new message, one whose delay is over, a retry, one that gets
    its tokens (L3), a requeued or adopted one. What was in flight and comes back by a release, the end of a lease or a
    Defer without a delay was drawn before: it becomes ready at once, in the line of those that came back (B2).

    A store draws from the line when a message is claimed, or some time before: up to twice as many as its largest claim
    has taken may be drawn and not claimed. These are handed out in the order in which they were drawn. What becomes
    ready while nothing of its class is, may be drawn at once.

    * **F1 Shares.** Between two flows that both wait, each is drawn in proportion to its weight. The new messages of
      one tenant are a flow, and those that came back are another.

      - Let *n* be how many messages of a flow were drawn since some moment, and *w* the weight ``1000 / share`` of
        each. As long as two flows *a* and *b* both wait, ``n_a / w_a`` and ``n_b / w_b`` differ by at most
        ``1 / w_a + 1 / w_b``.
      - So the first message of a flow is drawn after at most one of each other flow of the same weight, however many
        of these wait. A flow that was away has saved nothing up, and owes nothing.
      - What is cancelled, deleted or expires in the line has no start, and the later ones of its flow do not move up.
      - Priority classes come first (B2): shares count among the messages of a class.

    * **F2 Work-conserving.** A claim returns messages as long as some are ready, whoever's they are: one tenant alone
      gets everything. If the reply of a claim was lost, or its process died, those that wait are drawn with the next
      `maintain`, or before.
    * **F3 In order.** The messages of a flow in one priority class are drawn in the order in which they became
      ready.

      - A repeat of an enqueue (B1) and a refused settlement (B4) change no line.
      - A pause (L9) keeps the order, and draws nothing.

    * **F4 Drained.** When nothing waits in a line, nothing is stored about it and about any tenant (B13).
    """

    def tenants(self, count: int) -> Sequence[TenantInfo]:
        """Return the tenants that have messages in the lines, at most `count` of them, in alphabetical order."""
        ...


@runtime_checkable
class HasFairLines(Protocol):
    """A backend that has fair lines."""

    def fair_lines(self) -> FairLines | None:
        """Return the same object at each call; None if the store does not have them."""
        ...


def fair_lines_of(store: object) -> FairLines | None:
    """Return the fair lines of a backend; None if it does not have them."""
    return store.fair_lines() if isinstance(store, HasFairLines) else None
