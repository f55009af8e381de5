"""What producers do with the store, each operation written once, as steps.

`RedisBackend` takes the steps in its caller's thread, `AsyncRedisProducer` on an event loop.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...batching import batches
from ...clock import seconds_left
from ...model.message import Message, Record, TaskInfo
from ...model.wire import message_size
from . import commands
from .commands import Arg
from .registration import Registration
from .steps import Steps
from .watch import Found, Notifier, wait_for, watch_for


class Producing:
    """The operations of an `AsyncProducer`, as steps."""

    def __init__(self, registration: Registration, notifier: Notifier) -> None:
        self._registration = registration
        self._options = registration.options
        self._notifier = notifier

    def enqueue(self, messages: Sequence[Message]) -> Steps[list[bool]]:
        registration, accepted = self._registration, list[bool]()
        for batch in batches(messages, message_size):
            accepted += yield from registration.current(
                lambda groups: commands.enqueue(self._options.stream_key, registration.few(groups), batch)  # noqa: B023 - runs before the next
            )
        return accepted

    def show(self, ids: Sequence[str]) -> Steps[list[TaskInfo | None]]:
        return self._registration.each(ids, lambda keys, batch: commands.show(keys, self._options.group, batch))

    def cancel(self, ids: Sequence[str], force: bool) -> Steps[list[bool]]:
        return self.flags("cancel", ids, self._options.history, int(force))

    def forget(self, ids: Sequence[str]) -> Steps[list[bool]]:
        return self.flags("forget", ids)

    def flags(self, script: str, ids: Sequence[str], *more: Arg) -> Steps[list[bool]]:
        """A script that returns 1 or 0 per id."""
        first = (self._options.group, *more)
        return self._registration.each(ids, lambda keys, batch: commands.flags(script, keys, first, batch))

    def wait(self, ids: Sequence[str], timeout_ms: int | None, least: int | None) -> Steps[Sequence[Record | None]]:
        return wait_for(self._notifier, self._look, ids, timeout_ms, least)

    def watch(self, task_id: str, seen: TaskInfo | None, timeout_ms: int | None) -> Steps[TaskInfo | None]:
        return watch_for(self._notifier, self._observe, task_id, seen, timeout_ms)

    def _look(self, ids: Sequence[str], channel: str, deadline: float | None) -> Steps[Found]:
        """`UNKNOWN` for an id that is not known, None for a task under way, which then wakes `channel`."""
        return self._registration.each(
            ids, lambda keys, batch: commands.get(keys, batch, channel), seconds=seconds_left(deadline)
        )

    def _observe(self, task_id: str, channel: str, deadline: float | None) -> Steps[TaskInfo | None]:
        yield from self._look([task_id], channel, deadline)
        (info,) = yield from self.show([task_id])
        return info
