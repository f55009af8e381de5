"""The part of `TaskQueue` that begins flows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .producing import Producer

if TYPE_CHECKING:
    from .flows import Flow


class BuildsFlows:
    """Base of `TaskQueue`."""

    _producer: Producer

    def flow(self) -> Flow:
        """Return a new flow, to be built in a block: ``with queue.flow() as flow:``. The end of the block enqueues
        it."""
        from .flows import Flow  # noqa: PLC0415 - imported when it is used

        return Flow(self._producer)
