"""What is shown of arguments, results, headers and errors: text without the secrets in it.

Values are read as what they are on the wire, JSON or MessagePack. Nothing is built from them but text, so whatever
they say, no code runs: a value of any other serializer is shown as its size and its first bytes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec
from attrs import define, field, frozen

from ..log import get_logger
from ..printable import class_of

log = get_logger("pyxqueue.dashboard")

HIDDEN = "•••"
"""The text that replaces a secret."""
MAX_TEXT = 65_536
"""The longest text of one value, in characters."""
_NAME = 200
_DEEPEST = 50
_FEWEST = 4
"""A secret of fewer characters is not looked for in other texts."""
_HEX = 64
_LARGEST = 4_096
"""A number of more bits is not written out."""

Redact: TypeAlias = Callable[[str, Mapping[str, Any]], Mapping[str, Any]]
"""Called with the name of a task and its arguments by parameter; returns those to show."""

_ANYWHERE = re.compile(
    r"passw|passphrase|secret|token|apikey|authori[sz]ation|cookie|credential|session|iban", re.IGNORECASE
)
_WORDS = frozenset(("auth", "card", "cvc", "cvv", "jwt", "key", "keys", "otp", "pin", "pwd", "signature", "ssn"))
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_BEFORE_VALUE = re.compile(
    r"""(?P<name>[\w-]{1,64})(?P<sign>["']?\s{0,3}[=:]\s{0,3})"""
    r"""(?P<value>(?:Bearer|Basic|Token)\s+[^\s"',;&]+|"(?:[^"\\]|\\.){0,1000}"?|'(?:[^'\\]|\\.){0,1000}'?|[^\s"',;&)}\]]+)""",
    re.IGNORECASE,
)
_LOGIN = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]{0,20}://)[^\s/@\"']{1,200}@", re.IGNORECASE)


def is_secret(name: str) -> bool:
    """Return whether a value of this name is a secret: ``api_key``, ``userPassword``, ``Set-Cookie``."""
    name = name[:200]
    if _ANYWHERE.search(name.replace("_", "").replace("-", "")):
        return True
    return any(word.lower() in _WORDS for word in _WORD.findall(name))


@frozen
class Shown:
    """A value as text."""

    name: str
    value: str
    redacted: bool = False
    """Whether it is hidden as a whole."""


