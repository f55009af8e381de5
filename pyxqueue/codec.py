"""Between values and sealed bytes: picks the serializer, applies the seal and the size limits, in both directions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

from attrs import evolve, field, frozen

from .errors import ConfigurationError, PayloadTooLargeError, SerializationError
from .model.message import NO_HEADERS, Message, Record, Returned, TaskStatus
from .model.wire import MAX_HEADERS, headers_size, headers_to_json, message_size
from .printable import quoted
from .protocols import Serializer
from .serializers.call import dumps_call, loads_call
from .serializers.seal import Seal, SealContext

MAX_PAYLOAD = 1 << 20
"""Bytes; the default limit for the arguments of a call, and for a result."""


class SealedCall(NamedTuple):
    """The arguments of a call as they travel."""

    body: bytes
    serializer: str
    seal: str


@frozen
class Codec:
    """How one queue turns calls and results into bytes.

    `serializers`: those that may be read, by name; `writer`: the one that writes. A message that names another one
    is not decoded at all. `seal`: signs everything and accepts nothing unsigned; None signs nothing.
    """

    queue: str
    serializers: Mapping[str, Serializer]
    writer: Serializer
    seal: Seal | None = None
    group: str = ""
    """The consumer group whose ends it seals and believes."""
    max_payload: int = field(default=MAX_PAYLOAD)
    max_result: int = field(default=MAX_PAYLOAD)

    @classmethod
    def of(
        cls, queue: str, serializers: Sequence[Serializer], seal: Seal | None, group: str = "", **limits: int
    ) -> Codec:
        """Raises `ConfigurationError` for a serializer that is only safe under a seal, when there is none."""
        for serializer in serializers:
            if not serializer.trusted and seal is None:
                raise ConfigurationError(
                    f"the serializer {quoted(serializer.name)} runs code from the bytes it reads: give the queue a "
                    f"seal, TaskQueue(..., seal=Seal([key])), so that it reads only what you signed"
                )
        return cls(queue, {one.name: one for one in serializers}, serializers[0], seal, group, **limits)

    def seal_call(
        self,
        name: str,
        task_id: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        headers: Mapping[str, str] = NO_HEADERS,
    ) -> SealedCall:
        """The body of a call, and what belongs to it; `headers` count for its size.

        Raises `SerializationError`, naming the task.
        """
        writer = self.writer
        try:
            body = dumps_call(writer, args, kwargs)
        except SerializationError as error:
            raise SerializationError(f"cannot enqueue {name}: {error}") from error
        size = len(body) + headers_size(headers)
        if size > self.max_payload:
            what = "its arguments and headers" if headers else "its arguments"
            raise PayloadTooLargeError(
                f"cannot enqueue {name}: {what} need {size:,} bytes, the queue allows "
                f"{self.max_payload:,}; pass a reference (a path, a key) or raise TaskQueue(max_payload=...)"
            )
        if headers and len(headers_to_json(headers)) > MAX_HEADERS:
            raise PayloadTooLargeError(
                f"cannot enqueue {name}: its headers need more than {MAX_HEADERS:,} bytes as JSON"
            )
        seal = ""
        if self.seal is not None:
            seal = self.seal.sign(self._call(name, task_id, writer.name, headers), body)
        return SealedCall(body, writer.name, seal)

    def open_call(self, message: Message) -> tuple[Sequence[Any], Mapping[str, Any]]:
        """The arguments. Raises, before anything is decoded, `PayloadTooLargeError` and `SealError`; else
        `SerializationError`."""
        size = message_size(message)
        if size > self.max_payload:
            raise PayloadTooLargeError(
                f"the arguments and headers of task {message.id} have {size:,} bytes, this side reads "
                f"{self.max_payload:,}: whoever wrote them allows more; raise TaskQueue(max_payload=...) here too"
            )
        if self.seal is not None:
            context = self._call(message.name, message.id, message.serializer, message.headers)
            self.seal.verify(context, message.body, message.seal)
        if not message.body:
            return [], {}
        return loads_call(self.serializers[message.serializer], message.body)

    def dump_result(self, message: Message, value: Any) -> Returned:
        """Put a result into an outcome. Raises `SerializationError`."""
        writer = self.serializers.get(message.serializer, self.writer)
        try:
            data = writer.dumps(value)
        except SerializationError as error:
            raise SerializationError(f"the return value of {message.name} cannot be stored: {error}") from error
        if len(data) > self.max_result:
            raise PayloadTooLargeError(
                f"the result of {message.name} needs {len(data):,} bytes, the queue allows {self.max_result:,}; return "
                f"a reference (a path, a key) or raise TaskQueue(max_result=...)"
            )
        return Returned(data, writer.name)

    def sealed(self, record: Record) -> Record:
        """The record with a seal on it, where this queue has one."""
        if self.seal is None:
            return record
        return evolve(record, seal=self.seal.sign(self._end(record), record.value))

    def check_end(self, record: Record) -> None:
        """Raises `SealError` for an end that nobody with the key has written.

        A cancelled task has nothing to be believed, and whoever may write to the store may cancel.
        """
        if self.seal is not None and record.status is not TaskStatus.CANCELLED:
            self.seal.verify(self._end(record), record.value, record.seal)

    def open_result(self, record: Record) -> Any:
        """The result a record holds. Raises, before anything is decoded, `PayloadTooLargeError` and `SealError`; else
        `SerializationError`."""
        if len(record.value) > self.max_result:
            raise PayloadTooLargeError(
                f"the result of task {record.id} has {len(record.value):,} bytes, this side reads {self.max_result:,}: "
                "whoever wrote it allows more; raise TaskQueue(max_result=...) here too"
            )
        self.check_end(record)
        reader = self.serializers.get(record.serializer)
        if reader is None:
            raise SerializationError(
                f"the result of {record.id} was written by {quoted(record.serializer)}; this queue reads "
                f"{sorted(self.serializers)}"
            )
        return reader.loads(record.value) if record.value else None

    def _call(self, name: str, task_id: str, serializer: str, headers: Mapping[str, str]) -> SealContext:
        """What the seal of a call covers beside the bytes."""
        return SealContext(
            self.queue, name, task_id, "call", serializer, tuple(chain.from_iterable(sorted(headers.items())))
        )

    def _end(self, record: Record) -> SealContext:
        """What the seal of an end covers beside the bytes."""
        error = record.error
        failure = () if error is None else (error.type, error.message, error.traceback)
        facts = (self.group, str(int(record.status)), str(record.attempt), *failure)
        return SealContext(self.queue, "", record.id, "end", record.serializer, facts)
