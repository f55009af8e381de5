"""The registered classes of a serializer: enums, dataclasses, attrs classes and named tuples.

A payload names a class; a `ClassTable` is the only place where the name is looked up, so nothing else can be made.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any, Protocol, TypeAlias

import attrs

from ..errors import ConfigurationError
from ..names import qualified_name
from ..printable import quoted
from .errors import OutsideDomainError


class Attributes(dict[str, Any]):
    """The fields of a dataclass or attrs instance. It is a type of its own, so that the path in an error shows them as
    ``.name``."""


Default: TypeAlias = Callable[[Any], Any] | None
"""Makes the default of a field from the instance, which has the fields before it; None for a field without a default.
"""


class ClassCodec(Protocol):
    """Takes the instances of one class apart, and puts them together again.

    `state` returns any value of the domain. `restore` may raise any exception for a value that `state` does not return.
    """

    def state(self, value: Any) -> Any: ...

    def restore(self, state: Any) -> Any: ...


class EnumCodec:
    """Writes a member of an enum as its name."""

    def __init__(self, cls: type[enum.Enum]) -> None:
        self._members = cls.__members__

    def state(self, value: enum.Enum) -> str:
        if self._members.get(value.name) is not value:
            raise OutsideDomainError(f"{quoted(value)} is not one of the members that its class names")
        return value.name

    def restore(self, state: Any) -> enum.Enum:
        return self._members[state]


MAX_COMBINATIONS = 4_096
"""How many members and combinations of one class of flags may be kept because of what was read."""


class FlagCodec:
    """Writes flags as numbers, because a combination does not have a name.

    Python keeps every combination that was made until the process ends. This class limits how many it keeps because of
    what was read, so that no sender can fill the memory.
    """

    def __init__(self, cls: type[enum.Flag]) -> None:
        self._cls = cls

    def state(self, value: enum.Flag) -> int:
        return int(value.value)

    def restore(self, state: Any) -> enum.Flag:
        if type(state) is not int:
            raise TypeError(f"expected the number of a flag, not {type(state).__name__}")
        kept = self._cls._value2member_map_
        before = len(kept)
        value = self._cls(state)
        if before < len(kept) > MAX_COMBINATIONS:
            kept.popitem()  # the newest, which is never a member that the class defines
        return value


class NamedTupleCodec:
    """Writes a named tuple as the list of its fields."""

    def __init__(self, cls: type, fields: tuple[str, ...]) -> None:
        self._cls = cls
        self._fields = fields

    def state(self, value: tuple[Any, ...]) -> list[Any]:
        refuse_extras(value, self._fields)
        return list(value)

    def restore(self, state: Any) -> tuple[Any, ...]:
        if type(state) is not list or len(state) != len(self._fields):
            raise ValueError(f"{self._cls.__qualname__} has the fields {', '.join(self._fields)}")
        value: tuple[Any, ...] = tuple.__new__(self._cls, state)
        return value


class RecordCodec:
    """Writes a dataclass or attrs instance as its fields, and restores exactly these.

    `__init__`, converters and validators do not run again, because they may not accept their own output. A field
    that is missing, because the class got it after the call, has its default.
    """

    def __init__(self, cls: type, defaults: Mapping[str, Default]) -> None:
        self._cls = cls
        self._defaults = defaults
        object.__new__(cls)  # a TypeError for an abstract class, and for one that extends a built-in type with content
        if hidden := slots(cls) - defaults.keys():
            raise TypeError(f"it stores {', '.join(sorted(hidden))} in addition to its fields")

    def state(self, value: Any) -> Attributes:
        refuse_extras(value, self._defaults)
        return Attributes((name, getattr(value, name)) for name in self._defaults)

    def restore(self, state: Any) -> Any:
        if type(state) is not dict or state.keys() - self._defaults.keys():
            raise ValueError(f"{self._cls.__qualname__} has the fields {', '.join(self._defaults)} and no others")
        value: Any = object.__new__(self._cls)
        for name, default in self._defaults.items():
            if name in state:
                content = state[name]
            elif default is not None:
                content = default(value)
            else:
                raise ValueError(f"{self._cls.__qualname__} needs the field {name}")
            object.__setattr__(value, name, content)  # not setattr, because the class may be frozen
        return value


def refuse_extras(value: Any, fields: Iterable[str]) -> None:
    """Raise `OutsideDomainError` if an instance has attributes that are not fields: they would be silently lost.

    Ignored are the names of Python itself (``__orig_class__``), and the value of a `cached_property`.
    """
    attributes: dict[str, Any] = getattr(value, "__dict__", {})
    for name in attributes.keys() - fields:
        if not name.startswith("__") and not isinstance(getattr(type(value), name, None), cached_property):
            raise OutsideDomainError(
                f"this {type(value).__qualname__} has an attribute {quoted(name)} that is not a field and would be "
                "lost: make it a field, or override encode_custom and decode_custom"
            )


def slots(cls: type) -> set[str]:
    """Return the slots of a class and its bases, without those that attrs makes for cached properties."""
    found: set[str] = set()
    for base in cls.__mro__:
        own = vars(base).get("__slots__", ())
        names = (own,) if isinstance(own, str) else own
        made_by_attrs = "__attrs_attrs__" in vars(base)
        found.update(name for name in names if not made_by_attrs or name == "_attrs_cached_hash")
    return found - {"__dict__", "__weakref__"}


def defaults_of(cls: type) -> dict[str, Default]:
    """Return the default of each field of a dataclass or attrs class."""
    if attrs.has(cls):
        return {field.name: _attrs_default(field.default) for field in attrs.fields(cls)}
    return {field.name: _dataclass_default(field) for field in dataclasses.fields(cls)}


def _attrs_default(default: Any) -> Default:
    if default is attrs.NOTHING:
        return None
    if not isinstance(default, attrs.Factory):  # type: ignore[arg-type]
        return lambda _: default
    return default.factory if default.takes_self else lambda _: default.factory()


def _dataclass_default(field: dataclasses.Field[Any]) -> Default:
    if field.default_factory is not dataclasses.MISSING:
        factory = field.default_factory
        return lambda _: factory()
    return None if field.default is dataclasses.MISSING else lambda _: field.default


def named_tuple_fields(cls: type) -> tuple[str, ...]:
    """Return the names of a named tuple's fields; an empty tuple for any other class."""
    fields = getattr(cls, "_fields", ())
    return fields if issubclass(cls, tuple) and isinstance(fields, tuple) else ()


