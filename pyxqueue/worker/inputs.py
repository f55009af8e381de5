"""Reads the results of its predecessors for a task of a flow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import frozen

from ..calls import Call
from ..codec import Codec
from ..errors import DependencyFailedError, SerializationError
from ..inputs import Many, One, filled, inputs_of
from ..model.flows import DEPENDENCY_FAILED
from ..model.message import Record, TaskStatus
from ..protocols import Results


@frozen(eq=False)
class InputReader:
    """Fills in the arguments of calls that are results of other tasks."""

    store: Results
    codec: Codec

    def fill(self, call: Call) -> Call:
        """Return a call with the results. Raises `DependencyFailedError` for one that is gone, `SerializationError` for
        one that cannot be decoded."""
        inputs = list(inputs_of(call))
        ids = list(dict.fromkeys(one.id for one in inputs if isinstance(one, One)))
        for one in inputs:
            if isinstance(one, Many):  # if the first of them is gone, the task must not begin
                self._read([f"{one.prefix}.0"])
        return filled(call, dict(zip(ids, self._read(ids), strict=True)), self._read)

    def _read(self, ids: Sequence[str]) -> list[Any]:
        return [self._value(task_id, record) for task_id, record in zip(ids, self.store.wait(ids, 0), strict=True)]

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
