"""A live screen on a terminal: it is drawn in place, and the terminal is as before when it ends."""

from __future__ import annotations

import os
import select
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import click

from ..printable import printable
from .output import coloured

_BEGIN = "\x1b[?1049h\x1b[?25l"
"""Another screen than that of the shell, and no cursor."""
_END = "\x1b[?25h\x1b[?1049l"
_HOME, _REST_OF_LINE, _REST_OF_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"
_LOOK_EVERY = 0.2
"""How soon a resize is seen."""

Line = tuple[str, str]
"""A text and its colour."""


def is_terminal() -> bool:
    return sys.stdout.isatty()


@contextmanager
def whole_screen() -> Iterator[None]:
    """Draw on a screen of its own, and read keys at once, until the end of the block."""
    with _keys_at_once():
        click.echo(_BEGIN, nl=False)
        try:
            yield
        finally:
            click.echo(_END, nl=False)


@contextmanager
def _keys_at_once() -> Iterator[None]:
    if not sys.stdin.isatty():
        yield
        return
    import termios  # noqa: PLC0415 - a system may lack it, and only this screen needs it
    import tty  # noqa: PLC0415 - as termios

    before = termios.tcgetattr(sys.stdin)
    tty.setcbreak(sys.stdin)
    ours = termios.tcgetattr(sys.stdin)
    ours[3] &= ~termios.ISIG  # ^C is a key like any other: as a signal it may come where Python drops its exception
    termios.tcsetattr(sys.stdin, termios.TCSADRAIN, ours)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def draw(lines: Sequence[Line], last: Line) -> os.terminal_size:
    """Show as many lines as the terminal has, and `last` below them. Returns the size for which it did so."""
    columns, rows = size = shutil.get_terminal_size()
    shown = [*lines[: max(0, rows - 1)], last]
    text = f"{_REST_OF_LINE}\n".join(coloured(printable(line)[:columns], colour) for line, colour in shown)
    click.echo(f"{_HOME}{text}{_REST_OF_LINE}{_REST_OF_SCREEN}", nl=False)
    return size


def key(seconds: float, size: os.terminal_size) -> str:
    """Wait for a key, at most so many seconds. Returns it, "resized" if the terminal has another size, or ""."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if not sys.stdin.isatty():
            time.sleep(min(left, _LOOK_EVERY))
        elif select.select([sys.stdin], [], [], min(left, _LOOK_EVERY))[0]:
            return os.read(sys.stdin.fileno(), 64).decode(errors="replace") or "q"  # the terminal was closed
        if shutil.get_terminal_size() != size:
            return "resized"
    return ""
