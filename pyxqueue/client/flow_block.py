"""The method of `TaskQueue` that begins a flow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .producing import Producer

if TYPE_CHECKING:
    from .flows import Flow


class BuildsFlows:
    """Base of `TaskQueue`."""

    _producer: Producer

    def flow(self, flow_id: str | None = None) -> Flow:
        """Return a new flow, to be built in a block: ``with queue.flow() as flow:``. The end of the block enqueues
        it.

        `flow_id`: an id that no other flow has, for a block that may run twice, as in a task: the second time stores
        nothing that is stored already. By default it is new.
        """
        from .flows import Flow  # noqa: PLC0415 - imported when it is used

        return Flow(self._producer, flow_id)
