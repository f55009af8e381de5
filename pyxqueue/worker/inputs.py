"""Reads the results of its predecessors for a task of a flow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Never

from attrs import frozen

from ..calls import Call
from ..codec import Codec
from ..errors import BrokerUnavailableError, DependencyFailedError, SerializationError, TaskSuspended
from ..inputs import Many, One, filled, inputs_of
from ..model.flows import DEPENDENCY_FAILED
from ..model.message import Record, Suspend, Suspended, TaskStatus
from ..protocols import Backend, HasSteps
from .coroutines import loop_runs_here
from .steps import LOOK_AGAIN, StepKeeper, records_of


@frozen(eq=False)
class InputReader:
    """Fills in the arguments of calls that are results of other tasks."""

    store: Backend
    codec: Codec
    keeper: StepKeeper

    def fill(self, call: Call) -> Call:
        """Return a call with the results. Raises `DependencyFailedError` for one that is gone, `SerializationError` for
        one that cannot be decoded, `TaskSuspended` if the task must wait for one that is there no more."""
        inputs = list(inputs_of(call))
        ids = list(dict.fromkeys(one.id for one in inputs if isinstance(one, One)))
        for one in inputs:
            if isinstance(one, Many):  # if the first of them is gone, the task must not begin
                self._read([f"{one.prefix}.0"])
        return filled(call, dict(zip(ids, self._read(ids), strict=True)), self._read_patiently)

    def _read_patiently(self, ids: Sequence[str]) -> list[Any]:
        """Read results for a task that runs. While the store is away, it waits; where it cannot wait, because an event
        loop would stand still or the worker must stop, it is given back, and runs again from its beginning."""

        def read() -> list[Any]:
            try:
                return self._read(ids)
            except BrokerUnavailableError:
                if loop_runs_here():
                    _give_back()
                raise

        return self.keeper.insist(read, _give_back) if isinstance(self.store, HasSteps) else self._read(ids)

    def _read(self, ids: Sequence[str]) -> list[Any]:
        """Read results. If one of the tasks was retried since it has ended, this one waits for it."""
        records = records_of(self.store, ids) if ids else {}
        if records is None and isinstance(self.store, HasSteps):
            _give_back(self.store.load_steps(ids[0]).now_ms + LOOK_AGAIN)
        return [self._value(task_id, record) for task_id, record in (records or dict.fromkeys(ids)).items()]

    def _value(self, task_id: str, record: Record | None) -> Any:
        if record is None:
            text = f"the result of task {task_id}, which is an argument, is gone: it has expired or was deleted"
            raise DependencyFailedError(DEPENDENCY_FAILED, text)
        if record.status is not TaskStatus.SUCCESS:
            return self.codec.end_error(record)
        try:
            return self.codec.open_result(record)
        except SerializationError as error:
            raise SerializationError(f"the result of task {task_id}, an argument, cannot be read: {error}") from error


def _give_back(due_ms: int = 0) -> Never:
    raise TaskSuspended(Suspended(Suspend(due_ms=due_ms)))
