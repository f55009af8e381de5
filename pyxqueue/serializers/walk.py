"""Converts values by their exact type, for JSON and MessagePack: before they are written and after they are read.

msgspec alone would silently turn a tuple into a list, an enum into its value and a key 1 into "1". So an `Encoder`
visits every value first. A value of a type that the format has is passed on, the same object; a value of a type that
has a tag is wrapped in it; any other is an error that says where the value is.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any, TypeAlias

from ..errors import SerializationError
from ..printable import quoted
from .classes import Attributes, ClassTable, can_register
from .errors import OutsideDomainError
from .tags import COLLECTIONS, DECODERS, INT_MAX, INT_MIN, LEAVES, MARK, check_hashes, is_encodable

MAX_DEPTH = 200
"""How deep containers may be nested. It is far below Python's own limit, so that a worker that has less stack left than
the caller can still read what the caller wrote."""

_Convert: TypeAlias = Callable[[Any, int], Any]


class Encoder:
    """Converts a value of the domain into one that the format can write.

    `native`: the types that the format writes as they are. `hook`: `TaggedSerializer.encode_custom`. A `careful`
    encoder also tags each text with lone surrogates, which the formats refuse.
    """

    def __init__(
        self, native: frozenset[type], classes: ClassTable, hook: Callable[[Any], Any], *, careful: bool
    ) -> None:
        self._native = native - {str} if careful else native
        self._careful = careful
        self._classes = classes
        self._hook = hook
        self._by_type: Mapping[type, _Convert] = {
            **dict.fromkeys(LEAVES, self._leaf),
            **dict.fromkeys(COLLECTIONS, self._collection),
            int: self._int,
            float: self._float,
            str: self._text,
            list: self._list,
            dict: self._dict,
            Attributes: self._attributes,
        }

    def encode(self, value: Any, depth: int = 0) -> Any:
        """Return the value itself if it and all its parts are native, else a copy with tags.

        Raises `OutsideDomainError` for a value that is neither native nor has a tag.
        """
        kind = type(value)
        if kind in self._native:
            return value
        if depth > MAX_DEPTH:
            raise OutsideDomainError(f"nested more than {MAX_DEPTH} levels deep, or it contains itself")
        convert: _Convert = self._by_type.get(kind, self._other)
        return convert(value, depth)

    def _list(self, value: list[Any], depth: int) -> list[Any]:
        native, wire, index = self._native, value, 0
        try:
            for index, item in enumerate(value):
                kind = type(item)
                # What `encode` does, without the call: a list of numbers takes a third of the time. Also in `_dict`.
                if kind in native or (kind is int and INT_MIN <= item <= INT_MAX) or (kind is float and isfinite(item)):
                    continue
                new = self.encode(item, depth + 1)
                if new is not item:
                    if wire is value:
                        wire = value.copy()
                    wire[index] = new
        except OutsideDomainError as error:
            error.steps.append(f"[{index}]")
            raise
        return wire

    def _dict(self, value: dict[Any, Any], depth: int) -> dict[Any, Any]:
        native, wire = self._native, value
        key: Any = ""
        for key in value:
            if type(key) is not str or (self._careful and not is_encodable(key)):
                return self._pairs(value, depth)
        if len(value) == 1 and key.startswith(MARK):
            return self._pairs(value, depth)
        try:
            for key, item in value.items():
                kind = type(item)
                if kind in native or (kind is int and INT_MIN <= item <= INT_MAX) or (kind is float and isfinite(item)):
                    continue
                new = self.encode(item, depth + 1)
                if new is not item:
                    if wire is value:
                        wire = value.copy()
                    wire[key] = new
        except OutsideDomainError as error:
            error.steps.append(f"[{reprlib.repr(key)}]")
            raise
        return wire

    def _pairs(self, value: dict[Any, Any], depth: int) -> dict[str, Any]:
        check_hashes(value)
        pairs: list[Any] = []
        step = ""
        try:
            for key, item in value.items():
                step = ".keys()"
                wire_key = self.encode(key, depth + 1)
                step = f"[{reprlib.repr(wire_key)}]"
                pairs.append([wire_key, self.encode(item, depth + 1)])
        except OutsideDomainError as error:
            error.steps.append(step)
            raise
        return {MARK + "dict": pairs}

    def _attributes(self, value: Attributes, depth: int) -> dict[str, Any]:
        wire: dict[str, Any] = {}
        name = ""
        try:
            for name, item in value.items():
                wire[name] = self.encode(item, depth + 1)
        except OutsideDomainError as error:
            error.steps.append(f".{name}")
            raise
        return wire

    def _collection(self, value: Any, depth: int) -> dict[str, Any]:
        if type(value) is not tuple:
            check_hashes(value)
        return {MARK + COLLECTIONS[type(value)]: self._list(list(value), depth)}

    def _leaf(self, value: Any, _: int) -> dict[str, Any]:
        leaf = LEAVES[type(value)]
        return {MARK + leaf.tag: leaf.encode(value)}

    def _int(self, value: int, depth: int) -> Any:
        return value if INT_MIN <= value <= INT_MAX else self._leaf(value, depth)

    def _float(self, value: float, depth: int) -> Any:
        return value if isfinite(value) else self._leaf(value, depth)

    def _text(self, value: str, depth: int) -> Any:
        return value if is_encodable(value) else self._leaf(value, depth)

    def _other(self, value: Any, depth: int) -> dict[str, Any]:
        """Encode a value of a registered class, or one that the hook knows."""
        try:
            tag, state = self._take_apart(value)
        except OutsideDomainError:
            raise
        except Exception as error:
            raise OutsideDomainError(
                f"a value of type {type(value).__qualname__} could not be taken apart: {quoted(error, 300)}"
            ) from error
        return {MARK + tag: self.encode(state, depth + 1)}

    def _take_apart(self, value: Any) -> tuple[str, Any]:
        if known := self._classes.by_class.get(type(value)):
            tag, codec = known
            return tag, codec.state(value)
        custom = self._hook(value)
        if custom is NotImplemented:
            raise OutsideDomainError(_remedy(value))
        tag, state = custom
        return MARK + tag, state


def _remedy(value: Any) -> str:
    """Return the error for a value of an unknown type, with the best of the ways to serialize it."""
    cls = type(value)
    name = cls.__qualname__
    if instead := vars(cls).get("_to_send_instead"):
        return f"a value of type {name} cannot travel: {instead}"
    if can_register(cls):
        return (
            f"the class {name} is not registered: annotate the task's parameter or return type with it, "
            f"or register it, TaskQueue(serializer=JSONSerializer(types=[{name}]))"
        )
    custom = (
        "override encode_custom and decode_custom in a subclass of JSONSerializer and pass it as "
        "TaskQueue(serializer=...)"
    )
    for base in cls.__mro__[1:]:
        if base in LEAVES or base in COLLECTIONS or base in (list, dict):
            return f"a value of type {name} would come back as a plain {base.__name__}: convert it to one, or {custom}"
    return (
        f"a value of type {name} cannot travel: pass plain data from which the task can make it; or make its class a "
        f"dataclass and annotate the task with it; or {custom}"
    )


class Decoder:
    """Replaces the tags in what the format has read by the values they stand for. It changes the containers in place.

    `hook`: `TaggedSerializer.decode_custom`.
    """

    def __init__(self, classes: ClassTable, hook: Callable[[str, Any], Any]) -> None:
        self._classes = classes
        self._hook = hook

    def decode(self, wire: Any) -> Any:
        """Return the value. Raises `SerializationError` for a tag that is unknown or has the wrong data."""
        if type(wire) is list:
            for index, item in enumerate(wire):
                if type(item) is list or type(item) is dict:
                    wire[index] = self.decode(item)
        elif type(wire) is dict:
            for key, item in wire.items():
                if type(item) is list or type(item) is dict:
                    wire[key] = self.decode(item)
            if len(wire) == 1:
                ((key, data),) = wire.items()
                if type(key) is str and key.startswith(MARK):
                    return self._tagged(key.removeprefix(MARK), data)
        return wire

    def _tagged(self, tag: str, data: Any) -> Any:
        try:
            if decode := DECODERS.get(tag):
                return decode(data)
            if codec := self._classes.by_tag.get(tag):
                return codec.restore(data)
            value = self._hook(tag.removeprefix(MARK), data) if tag.startswith(MARK) else NotImplemented
        except Exception as error:
            raise SerializationError(f"the data of the tag {MARK}{tag:.100} cannot be read: {error!s:.300}") from error
        if value is NotImplemented:
            raise SerializationError(
                f"the tag {MARK}{tag:.100} is unknown here: if it is a class, register it; "
                "if encode_custom wrote it, override decode_custom"
            )
        return value
