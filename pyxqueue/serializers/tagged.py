"""The common part of the JSON and the MessagePack serializer: everything but the encoding as bytes."""

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
    """A serializer that returns every value exactly as it was, or refuses it in `dumps`.

    Its domain: None, bool, int of any size, float, str, bytes, bytearray, list, tuple, dict with any keys of the
    domain, set, frozenset, datetime, date, time, timedelta, Decimal and UUID; and the enums, dataclasses, attrs
    classes and named tuples that were registered. A subclass of one of these is a type of its own. A time zone is a
    `timezone` or a `ZoneInfo`. An object that occurs twice comes back as two objects.

    `types`: classes to register. For any other type, override `encode_custom` and `decode_custom`.
    """

    name = ""
    trusted = True

    native: frozenset[type]
    """The types without parts that the format writes as they are."""

    def __init__(self, types: Iterable[type] = ()) -> None:
        self._classes = ClassTable()
        self._encoder = Encoder(self.native, self._classes, self.encode_custom, careful=False)
        self._careful = Encoder(self.native, self._classes, self.encode_custom, careful=True)
        self._decoder = Decoder(self._classes, self.decode_custom)
        for cls in types:
            self.register(cls)

    def register(self, cls: Class) -> Class:
        """Register a class, so that its instances can travel. The caller and the worker must both do it. It can be used
        as a decorator.

        Raises `ConfigurationError` for a class that is not an enum, dataclass, attrs class or named tuple, that stores
        more than its fields, or that has the import path of another registered class.
        """
        self._classes.add(cls)
        return cls

    def register_annotations(self, function: Callable[..., Any]) -> None:
        """Register the classes in a function's annotations, also those within generics and in the fields of classes.

        It ignores classes that cannot be registered and annotations that cannot be resolved; `dumps` refuses their
        values. Raises `ConfigurationError` if two classes have the same import path.
        """
        for cls in classes_in(function):
            self._classes.add(cls)

    def encode_custom(self, value: Any) -> Any:  # noqa: ARG002 - for subclasses that override it
        """Override this to serialize other types: return ``(tag, data)``, or NotImplemented for any other value.

        The tag is any text; the data may be any value of the domain.
        """
        return NotImplemented

    def decode_custom(self, tag: str, data: Any) -> Any:  # noqa: ARG002 - likewise
        """Override this to undo `encode_custom`: return the value, or NotImplemented for any other tag.

        The data may come from anyone: check it. Any exception becomes a `SerializationError`.
        """
        return NotImplemented

    def dumps(self, value: Any) -> bytes:
        """Return the bytes of a value. Raises `SerializationError`, with the path to the part that cannot travel."""
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
        """Return the value that `dumps` wrote. Raises `SerializationError`, and nothing else, for any other bytes."""
        try:
            wire = self.unpack(data)
            return self._decoder.decode(wire) if self.may_hold_tags(data) else wire
        except SerializationError:
            raise
        except Exception as error:  # bytes from anyone can raise anything, for example RecursionError
            raise SerializationError(f"the bytes cannot be read as {self.name}: {error}") from error

    def pack(self, wire: Any) -> bytes:
        """Return the bytes of a value that consists of `native` types, lists and dicts."""
        raise NotImplementedError

    def unpack(self, data: bytes) -> Any:
        """Undo `pack`. It may raise any exception for other bytes."""
        raise NotImplementedError

    def may_hold_tags(self, data: bytes) -> bool:
        """Return False only if the bytes cannot contain a tag; `loads` then does not look for tags."""
        raise NotImplementedError
