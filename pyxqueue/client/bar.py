"""A progress bar, drawn by rich if that is installed. It draws only in a terminal or a notebook."""

from __future__ import annotations

import shutil
import sys
from types import TracebackType
from typing import Any, Protocol, Self

from ..model.message import Progress
from ..printable import printable

_PERCENT = 100.0
_WIDTH = 30


class _Drawing(Protocol):
    """Draws the states of one bar."""

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def draw(self, label: str, done: float, total: float | None) -> None: ...


class ProgressBar:
    """Draws progress in a terminal or a notebook; into a pipe or a file it draws nothing."""

    def __init__(self, label: str) -> None:
        self._label = printable(label)
        self._drawing: _Drawing = _with_rich(self._label) or _Plain(self._label)

    def __enter__(self) -> Self:
        self._drawing.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._drawing.stop()

    def show(self, progress: Progress) -> None:
        """Draw this state. A number up to 100 without a total is a percentage."""
        total = progress.total
        if total is None and 0 <= progress.done <= _PERCENT:
            total = _PERCENT
        label = f"{self._label} {printable(progress.message)}" if progress.message else self._label
        self._drawing.draw(label, progress.done, total)


class _Rich:
    """One line of a `rich.progress.Progress`."""

    def __init__(self, bar: Any, label: str) -> None:
        from rich.markup import escape  # noqa: PLC0415 - an optional extra

        self._bar, self._escape = bar, escape
        self._line = bar.add_task(escape(label), total=None)

    def start(self) -> None:
        self._bar.start()

    def stop(self) -> None:
        if not self._bar.disable:  # rich 13 prints an empty line even for a disabled bar
            self._bar.stop()

    def draw(self, label: str, done: float, total: float | None) -> None:
        self._bar.update(self._line, completed=done, total=total, description=self._escape(label))


def _with_rich(label: str) -> _Rich | None:
    try:
        from rich.console import Console  # noqa: PLC0415 - an optional extra
        from rich.progress import Progress as RichProgress  # noqa: PLC0415
    except ImportError:
        return None
    console = Console()
    return _Rich(RichProgress(console=console, disable=not (console.is_terminal or console.is_jupyter)), label)


class _Plain:
    """A bar of plain characters on one line, which is overwritten for each state."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._seen = sys.stdout is not None and (sys.stdout.isatty() or "ipykernel" in sys.modules)

    def start(self) -> None:
        self.draw(self._label, 0, None)

    def stop(self) -> None:
        if self._seen:
            sys.stdout.write("\n")
            sys.stdout.flush()

    def draw(self, label: str, done: float, total: float | None) -> None:
        if not self._seen:
            return
        part = min(1.0, max(0.0, done / total)) if total else 0.0
        full = round(part * _WIDTH)
        state = f"[{'#' * full}{'.' * (_WIDTH - full)}] {part:4.0%} " if total else "" if not done else f"{done:g} "
        room = shutil.get_terminal_size().columns - 1
        sys.stdout.write(f"\r{(state + label)[:room]:<{room}}")
        sys.stdout.flush()
