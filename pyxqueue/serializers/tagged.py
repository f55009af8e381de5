"""What the JSON and the MessagePack serializer have in common: all but the bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from ..errors import SerializationError
from ..printable import quoted
from .annotations import classes_in
from .classes import ClassTable
from .walk import Decoder, Encoder

Class = TypeVar("Class", bound=type)


class TaggedSerializer:
    """A serializer that brings every value back as exactly what it was, or refuses it in `dumps`.

    Its domain: None, bool, int of any size, float, str, bytes, bytearray, list, tuple, dict with any keys of the
    domain, set, frozenset, datetime, date, time, timedelta, Decimal and UUID; and the enums, dataclasses, attrs
    classes and named tuples that were registered. Subclasses are other types. `timezone` and `ZoneInfo` are the time
    zones. An object that occurs twice comes back as two.

    `types` are classes to register. For any other type, override `encode_custom` and `decode_custom`.
    """

    name = ""
    trusted = True

    native: frozenset[type]
    """The types without parts that the format carries as they are."""

    def __init__(self, types: Iterable[type] = ()) -> None:
        self._classes = ClassTable()
        self._encoder = Encoder(self.native, self._classes, self.encode_custom, careful=False)
        self._careful = Encoder(self.native, self._classes, self.encode_custom, careful=True)
        self._decoder = Decoder(self._classes, self.decode_custom)
        for cls in types:
            self.register(cls)

    def register(self, cls: Class) -> Class:
        """Let the instances of a class travel; usable as a decorator. Both sides must do it.

        Raises `ConfigurationError` for a class that is not an enum, dataclass, attrs class or named tuple, that keeps
        more than its fields, or whose import path another class has.
        """
        self._classes.add(cls)
        return cls

    def register_annotations(self, function: Callable[..., Any]) -> None:
        """Register the classes in a function's annotations, also inside of generics and of the classes' fields.

        Classes that cannot travel and annotations that cannot be resolved are passed over; `dumps` will complain
        about the values. Raises `ConfigurationError` if two classes have the same import path.
        """
        for cls in classes_in(function):
            self._classes.add(cls)

    def encode_custom(self, value: Any) -> Any:  # noqa: ARG002 - for subclasses that override it
        """Override it to let other types travel: return ``(tag, data)``, or NotImplemented for what is not yours.

        The tag is any text; the data may be any value of the domain.
        """
        return NotImplemented

    def decode_custom(self, tag: str, data: Any) -> Any:  # noqa: ARG002 - likewise
        """Override it to undo `encode_custom`: return the value, or NotImplemented for a tag that is not yours.

        The data may come from anyone: check it. Whatever this raises becomes a `SerializationError`.
        """
        return NotImplemented

    def dumps(self, value: Any) -> bytes:
        """The bytes of a value. Raises `SerializationError`, with the path to the culprit, for what cannot travel."""
        try:
            try:
                return self.pack(self._encoder.encode(value))
            except UnicodeEncodeError:
                return self.pack(self._careful.encode(value))
        except SerializationError:
            raise
        except Exception as error:
            raise SerializationError(f"the value cannot be written as {self.name}: {quoted(error, 300)}") from error

    def loads(self, data: bytes) -> Any:
        """The value of the bytes. Raises `SerializationError`, whatever the bytes are."""
        try:
            wire = self.unpack(data)
            return self._decoder.decode(wire) if self.may_hold_tags(data) else wire
        except SerializationError:
            raise
        except Exception as error:
            # Anything else that comes out of a decoder fed with bytes from anyone, RecursionError among it.
            raise SerializationError(f"the bytes are no {self.name} of ours: {error}") from error

    def pack(self, wire: Any) -> bytes:
        """The bytes of a value of `native` types, lists and dicts."""
        raise NotImplementedError

    def unpack(self, data: bytes) -> Any:
        """Undo `pack`; raises anything for bytes it does not write."""
        raise NotImplementedError

    def may_hold_tags(self, data: bytes) -> bool:
        """False only if no tag can be in the bytes; it saves looking through what is plain."""
        raise NotImplementedError
