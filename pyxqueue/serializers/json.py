"""JSON, the default: people and programs in other languages can read and write it."""

from __future__ import annotations

from types import NoneType
from typing import Any

import msgspec

from .tagged import TaggedSerializer

_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder()


class JSONSerializer(TaggedSerializer):
    """Writes values as JSON, with tags for types that JSON does not have: ``[1,{"!set":["a"]}]``."""

    name = "json"
    native = frozenset({str, bool, NoneType})

    def pack(self, wire: Any) -> bytes:
        return _ENCODER.encode(wire)

    def unpack(self, data: bytes) -> Any:
        return _DECODER.decode(data)

    def may_hold_tags(self, data: bytes) -> bool:
        # Another program may write the mark as an escape.
        return b'"!' in data or b"\\u0021" in data