@define
class Redactor:
    """Shows the values of one task. It remembers the secrets that it meets, to hide them in the texts of errors too."""

    _redact: Redact | None = None
    _secrets: set[str] = field(factory=set, init=False)
    hid: bool = field(default=False, init=False)
    """Whether it has hidden or left out a part of the values so far."""

    @property
    def hides(self) -> bool:
        """Whether the application hides arguments, so that bytes that cannot be read must not be shown either."""
        return self._redact is not None

    def arguments(
        self, task: str, args: Sequence[Any], kwargs: Mapping[str, Any], names: Sequence[str], limit: int = MAX_TEXT
    ) -> list[Shown]:
        """Return the arguments of a call by parameter. `names`: those of its positional arguments, as far as they are
        known."""
        positions = [names[n] if n < len(names) else f"args[{n}]" for n in range(len(args))]
        given: Mapping[str, Any] = {**dict(zip(positions, args, strict=True)), **kwargs}
        if self._redact is not None:
            try:
                kept = dict(self._redact(task, given))
            except Exception as error:  # noqa: BLE001 - the application's own code; what it meant to hide stays hidden
                log.warning("the redact= of the dashboard failed with %s: the arguments of %s are hidden",
                            class_of(error), task)  # fmt: skip
                kept = dict.fromkeys(given, HIDDEN)
            for name in given.keys() - kept.keys():
                self._note(given[name])
            for name, value in kept.items():
                if name in given and value is not given[name]:
                    self._note(given[name])
            given = kept
        return [self.value(str(name), value, limit) for name, value in given.items()]

    def value(self, name: str, value: Any, limit: int = MAX_TEXT) -> Shown:
        """Return a value with this name as text."""
        name, secret = self.text(name, _NAME), is_secret(name)
        if secret:
            self._note(value)
            return Shown(name, HIDDEN, redacted=True)
        pieces, length = [], 0
        for piece in self._pieces(value, _DEEPEST):
            pieces.append(piece)
            length += len(piece)
            if length > limit:
                break
        text = "".join(pieces)
        return Shown(name, text if length <= limit else f"{text[:limit]}…")

    def text(self, text: str, limit: int = MAX_TEXT) -> str:
        """Return a text of any origin, such as that of an error. Logins, values behind the name of a secret, and
        secrets that were met before are removed."""
        known = text[: 2 * limit]  # cut behind what is shown, so that no half of a secret is left at its end
        for secret in sorted(self._secrets, key=len, reverse=True):
            known = known.replace(secret, HIDDEN)
        known = _LOGIN.sub(rf"\g<scheme>{HIDDEN}@", known)
        known = _BEFORE_VALUE.sub(_without_value, known)
        self.hid = self.hid or known != text[: 2 * limit] or len(text) > limit
        return known if len(known) <= limit and len(text) <= limit else f"{known[:limit]}…"

    def _pieces(self, value: Any, depth: int) -> Iterator[str]:
        """Yield the text of a value in pieces, so that a text that is too long is never built."""
        if depth == 0:
            self.hid = True
            yield "…"
        elif isinstance(value, dict):
            if len(value) == 1 and (tag := next(iter(value))).__class__ is str and tag[:1] == "!":
                yield from self._tagged(tag[1:], value[tag], depth)
            elif len(value) == 1 and value.keys() <= _RESULTS.keys():
                (kind,) = value
                yield f"<{_RESULTS[kind]} of {self.text(_first(value[kind]), _NAME)}>"
            else:
                yield from self._pairs(value.items(), depth)
        elif isinstance(value, list):
            yield from self._items("[", value, "]", depth)
        elif isinstance(value, str):
            yield repr(self.text(value))
        elif isinstance(value, bytes | bytearray):
            yield binary(bytes(value))
        else:
            yield _plain(value)

    def _tagged(self, tag: str, data: Any, depth: int) -> Iterator[str]:
        """Yield the text of a value that JSON does not have, as Python writes it."""
        if tag in _BRACKETS and isinstance(data, list):
            before, after = _BRACKETS[tag]
            yield from self._items(before, data, after, depth)
        elif tag == "dict" and isinstance(data, list) and all(isinstance(one, list) and len(one) == 2 for one in data):
            yield from self._pairs(data, depth)
        elif tag in _AS_THEY_ARE and isinstance(data, str):
            yield self.text(data)
        else:
            yield f"{self.text(tag, 200)}("
            yield from self._pieces(data, depth - 1)
            yield ")"

    def _items(self, before: str, items: Sequence[Any], after: str, depth: int) -> Iterator[str]:
        yield before
        for number, item in enumerate(items):
            if number:
                yield ", "
            yield from self._pieces(item, depth - 1)
        yield after

    def _pairs(self, pairs: Any, depth: int) -> Iterator[str]:
        yield "{"
        for number, (key, value) in enumerate(pairs):
            if number:
                yield ", "
            yield from self._pieces(key, depth - 1)
            yield ": "
            if isinstance(key, str) and is_secret(key):
                self._note(value)
                yield HIDDEN
            else:
                yield from self._pieces(value, depth - 1)
        yield "}"

    def _note(self, value: Any) -> None:
        """Remember the texts and the numbers in a value that is hidden."""
        self.hid = True
        waiting, left = [value], 1_000
        while waiting and left:
            one, left = waiting.pop(), left - 1
            if isinstance(one, int) and not isinstance(one, bool) and one.bit_length() <= _LARGEST:
                one = str(one)  # as it stands in a text
            if isinstance(one, str) and len(one) >= _FEWEST:
                self._secrets.add(one)
                self._secrets.add(repr(one)[1:-1])
            elif isinstance(one, dict):
                waiting += one.values()
            elif isinstance(one, list):
                waiting += one


_NO_NAMES = ("Error", "Exception", "Warning")
"""How the names of exceptions end: ``KeyError: 'id'`` is no key."""
_BRACKETS = {"tuple": ("(", ")"), "set": ("{", "}"), "frozenset": ("frozenset({", "})")}
_RESULTS = {"$result": "the result", "$results": "the results"}
"""How a call says that an argument is the result of other tasks."""
_AS_THEY_ARE = frozenset(("datetime", "date", "time", "decimal", "uuid"))


def unpacked(serializer: str, data: bytes) -> Any:
    """Decode JSON or MessagePack, and leave the tags for other types as they are. Raises `ValueError` for bytes that
    cannot be decoded, and for another format."""
    try:
        if serializer == "json":
            return msgspec.json.decode(data)
        if serializer == "msgpack":
            return msgspec.msgpack.decode(data)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise ValueError(f"it cannot be read as {serializer}: {error}") from None
    raise ValueError(f"the dashboard does not decode {serializer[:50]}")


def _first(value: Any) -> str:
    """Return the id in what stands for a result, or the beginning of the ids of several."""
    first = value[0] if isinstance(value, list) and value else value
    return first if isinstance(first, str) else "another task"


def binary(data: bytes) -> str:
    """Return a text about bytes: how many there are, and the first of them."""
    head = data[:_HEX].hex(" ")
    return f"<{len(data):,} bytes: {head}{' …' if len(data) > _HEX else ''}>"


def _plain(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > _LARGEST:
        return f"<a number of {value.bit_length():,} bits>"
    return repr(value)


def _without_value(found: re.Match[str]) -> str:
    name = found["name"]
    if name.endswith(_NO_NAMES) or not is_secret(name):
        return found[0]
    return f"{name}{found['sign']}{HIDDEN}"
