"""Flows: tasks that wait for others, an optional protocol of a backend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable


@runtime_checkable
class HasFlows(Protocol):
    """A backend that keeps flows. `pyxqueue.model.flows` says what an edge is, and how messages name their successors
    and predecessors.

    The messages of a flow come by `enqueue`, or as follow-ups, each before those that it waits for. Each group has its
    own copy of it (B9).

    * **L10 One start, after all others.** A message with predecessors (`Message.after`) is *dependent* until each edge
      that leads to it has fired, or one of them has doomed it. The step in which that happens makes it ready, or makes
      it due, so that `maintain` makes it ready. Only `rejoin` makes it dependent again.

      - A dependent task cannot be claimed. It is PENDING, `TaskInfo.waits_for` says how many of its predecessors have
        not ended, and `Depth.dependent` counts it. It is listed, cancelled and deleted like a delayed one, it expires
        (L8), and it holds no token (L3). `adopt` raises `ConfigurationError` for it.
      - When it becomes ready, it came back (B2). If its `due_ms` is later, it is delayed until then; and it asks for
        its tokens (L3).
      - An edge whose task did not end as a success dooms the successor, unless its policy is CONTINUE. The successor is
        ready at once, and `Message.doomed` is the id of that task. Its worker lets it fail without running it. The
        first edge that dooms it counts. While it is doomed, it asks for no tokens and counts for no rate.
      - An edge counts for the successor of its flow (`Message.flow`) only. A task that is stored later under the same
        id, as part of another flow or of none, is not changed.
      - A predecessor that is stored again, once its id is free, has not fired its edge: a dependent successor waits for
        it again, as for one that is requeued (L11).
      - If a predecessor was not stored within `UNFINISHED_MS` after the one before it, whoever stores the flow is
        taken to be dead: `maintain` dooms the successor, and `doomed` says how many were stored. A flow that is stored
        as a whole never waits for that.
      - `requeue` makes an ended successor ready, whatever its predecessors do, and empties `doomed`.
      - `rejoin` requeues a task that is kept with the failed tasks, as part of its flow: it is dependent until each
        edge that leads to it has fired, and ready if all have. It changes nothing while an edge dooms the task, or if
        `doomed` says that the flow was not stored completely.
      - A doomed task that its holder lets fail, although no edge dooms it any more, does not end: it rejoins its flow
        with that settlement, unless it was cancelled.

    * **L11 Every end fires.** The step in which a task ends or is deleted fires the edges that leave it
      (`Message.successors`).

      - That is a Done, a Cancelled, a Fail, a Retry that comes too late; a cancellation, at once or when the task would
        become ready again; an expiry; a deletion. Nothing else fires an edge: no retry, deferral, release, end of a
        lease, requeue, and no end of a record or of the history.
      - An edge of the policy WAIT does not fire while the task is kept with the failed tasks. It fires when that task
        is requeued and ends otherwise, or is deleted.
      - A task that is requeued, or rejoins its flow, takes its edges back: they have not fired, and doom nothing, until
        it ends again. A dependent successor waits for it again; one that has become ready goes on.
      - A task whose message another program has removed has not succeeded. If no step has noticed that, it dooms a
        successor as soon as `maintain` finds that none of the predecessors can end any more.
      - Of a successor that has ended, but is not kept with the failed tasks, no edge counts any more.
      - A refused settlement fires nothing (B4).
    """

    keeps_flows: bool
    """True. (It is there to tell such a backend from others.)"""

    def rejoin(self, ids: Sequence[str]) -> Sequence[bool]:
        """Let failed tasks run again as parts of their flows, in this order: each after those that it waits for.
        Returns True for each that does (L10)."""
        ...
