"""The output of commands: tables for people, JSON for programs."""

from __future__ import annotations

import json
import os
import shlex
import textwrap
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from math import isfinite
from typing import Any, TypeVar

import click

from ..client.views import BatchResult
from ..model.message import Progress
from ..printable import LONGEST_LINE, printable

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

WIDTH = 80
"""The length of a line: the default width of a terminal."""
_NARROWEST = 8
"""The smallest width to which a column is cut."""
_BAR = 10
"""The width of a progress bar."""
_UNITS = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s"))


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
yes_option = click.option("-y", "--yes", is_flag=True, help="Do not ask.")


def page_options(command: Decorated) -> Decorated:
    """Add the options ``--limit`` and ``--after``."""
    after = click.option("--after", default="", metavar="CURSOR", help="Continue the list after this cursor.")
    limit = click.option(
        "--limit",
        type=click.IntRange(min=1),
        default=50,
        show_default=True,
        help="How many are listed.",
    )
    return limit(after(command))


def print_more(following: str) -> None:
    """Print the cursor of the next page, if there is one, to stderr, so that stdout contains the list only."""
    if following:
        say(f"... and more: --after {shlex.quote(following)}", err=True)


def say(line: str = "", *, err: bool = False, colour: str = "") -> None:
    """Print one line of limited length. Line breaks and control characters in it are escaped. `colour` is used on a
    terminal only, and not if ``NO_COLOR`` is set."""
    click.echo(coloured(printable(line, LONGEST_LINE), colour), err=err)


def coloured(text: str, colour: str) -> str:
    """Return the text with marks for its colour, unless ``NO_COLOR`` is set. Click leaves them out in a pipe."""
    return click.style(text, fg=colour) if colour and not os.environ.get("NO_COLOR") else text


def say_wrapped(line: str, indent: str = "", *, colour: str = "") -> None:
    """Print a text on as many lines as it needs."""
    text = printable(line, LONGEST_LINE)
    for part in textwrap.wrap(text, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False):
        say(part, colour=colour)


def print_json(value: Any) -> None:
    text = json.dumps(value, indent=2, ensure_ascii=False)
    if not text.replace("\n", "").isprintable():
        text = json.dumps(value, indent=2)
    click.echo(text)


def cut(text: str, width: int = WIDTH) -> str:
    """Return the text as one line of at most `width` characters; "…" stands for the rest."""
    text = printable(text, width + 1)[: width + 1]
    return text if len(text) <= width else f"{text[: width - 1]}…"


def print_table(head: Sequence[str], rows: Sequence[Sequence[object]], elastic: Collection[str] = ()) -> None:
    """Print a table, as `table` returns it."""
    for line in table(head, rows, elastic):
        say(line)


def table(head: Sequence[str], rows: Sequence[Sequence[object]], elastic: Collection[str] = ()) -> list[str]:
    """Return the lines of a table with columns as wide as their widest cell; numbers are aligned to the right.

    Columns named in `elastic` are made narrower, the widest first, until the lines fit a terminal.
    """
    lines = [list(head), *([f"{cell:,}" if type(cell) is int else str(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    to_right = [all(isinstance(row[column], int) for row in rows) for column in range(len(head))]
    stretched = [column for column, name in enumerate(head) if name in elastic]
    while stretched and sum(widths) + 2 * len(widths) - 2 > WIDTH:
        widest = max(stretched, key=widths.__getitem__)
        if widths[widest] <= _NARROWEST:
            break
        widths[widest] -= 1
    return [
        "  ".join(
            cell.rjust(width) if right else cut(cell, width).ljust(width)
            for cell, width, right in zip(line, widths, to_right, strict=True)
        ).rstrip()
        for line in lines
    ]


def cut_front(text: str, width: int) -> str:
    """Return the last `width` characters of a text: the end of a task's name says most."""
    text = printable(text)
    return text if len(text) <= width else f"…{text[1 - width :]}"


def bar(progress: Progress | None) -> str:
    """Return progress as a bar with a percentage and its message; without a total as a number."""
    if progress is None:
        return ""
    done, total = progress.done, progress.total
    if not total or not isfinite(part := done / total):
        return f"{done:g} {progress.message}".rstrip()
    part = min(1.0, max(0.0, part))
    full = int(part * _BAR)
    return f"{'█' * full}{'░' * (_BAR - full)} {part:4.0%} {progress.message}".rstrip()


def confirm(question: str, *, yes: bool, err: bool = False) -> None:
    """Ask the user to confirm a change, unless the command line has ``--yes``. `err`: ask on stderr."""
    if not yes:
        click.confirm(printable(question), abort=True, err=err)


def print_result(result: BatchResult, participle: str) -> None:
    """Print how many tasks were changed, and why the others were not; if there are any, exit with code 1."""
    if result.done or not result.refused:
        say(f"{participle}: {result.done:,}")
    for refusal in result.refused.values():
        say(str(refusal), err=True)
    if result.refused:
        click.get_current_context().exit(1)


def duration(ms: int) -> str:
    """Return a duration in the largest unit that fits, with one decimal: ``3.2 s``, ``1.5 h``."""
    for size, unit in _UNITS:
        if ms >= size:
            return f"{ms / size:.1f} {unit}"
    return f"{ms} ms"


def age(ms: int) -> str:
    """Return a duration in the largest unit that fits, short: ``33 s``, ``1.5 h``, ``47 min``."""
    for size, unit in _UNITS:
        if ms >= size:
            exact = ms >= 10 * size or size == 1_000
            return f"{ms // size} {unit}" if exact else f"{ms / size:.1f}".removesuffix(".0") + f" {unit}"
    return f"{ms} ms"


def moment(ms: int) -> str | None:
    """Return a time of the store's clock in UTC; None for 0, which means never."""
    try:
        return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds") if ms else None
    except (ValueError, OverflowError, OSError):
        return "after the year 9999"


def showable(value: Any) -> Any:
    """Return the value if JSON can represent it, else its repr."""
    try:
        json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        pass
    else:
        return value
    try:
        return repr(value)
    except ValueError:  # an int with more digits than Python turns into text
        return f"<{type(value).__name__} too long to show>"
