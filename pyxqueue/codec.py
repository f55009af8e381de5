"""Between values and sealed bytes: picks the serializer, applies the seal and the size limits, in both directions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import evolve, field, frozen

from .errors import ConfigurationError, PayloadTooLargeError, SerializationError
from .message import Message, Record, Success
from .protocols import Serializer
from .serializers.call import dumps_call, loads_call
from .serializers.seal import Seal, SealContext

MAX_PAYLOAD = 1 << 20
"""Bytes; the default limit for the arguments of a call, and for a result."""


@frozen
class Codec:
    """How one queue turns calls and results into bytes.

    `serializers`: those that may be read, by name; the first is the one that writes. A message that names another one
    is not decoded at all. `seal`: signs everything and accepts nothing unsigned; None signs nothing.
    """

    queue: str
    serializers: Mapping[str, Serializer]
    writer: Serializer
    seal: Seal | None = None
    max_payload: int = field(default=MAX_PAYLOAD)
    max_result: int = field(default=MAX_PAYLOAD)

    @classmethod
    def of(cls, queue: str, serializers: Sequence[Serializer], seal: Seal | None, **limits: int) -> Codec:
        """Raises `ConfigurationError` for a serializer that is only safe under a seal, when there is none."""
        for serializer in serializers:
            if not serializer.trusted and seal is None:
                raise ConfigurationError(
                    f"the serializer {serializer.name!r} runs code from the bytes it reads: give the queue a seal, "
                    f"TaskQueue(..., seal=Seal([key])), so that it reads only what you signed"
                )
        return cls(queue, {one.name: one for one in serializers}, serializers[0], seal, **limits)

    def seal_call(self, message: Message, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Message:
        """Put the arguments into the message. Raises `SerializationError`, naming the task."""
        writer = self.writer
        try:
            body = dumps_call(writer, args, kwargs)
        except SerializationError as error:
            raise SerializationError(f"cannot enqueue {message.name}: {error}") from error
        if len(body) > self.max_payload:
            raise PayloadTooLargeError(
                f"cannot enqueue {message.name}: its arguments need {len(body):,} bytes, the queue allows "
                f"{self.max_payload:,}; pass a reference (a path, a key) or raise TaskQueue(max_payload=...)"
            )
        seal = self._sign(SealContext(self.queue, message.name, message.id, "call", writer.name), body)
        return evolve(message, body=body, serializer=writer.name, seal=seal)

    def open_call(self, message: Message) -> tuple[Sequence[Any], Mapping[str, Any]]:
        """The arguments. Raises `SealError` before anything is decoded, else `SerializationError`."""
        context = SealContext(self.queue, message.name, message.id, "call", message.serializer)
        self._verify(context, message.body, message.seal)
        if not message.body:
            return [], {}
        return loads_call(self.serializers[message.serializer], message.body)

    def seal_result(self, message: Message, value: Any) -> Success:
        """Put a result into an outcome. Raises `SerializationError`."""
        writer = self.serializers.get(message.serializer, self.writer)
        data = writer.dumps(value)
        if len(data) > self.max_result:
            raise PayloadTooLargeError(
                f"the result of {message.name} needs {len(data):,} bytes, the queue allows {self.max_result:,}; return "
                f"a reference (a path, a key) or raise TaskQueue(max_result=...)"
            )
        context = SealContext(self.queue, message.name, message.id, "result", writer.name)
        return Success(data, writer.name, self._sign(context, data))

    def open_result(self, task_name: str, record: Record) -> Any:
        """The result a record holds. Raises `SealError` before anything is decoded, else `SerializationError`."""
        context = SealContext(self.queue, task_name, record.id, "result", record.serializer)
        self._verify(context, record.value, record.seal)
        reader = self.serializers.get(record.serializer)
        if reader is None:
            raise SerializationError(
                f"the result of {record.id} was written by {record.serializer!r}; this queue reads "
                f"{sorted(self.serializers)}"
            )
        return reader.loads(record.value) if record.value else None

    def _sign(self, context: SealContext, data: bytes) -> str:
        return "" if self.seal is None else self.seal.sign(context, data)

    def _verify(self, context: SealContext, data: bytes, seal: str) -> None:
        if self.seal is not None:
            self.seal.verify(context, data, seal)
