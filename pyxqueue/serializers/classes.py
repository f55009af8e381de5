"""Classes that may travel: enums, dataclasses, attrs classes and named tuples, each registered beforehand.

Bytes only ever name a class; what the name means is looked up here and nowhere else.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any, Protocol

import attrs

from ..errors import ConfigurationError
from ..names import qualified_name
from ..printable import quoted
from .errors import OutsideDomainError


class Attributes(dict[str, Any]):
    """The fields of a record. A type of its own, so that an error's path can show them as ``.name``."""


class ClassCodec(Protocol):
    """Takes the instances of one class apart, and puts them together again.

    `state` may hold any values of the domain. `restore` raises anything for a state that is not one.
    """

    def state(self, value: Any) -> Any: ...

    def restore(self, state: Any) -> Any: ...


class EnumCodec:
    """A member travels as its name."""

    def __init__(self, cls: type[enum.Enum]) -> None:
        self._members = cls.__members__

    def state(self, value: enum.Enum) -> str:
        if self._members.get(value.name) is not value:
            raise OutsideDomainError(f"{quoted(value)} is not one of the members that its class names")
        return value.name

    def restore(self, state: Any) -> enum.Enum:
        return self._members[state]


MAX_COMBINATIONS = 4_096
"""Combinations of one class of flags that Python may keep for what was read here."""


class FlagCodec:
    """Flags travel as numbers: a combination has no name of its own.

    Python keeps every combination that was ever made for the life of the process. Of what is read here it keeps some
    thousands, so that no sender can fill the memory.
    """

    def __init__(self, cls: type[enum.Flag]) -> None:
        self._cls = cls

    def state(self, value: enum.Flag) -> int:
        return int(value.value)

    def restore(self, state: Any) -> enum.Flag:
        if type(state) is not int:
            raise TypeError(f"a flag is a number, not a {type(state).__name__}")
        kept = self._cls._value2member_map_
        before = len(kept)
        value = self._cls(state)
        if before < len(kept) > MAX_COMBINATIONS:
            kept.popitem()  # the newest, so never a member that the class names
        return value


class NamedTupleCodec:
    """A named tuple travels as the list of its parts."""

    def __init__(self, cls: type, fields: tuple[str, ...]) -> None:
        self._cls = cls
        self._fields = fields

    def state(self, value: tuple[Any, ...]) -> list[Any]:
        refuse_extras(value, self._fields)
        return list(value)

    def restore(self, state: Any) -> tuple[Any, ...]:
        if type(state) is not list or len(state) != len(self._fields):
            raise ValueError(f"{self._cls.__qualname__} has the parts {', '.join(self._fields)}")
        value: tuple[Any, ...] = tuple.__new__(self._cls, state)
        return value


class RecordCodec:
    """A dataclass or attrs instance travels as its fields, and comes back with exactly these.

    `__init__`, converters and validators do not run again: their own output is not always a valid input. A field
    that is missing, because the class got it later, takes its default.
    """

    def __init__(self, cls: type, defaults: Mapping[str, Callable[[Any], Any]]) -> None:
        self._cls = cls
        self._defaults = defaults
        object.__new__(cls)  # a TypeError for what is abstract, or extends a builtin type and holds its content too
        if hidden := slots(cls) - defaults.keys():
            raise TypeError(f"it keeps {', '.join(sorted(hidden))} outside of its fields")

    def state(self, value: Any) -> Attributes:
        refuse_extras(value, self._defaults)
        return Attributes((name, getattr(value, name)) for name in self._defaults)

    def restore(self, state: Any) -> Any:
        if type(state) is not dict or state.keys() - self._defaults.keys():
            raise ValueError(f"{self._cls.__qualname__} has the fields {', '.join(self._defaults)} and no others")
        value: Any = object.__new__(self._cls)
        for name, default in self._defaults.items():
            # Not setattr: the class may be frozen.
            object.__setattr__(value, name, state[name] if name in state else default(value))
        return value


def refuse_extras(value: Any, fields: Iterable[str]) -> None:
    """Refuse an instance that holds more than its fields: the rest would be lost without a word.

    Left alone are names of Python's own (``__orig_class__``), and what a `cached_property` can compute again.
    """
    held: dict[str, Any] = getattr(value, "__dict__", {})
    for name in held.keys() - fields:
        if not name.startswith("__") and not isinstance(getattr(type(value), name, None), cached_property):
            raise OutsideDomainError(
                f"this {type(value).__qualname__} has an attribute {quoted(name)} that is not a field and would be "
                "lost: make it a field, or override encode_custom and decode_custom"
            )


