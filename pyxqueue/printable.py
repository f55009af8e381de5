"""Text from anyone, made fit to be shown: in a log line, a terminal, an error."""

from __future__ import annotations

LONGEST = 500
"""Characters of one text that are shown, unless its place has room for more."""


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


def printable_lines(text: str, limit: int) -> str:
    """The same for a text of several lines, such as a traceback, which stay several; `limit` is that of each line."""
    return "\n".join(printable(line.replace("\t", "    "), limit) for line in text.split("\n"))
