"""A serializer for long arguments and results: ``TaskQueue(serializer="zjson")`` writes JSON, compressed if that pays.

The first byte says which it is: ``j`` and the JSON, or ``z`` and the same JSON as zlib packs it.
"""

from __future__ import annotations

import zlib
from typing import Any

from pyxqueue import JSONSerializer, SerializationError

__all__ = ["ZJSONSerializer"]

WORTH_IT = 300
"""Bytes of JSON from which on compressing is tried."""
LONGEST = 256 * 1024 * 1024
"""Bytes that packed data may grow to: a few thousand bytes from anyone must not fill the memory (S3)."""


class ZJSONSerializer(JSONSerializer):
    """All that JSON can carry here, and the classes that are registered, in fewer bytes."""

    name = "zjson"

    def dumps(self, value: Any) -> bytes:
        plain = super().dumps(value)
        packed = zlib.compress(plain) if len(plain) >= WORTH_IT else plain
        return b"z" + packed if len(packed) < len(plain) else b"j" + plain

    def loads(self, data: bytes) -> Any:
        if data[:1] == b"j":
            return super().loads(data[1:])
        if data[:1] != b"z":
            raise SerializationError("the bytes are no zjson: they begin with neither j nor z")
        unpacker = zlib.decompressobj()
        try:
            plain = unpacker.decompress(data[1:], LONGEST)
        except zlib.error as error:
            raise SerializationError(f"the bytes are no zjson: {error}") from error
        if not unpacker.eof or unpacker.unused_data:
            raise SerializationError("the bytes are no zjson: they are cut short, go on after the end, or are too long")
        return super().loads(plain)
