"""Makes text of unknown origin printable, for log lines, terminals and errors."""

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
"""The default limit for a text, in characters."""
LONGEST_LINE = 2_000
"""The limit for a line of a log, an error or a traceback, in characters."""
QUOTED = 100
"""The limit for a value that an error repeats, in characters."""
MAX_TRACEBACK = 8_192
"""The limit for a traceback, in characters: its beginning (the first cause) and its end (the error) are kept."""
_HEAD = MAX_TRACEBACK // 3
_PLAIN = (str, bytes, int, float, bool, NoneType, Enum, date, time, timedelta, BaseException)
_NAMED = (type, FunctionType, MethodType, BuiltinFunctionType)


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural unless it is one: ``"1 task"``, ``"1,200 tasks"``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


_UNITS = ((2**30, "GB"), (2**20, "MB"), (2**10, "KB"))


def sized(number: int) -> str:
    """Return a number of bytes: ``"512 bytes"``, ``"1.5 MB"``."""
    for unit, name in _UNITS:
        if number >= unit:
            return f"{number / unit:,.1f} {name}"
    return f"{number:,} bytes"


def printable(text: str, limit: int = LONGEST) -> str:
    """Return the text as one line that cannot move the cursor, begin a second line or hide text.

    Characters that `str.isprintable` refuses (control characters, newlines, marks of writing direction) are escaped.
    A text longer than `limit` characters is cut, with a note of how many are missing.
    """
    if len(text) > limit:
        return f"{printable(text[:limit], limit)}… ({len(text) - limit:,} more characters)"
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)


def printable_lines(text: str, limit: int = LONGEST_LINE) -> str:
    """Make each line of a text printable, and keep the line breaks. `limit` is the limit of each line."""
    return "\n".join(printable(line.replace("\t", "    "), limit) for line in text.split("\n"))


class Lines(str):
    """Printable lines, to be shown below a log line."""

    __slots__ = ()


def indented(text: str) -> Lines:
    """Indent a traceback for the log. The text of an exception may contain lines that look like log lines, but none of
    them begins in the first column."""
    return Lines("\n".join(f"  {line}" for line in printable_lines(bounded(text.rstrip())).split("\n")))


def bounded(text: str) -> str:
    """Return the beginning and the end of a long text, with a note of how much is left out between them."""
    if len(text) <= MAX_TRACEBACK + QUOTED:  # one that was bounded before stays as it is
        return text
    tail = MAX_TRACEBACK - _HEAD
    return f"{text[:_HEAD]}\n  [… {len(text) - _HEAD - tail:,} characters are left out here …]\n{text[-tail:]}"


def text_of(value: object) -> str:
    """Return ``str(value)``, or a description if that raises."""
    return _tried(lambda: str(value), value)


def class_of(value: object) -> str:
    """Return the name of the value's class, without running code of the class."""
    return printable(type.__getattribute__(type(value), "__qualname__"), QUOTED)


def quoted(value: object, limit: int = QUOTED) -> str:
    """Return the `repr` of a value for an error, printable and of limited length. It never raises.

    It does not show passwords: a URL is shown without its login, and an object with parts only by its class.
    """
    kind = type(value)
    if issubclass(kind, str) and "://" in (text := str.__str__(cast(str, value))):
        return printable(f"the URL {shown(text)}", limit)
    if kind in (str, bytes) and len(value) > limit:  # type: ignore[arg-type]
        more = len(value) - limit  # type: ignore[arg-type]
        return f"{quoted(value[:limit], 10 * limit)}… ({more:,} more characters)"  # type: ignore[index]
    if issubclass(kind, _PLAIN + _NAMED):
        return printable(_tried(lambda: repr(value), value), limit)
    name = class_of(value)
    return f"{'an' if name[:1] in set('AEIOaeio') else 'a'} {name}"


def traceback_of(error: BaseException, frames: TracebackType | EllipsisType | None = ...) -> str:
    """Return the traceback of an error, of limited length, with its own frames or those given. It never raises, but the
    text is not yet printable."""
    at = error.__traceback__ if frames is ... else frames
    show: Callable[..., Any] = partial(traceback.format_exception, type(error), error, at)
    return bounded(_tried(lambda: "".join(show()), error))


def complain(error: BaseException) -> None:
    """Print to stderr the traceback of an error that cannot be logged."""
    with suppress(Exception):  # stderr may be closed
        print(printable_lines(traceback_of(error).rstrip()), file=sys.stderr)  # noqa: T201


def _tried(make: Callable[[], str], value: object) -> str:
    """Return the text that `make` returns, or a description if the value's own code raises."""
    broken = "something"
    try:
        text = make()
        if type(text) is str:
            return text
    except BaseException as error:  # noqa: BLE001 - a class may do anything
        with suppress(BaseException):
            broken = class_of(error)
    return f"<{class_of(value)}: cannot be shown, {broken} in its own code>"
