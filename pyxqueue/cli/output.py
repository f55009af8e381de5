"""How answers look: tables for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

import click

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

_UNITS = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s"))


def json_option(command: Decorated) -> Decorated:
    return click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")(command)


def print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Columns as wide as their widest cell; numbers to the right."""
    lines = [list(head), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    to_right = [all(isinstance(row[column], int) for row in rows) for column in range(len(head))]
    for line in lines:
        cells = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, to_right, strict=True)
        ]
        click.echo("  ".join(cells).rstrip())


def duration(ms: int) -> str:
    """The largest unit that fits, with one decimal: ``3.2 s``, ``1.5 h``."""
    for size, unit in _UNITS:
        if ms >= size:
            return f"{ms / size:.1f} {unit}"
    return f"{ms} ms"


def moment(ms: int) -> str | None:
    """A time of the store's clock as UTC; None for 0, which is never."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds") if ms else None


def printable(value: Any) -> Any:
    """The value if JSON can show it, else a text about it."""
    try:
        json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        pass
    else:
        return value
    try:
        return repr(value)
    except ValueError:  # an int with more digits than Python turns into text
        return f"<{type(value).__name__} that is too long to show>"