def slots(cls: type) -> set[str]:
    """The slots of a class and its bases, but for those attrs makes for cached properties."""
    found: set[str] = set()
    for base in cls.__mro__:
        own = vars(base).get("__slots__", ())
        names = (own,) if isinstance(own, str) else own
        made_by_attrs = "__attrs_attrs__" in vars(base)
        found.update(name for name in names if not made_by_attrs or name == "_attrs_cached_hash")
    return found - {"__dict__", "__weakref__"}


def dataclass_defaults(cls: type) -> dict[str, Callable[[Any], Any]]:
    """For each field a function of the instance so far; it raises where the field has no default."""
    defaults: dict[str, Callable[[Any], Any]] = {}
    for field in dataclasses.fields(cls):
        if field.default is not dataclasses.MISSING:
            defaults[field.name] = _constant(field.default)
        elif field.default_factory is not dataclasses.MISSING:
            defaults[field.name] = _made_by(field.default_factory)
        else:
            defaults[field.name] = _required(cls, field.name)
    return defaults


def attrs_defaults(cls: type) -> dict[str, Callable[[Any], Any]]:
    """The same for an attrs class; its factories may take the instance so far."""
    defaults: dict[str, Callable[[Any], Any]] = {}
    for field in attrs.fields(cls):
        default: Any = field.default
        if default is attrs.NOTHING:
            defaults[field.name] = _required(cls, field.name)
        elif not isinstance(default, attrs.Factory):  # type: ignore[arg-type]
            defaults[field.name] = _constant(default)
        else:
            defaults[field.name] = default.factory if default.takes_self else _made_by(default.factory)
    return defaults


def _constant(value: Any) -> Callable[[Any], Any]:
    return lambda _: value


def _made_by(factory: Callable[[], Any]) -> Callable[[Any], Any]:
    return lambda _: factory()


def _required(cls: type, name: str) -> Callable[[Any], Any]:
    def fail(_: Any) -> Any:
        raise ValueError(f"{cls.__qualname__} needs a {name}")

    return fail


def named_tuple_fields(cls: type) -> tuple[str, ...]:
    """The names of a named tuple's parts; empty for any other class."""
    fields = getattr(cls, "_fields", ())
    return fields if issubclass(cls, tuple) and isinstance(fields, tuple) else ()


def is_record(cls: type) -> bool:
    """True for a dataclass, an attrs class and a named tuple."""
    return dataclasses.is_dataclass(cls) or attrs.has(cls) or bool(named_tuple_fields(cls))


def codec_for(cls: type) -> ClassCodec:
    """The codec of a class. Raises `TypeError` for a class that has none."""
    if issubclass(cls, enum.Flag):
        return FlagCodec(cls)
    if issubclass(cls, enum.Enum):
        return EnumCodec(cls)
    if fields := named_tuple_fields(cls):
        return NamedTupleCodec(cls, fields)
    if attrs.has(cls):
        return RecordCodec(cls, attrs_defaults(cls))
    if dataclasses.is_dataclass(cls):
        return RecordCodec(cls, dataclass_defaults(cls))
    raise TypeError("it is not a dataclass, attrs class, named tuple or enum")


def can_travel(cls: type) -> bool:
    """True for a class that can be registered."""
    try:
        codec_for(cls)
    except TypeError:
        return False
    return True


class ClassTable:
    """The classes one serializer knows, by class and by the name they have on the wire."""

    def __init__(self) -> None:
        self._by_class: dict[type, tuple[str, ClassCodec]] = {}
        self._by_tag: dict[str, ClassCodec] = {}

    def add(self, cls: type) -> None:
        """Make a class known. Once is enough, and more do no harm.

        Raises `ConfigurationError` for a class that cannot travel, or whose name belongs to another class.
        """
        if cls in self._by_class:
            return
        try:
            codec = codec_for(cls)
        except TypeError as error:
            raise ConfigurationError(
                f"{quoted(cls)} cannot be registered, {error}: override encode_custom and decode_custom for it"
            ) from error
        tag = qualified_name(cls)
        if tag in self._by_tag:
            raise ConfigurationError(
                f"two classes are called {tag}: rename one, or see to it that its module is not loaded twice "
                "(once as a script, once imported)"
            )
        self._by_tag[tag] = codec
        self._by_class[cls] = tag, codec

    def of(self, cls: type) -> tuple[str, ClassCodec] | None:
        return self._by_class.get(cls)

    def named(self, tag: str) -> ClassCodec | None:
        return self._by_tag.get(tag)
