"""Turns values into sealed bytes and back, with the serializer, the seal and the size limits of a queue."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

from msgspec import Struct

from .errors import (
    ConfigurationError,
    DependencyFailedError,
    PayloadTooLargeError,
    SealError,
    SerializationError,
    TaskCancelledError,
    TaskError,
    TaskExpiredError,
)
from .model.flows import DEPENDENCY_FAILED
from .model.message import NO_HEADERS, Message, Record, Returned, TaskStatus, evolve
from .model.steps import MAX_VALUE, StepValue
from .model.wire import MAX_HEADERS, headers_size, headers_to_json, message_size
from .printable import quoted
from .protocols import Serializer
from .serializers.errors import OutsideDomainError
from .serializers.seal import Seal, SealContext

MAX_PAYLOAD = 1 << 20
"""The default limit for the arguments of a call, and for a result, in bytes."""


class Codec(Struct, frozen=True):
    """Turns the calls and results of one queue into bytes and back.

    `serializers`: the ones that may decode, by name; `writer`: the one that encodes. A message of any other serializer
    is not decoded. `seal`: signs all payloads, and refuses those without its signature; None does not sign.
    """

    queue: str
    serializers: Mapping[str, Serializer]
    writer: Serializer
    seal: Seal | None = None
    group: str = ""
    """The consumer group to which the seals of records are bound."""
    max_payload: int = MAX_PAYLOAD
    max_result: int = MAX_PAYLOAD

    @classmethod
    def of(
        cls, queue: str, serializers: Sequence[Serializer], seal: Seal | None, group: str = "", **limits: int
    ) -> Codec:
        """Make a codec. Raises `ConfigurationError` if a serializer is only safe under a seal and there is none."""
        for serializer in serializers:
            if not serializer.trusted and seal is None:
                raise ConfigurationError(
                    f"the serializer {quoted(serializer.name)} can run code from the bytes it reads: give the queue a "
                    f"seal, TaskQueue(..., seal=Seal([key])), so that it reads only payloads you signed"
                )
        return cls(queue, {one.name: one for one in serializers}, serializers[0], seal, group, **limits)

    def seal_call(
        self,
        name: str,
        task_id: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        headers: Mapping[str, str] = NO_HEADERS,
    ) -> tuple[bytes, str, str]:
        """Serialize and seal a call: return its body, the name of the serializer, and the seal. Its `headers` count for
        its size.

        Raises `SerializationError` with the name of the task.
        """
        writer = self.writer
        try:
            body = dumps_call(writer, args, kwargs)
        except SerializationError as error:
            raise SerializationError(f"cannot enqueue {name}: {error}") from error
        size = len(body) + headers_size(headers) if headers else len(body)
        if size > self.max_payload:
            what = "its arguments and headers" if headers else "its arguments"
            raise PayloadTooLargeError(
                f"cannot enqueue {name}: {what} need {size:,} bytes, the limit is {self.max_payload:,}; pass a "
                f"reference (a path, a key) or raise TaskQueue(max_payload=...)"
            )
        if headers and len(headers_to_json(headers)) > MAX_HEADERS:
            raise PayloadTooLargeError(
                f"cannot enqueue {name}: its headers need more than {MAX_HEADERS:,} bytes as JSON"
            )
        seal = ""
        if self.seal is not None:
            seal = self.seal.sign(self._call(name, task_id, writer.name, headers), body)
        return body, writer.name, seal

    def open_call(self, message: Message) -> tuple[Sequence[Any], Mapping[str, Any]]:
        """Return the arguments of a call. Raises `PayloadTooLargeError` or `SealError` before it decodes anything, and
        `SerializationError` if the body cannot be decoded."""
        size = message_size(message)
        if size > self.max_payload:
            raise PayloadTooLargeError(
                f"the arguments and headers of task {message.id} have {size:,} bytes, the limit here is "
                f"{self.max_payload:,}; raise TaskQueue(max_payload=...) here as in the program that enqueued it"
            )
        if self.seal is not None:
            context = self._call(message.name, message.id, message.serializer, message.headers)
            self.seal.verify(context, message.body, message.seal)
        if not message.body:
            return [], {}
        return loads_call(self.serializers[message.serializer], message.body)

    def tick_call(self, call: Message, task_id: str, headers: Mapping[str, str]) -> Message:
        """Return the call of a schedule as the message of a task, with `headers` beside its own.

        The seal of a schedule's call is verified, and the message gets a seal of its own. Raises `SealError`.
        """
        every_header = {**call.headers, **headers}
        seal = ""
        if self.seal is not None:
            self.seal.verify(
                self._call(call.name, schedule_seal_id(call.id), call.serializer, call.headers), call.body, call.seal
            )
            seal = self.seal.sign(self._call(call.name, task_id, call.serializer, every_header), call.body)
        elif call.seal:
            raise SealError(
                f"the call of the schedule {call.id} is sealed, and this program does not have a key: set "
                "PYXQUEUE_SEAL_KEYS here too"
            )
        return evolve(call, id=task_id, headers=every_header, seal=seal, lifetime_ms=call.expires_ms, expires_ms=0)

    def dump_result(self, message: Message, value: Any) -> Returned:
        """Serialize a return value as an outcome. Raises `SerializationError`."""
        writer = self.serializers.get(message.serializer, self.writer)
        try:
            data = writer.dumps(value)
        except SerializationError as error:
            raise SerializationError(f"the return value of {message.name} cannot be stored: {error}") from error
        if len(data) > self.max_result:
            raise PayloadTooLargeError(
                f"the result of {message.name} needs {len(data):,} bytes, the limit is {self.max_result:,}; return "
                f"a reference (a path, a key) or raise TaskQueue(max_result=...)"
            )
        return Returned(data, writer.name)

    def step_value(self, task_id: str, kind: str, name: str, value: Any) -> bytes:
        """Serialize and seal the value of a step or an event of a task. Raises `SerializationError`."""
        what = f"the value of the {kind} {quoted(name)}"
        try:
            data = self.writer.dumps(value)
        except SerializationError as error:
            raise SerializationError(f"{what} cannot be stored: {error}") from error
        if len(data) > MAX_VALUE:
            raise PayloadTooLargeError(
                f"{what} needs {len(data):,} bytes, the limit is {MAX_VALUE:,}: give a reference (a path, a key)"
            )
        seal = "" if self.seal is None else self.seal.sign(self._step(task_id, kind, name, self.writer.name), data)
        return StepValue(data, self.writer.name, seal).to_bytes()

    def open_step(self, task_id: str, kind: str, name: str, data: bytes) -> Any:
        """Return the value of a step or an event. Raises `SealError` before it decodes anything, and
        `SerializationError` if it cannot be decoded."""
        stored = StepValue.from_bytes(data)
        if self.seal is not None:
            self.seal.verify(self._step(task_id, kind, name, stored.serializer), stored.value, stored.seal)
        if (reader := self.serializers.get(stored.serializer)) is None:
            raise SerializationError(
                f"the value of the {kind} {quoted(name)} was written by the serializer {quoted(stored.serializer)}; "
                f"this queue reads {sorted(self.serializers)}: give it TaskQueue(accept=[...])"
            )
        return reader.loads(stored.value)

    def sealed(self, record: Record) -> Record:
        """Return the record with its seal; unchanged if the queue does not have a seal."""
        if self.seal is None:
            return record
        return evolve(record, seal=self.seal.sign(self._end(record), record.value))

    def check_end(self, record: Record) -> None:
        """Raise `SealError` if the record was not sealed with a key of this queue.

        The record of a cancelled task is not checked: any client of the store may cancel, and it has no content.
        """
        if self.seal is not None and record.status is not TaskStatus.CANCELLED:
            self.seal.verify(self._end(record), record.value, record.seal)

    def open_result(self, record: Record) -> Any:
        """Return the result in a record. Raises `PayloadTooLargeError` or `SealError` before it decodes anything, and
        `SerializationError` if the value cannot be decoded."""
        if len(record.value) > self.max_result:
            raise PayloadTooLargeError(
                f"the result of task {record.id} has {len(record.value):,} bytes, the limit here is "
                f"{self.max_result:,}; raise TaskQueue(max_result=...) here as in the worker"
            )
        self.check_end(record)
        reader = self.serializers.get(record.serializer)
        if reader is None:
            raise SerializationError(
                f"the result of {record.id} was written by the serializer {quoted(record.serializer)}; this queue "
                f"reads {sorted(self.serializers)}: give it TaskQueue(accept=[...])"
            )
        return reader.loads(record.value) if record.value else None

    def end_error(self, record: Record) -> TaskError:
        """Return the error that `get` raises for an end other than a success. Raises `SealError`."""
        if record.status is TaskStatus.CANCELLED:
            from .model.transitions import EXPIRED  # noqa: PLC0415 - callers need the rest of it nowhere

            if record.error == EXPIRED:
                return TaskExpiredError(EXPIRED.type, EXPIRED.message, task_id=record.id)
            return TaskCancelledError("Cancelled", "the task was cancelled", task_id=record.id)
        self.check_end(record)
        error = record.error
        if error is None:
            return TaskError("Unknown", "no reason was stored", task_id=record.id)
        kind = DependencyFailedError if error.type == DEPENDENCY_FAILED else TaskError
        return kind(error.type, error.message, error.traceback, record.id)

    def _call(self, name: str, task_id: str, serializer: str, headers: Mapping[str, str]) -> SealContext:
        return SealContext(
            self.queue, name, task_id, "call", serializer, tuple(chain.from_iterable(sorted(headers.items())))
        )

    def _step(self, task_id: str, kind: str, name: str, serializer: str) -> SealContext:
        return SealContext(self.queue, "", task_id, "step", serializer, (self.group, kind, name))

    def _end(self, record: Record) -> SealContext:
        error = record.error
        failure = () if error is None else (error.type, error.message, error.traceback)
        facts = (self.group, str(int(record.status)), str(record.attempt), *failure)
        return SealContext(self.queue, "", record.id, "end", record.serializer, facts)


def schedule_seal_id(schedule_id: str) -> str:
    """Return what the seal of a schedule's call is bound to; no task has such an id."""
    return f"schedule:{schedule_id}"


def dumps_call(serializer: Serializer, args: Iterable[Any], kwargs: Mapping[str, Any]) -> bytes:
    """Return the body of a call, ``[[10],{}]``. Raises `SerializationError`, with a path that begins with ``args`` or
    ``kwargs``."""
    try:
        return serializer.dumps([list(args), dict(kwargs)])
    except OutsideDomainError as error:
        error.root = "args" if error.steps.pop() == "[0]" else "kwargs"
        raise


def loads_call(serializer: Serializer, body: bytes) -> tuple[list[Any], dict[str, Any]]:
    """Return the arguments in a body. Raises `SerializationError` if it is not the body of a call."""
    match serializer.loads(body):
        case [list(args), dict(kwargs)] if not kwargs or all(isinstance(key, str) for key in kwargs):
            return args, kwargs
    raise SerializationError("the body is not a call: it must be [[positional arguments], {keyword arguments}]")
