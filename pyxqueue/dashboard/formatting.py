"""How values are written on pages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from ..printable import counted, sized

_UNITS = ((86_400.0, "d"), (3_600.0, "h"), (60.0, "min"), (1.0, "s"), (0.001, "ms"))
NONE = "\N{EN DASH}"


def number(value: int | None) -> str:
    """Return a number with separators; a dash for None."""
    return NONE if value is None else f"{value:,}"


def seconds(value: float | None) -> str:
    """Return a duration in the unit that fits: ``850 ms``, ``3.2 s``, ``12 min``; a dash for None."""
    if value is None:
        return NONE
    for size, unit in _UNITS:
        if value >= size:
            amount = f"{value / size:.0f}" if value >= 10 * size or unit == "ms" else f"{value / size:.1f}"
            return f"{amount.removesuffix('.0')} {unit}"
    return "0 s" if value <= 0 else "< 1 ms"


def ms(value: int | None) -> str:
    """Return a duration that is given in ms; a dash for None."""
    return NONE if value is None else seconds(value / 1000)


def ago(when: int, now: int) -> str:
    """Return how long ago a time is, or in how long it comes; a dash for 0."""
    if not when:
        return NONE
    apart = (now - when) / 1000
    if abs(apart) < 1:
        return "now"
    return f"{seconds(apart)} ago" if apart > 0 else f"in {seconds(-apart)}"


def moment(when: int) -> str:
    """Return a time in UTC, as people and the attribute `datetime` read it; empty for 0 or what is beyond all
    calendars."""
    try:
        return datetime.fromtimestamp(when / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return ""


def size(value: int | None) -> str:
    """Return a number of bytes: ``512 bytes``, ``1.5 MB``; a dash for None."""
    return NONE if value is None else sized(value)


def share(part: int, whole: int) -> str:
    """Return a part of a whole in percent; a dash if the whole is 0."""
    if not whole:
        return NONE
    percent = 100 * part / whole
    if 99.5 <= percent < 100:
        return "> 99 %"
    return "< 0.1 %" if 0 < percent < 0.1 else f"{percent:.1f} %" if 0 < percent < 10 else f"{percent:.0f} %"


def rate(per_second: float) -> str:
    """Return how many there are in a second, or in a minute if these are few."""
    if per_second >= 1 or per_second == 0:
        return f"{per_second:,.0f}/s" if per_second >= 10 or per_second == 0 else f"{per_second:.1f}/s"
    return f"{per_second * 60:.1f}/min"


def middle(text: str, most: int = 40) -> str:
    """Return a text of at most so many characters; "…" stands for its middle: the ends of names say most."""
    if len(text) <= most:
        return text
    left = (most - 1) // 3
    return f"{text[:left]}…{text[left + 1 - most :]}"


def without(text: str, kind: str) -> str:
    """Return the text of an error without the type at its beginning, which is shown beside it."""
    return text.removeprefix(f"{kind}: ")


FILTERS: Mapping[str, Callable[..., Any]] = {
    "number": number,
    "seconds": seconds,
    "ms": ms,
    "ago": ago,
    "moment": moment,
    "size": size,
    "share": share,
    "rate": rate,
    "middle": middle,
    "without": without,
    "counted": counted,
}
