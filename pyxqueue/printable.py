"""Text from anyone, made fit to be shown: in a log line, a terminal, an error."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from datetime import date, time, timedelta
from enum import Enum
from functools import partial
from types import BuiltinFunctionType, EllipsisType, FunctionType, MethodType, NoneType, TracebackType
from typing import Any, cast

from .urls import shown

LONGEST = 500
"""Characters of one text that are shown, unless its place has room for more."""
LONGEST_LINE = 2_000
"""Characters of a line of a log, an error or a traceback that are shown."""
QUOTED = 100
"""Characters of what somebody gave, where an error repeats it."""
MAX_TRACEBACK = 8_192
"""Characters of a traceback that are kept: its head, where the first cause is, and its end, where the error is."""
_HEAD = MAX_TRACEBACK // 3
_PLAIN = (str, bytes, int, float, bool, NoneType, Enum, date, time, timedelta, BaseException)
_NAMED = (type, FunctionType, MethodType, BuiltinFunctionType)


def printable(text: str, limit: int = LONGEST) -> str:
    """The text as one line that moves no cursor, forges no second line and hides nothing.

    What is not printable by `str.isprintable` (control characters, newlines, marks that turn the direction of writing)
    is shown as its escape. Of a text longer than `limit` characters the head is shown, and how much is missing.
    """
    if len(text) > limit:
        return f"{printable(text[:limit], limit)}… ({len(text) - limit:,} more characters)"
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)


def printable_lines(text: str, limit: int = LONGEST_LINE) -> str:
    """The same for a text of several lines, such as a traceback, which stay several; `limit` is that of each line."""
    return "\n".join(printable(line.replace("\t", "    "), limit) for line in text.split("\n"))


class Lines(str):
    """Several lines that are fit to be shown below one of a log."""

    __slots__ = ()


def indented(text: str) -> Lines:
    """A traceback as it stands below a line of the log: the text of an exception, which is part of it, may have lines
    that look like those of a log, and none of them begins where one does."""
    return Lines("\n".join(f"  {line}" for line in printable_lines(bounded(text.rstrip())).split("\n")))


def bounded(text: str) -> str:
    """The head and the end of a text of many lines, and how much is left out between them."""
    if len(text) <= MAX_TRACEBACK + QUOTED:  # one that was bounded before stays as it is
        return text
    tail = MAX_TRACEBACK - _HEAD
    return f"{text[:_HEAD]}\n  [… {len(text) - _HEAD - tail:,} characters are left out here …]\n{text[-tail:]}"


def text_of(value: object) -> str:
    """Its `str`, whatever its code does."""
    return _tried(lambda: str(value), value)


def class_of(value: object) -> str:
    """The name of its class, without a look at what that says of itself."""
    return printable(type.__getattribute__(type(value), "__qualname__"), QUOTED)


def quoted(value: object, limit: int = QUOTED) -> str:
    """What somebody gave, where an error repeats it: its `repr`, fit to be shown. It never raises.

    It shows no password: of a URL it is what may be shown, and of an object with parts it is the class alone.
    """
    kind = type(value)
    if issubclass(kind, str) and "://" in (text := str.__str__(cast(str, value))):
        return printable(f"the URL {shown(text)}", limit)
    if kind in (str, bytes) and len(value) > limit:  # type: ignore[arg-type]
        more = len(value) - limit  # type: ignore[arg-type]
        return f"{quoted(value[:limit], 10 * limit)}… ({more:,} more characters)"  # type: ignore[index]
    if issubclass(kind, _PLAIN + _NAMED):
        return printable(_tried(lambda: repr(value), value), limit)
    return f"a {class_of(value)}"


def traceback_of(error: BaseException, frames: TracebackType | EllipsisType | None = ...) -> str:
    """Its traceback, bounded, of its own frames or of those given. It never raises; it may hold anything."""
    at = error.__traceback__ if frames is ... else frames
    show: Callable[..., Any] = partial(traceback.format_exception, type(error), error, at)
    return bounded(_tried(lambda: "".join(show()), error))


def complain(error: BaseException) -> None:
    """Print its traceback where there is no log to write it to."""
    with suppress(Exception):  # nobody reads it
        print(printable_lines(traceback_of(error).rstrip()), file=sys.stderr)  # noqa: T201


def _tried(make: Callable[[], str], value: object) -> str:
    """The text, or what can be said where the value's own code fails."""
    broken = "something"
    try:
        text = make()
        if type(text) is str:
            return text
    except BaseException as error:  # noqa: BLE001 - a class may do anything
        with suppress(BaseException):
            broken = class_of(error)
    return f"<{class_of(value)}: cannot be shown, {broken} in its own code>"