def is_record(cls: type) -> bool:
    """Return whether the class is a dataclass, an attrs class or a named tuple."""
    return dataclasses.is_dataclass(cls) or attrs.has(cls) or bool(named_tuple_fields(cls))


def codec_for(cls: type) -> ClassCodec:
    """Return the codec of a class. Raises `TypeError` for a class that cannot be registered."""
    if issubclass(cls, enum.Flag):
        return FlagCodec(cls)
    if issubclass(cls, enum.Enum):
        return EnumCodec(cls)
    if fields := named_tuple_fields(cls):
        return NamedTupleCodec(cls, fields)
    if attrs.has(cls) or dataclasses.is_dataclass(cls):
        return RecordCodec(cls, defaults_of(cls))
    raise TypeError("it is not a dataclass, attrs class, named tuple or enum")


def can_register(cls: type) -> bool:
    try:
        codec_for(cls)
    except TypeError:
        return False
    return True


class ClassTable:
    """The classes that are registered with one serializer, by class and by tag, which is their import path."""

    def __init__(self) -> None:
        self.by_class: dict[type, tuple[str, ClassCodec]] = {}
        self.by_tag: dict[str, ClassCodec] = {}

    def add(self, cls: type) -> None:
        """Register a class, unless it is registered already.

        Raises `ConfigurationError` for a class that cannot be registered, or if another class has its import path.
        """
        if cls in self.by_class:
            return
        try:
            codec = codec_for(cls)
        except TypeError as error:
            raise ConfigurationError(
                f"{quoted(cls)} cannot be registered: {error}; override encode_custom and decode_custom for it"
            ) from error
        tag = qualified_name(cls)
        if tag in self.by_tag:
            raise ConfigurationError(
                f"two classes are called {tag}: rename one of them; or if its module was loaded twice (run as a script "
                "and imported), load it once"
            )
        self.by_tag[tag] = codec
        self.by_class[cls] = tag, codec
