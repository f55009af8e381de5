"""A progress bar for people, drawn with rich; silent where nobody looks."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from .errors import ConfigurationError
from .message import Progress

_PERCENT = 100.0


class ProgressBar:
    """Draws one task's progress in a terminal or a notebook; into a pipe or a file it draws nothing.

    Raises `ConfigurationError` if rich is not installed.
    """

    def __init__(self, label: str) -> None:
        try:
            from rich.console import Console  # noqa: PLC0415 - an optional extra
            from rich.progress import Progress as RichProgress  # noqa: PLC0415
        except ImportError as error:
            raise ConfigurationError("a progress bar needs rich: install pyxqueue with the extra 'rich'") from error
        console = Console()
        self._bar: Any = RichProgress(console=console, disable=not (console.is_terminal or console.is_jupyter))
        self._line = self._bar.add_task(label, total=None)
        self._label = label

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if not self._bar.disable:  # rich 13 ends even a disabled bar with an empty line
            self._bar.stop()

    def show(self, progress: Progress) -> None:
        """Draw this state. A bare number up to 100 is taken as a percentage."""
        total = progress.total
        if total is None and 0 <= progress.done <= _PERCENT:
            total = _PERCENT
        label = f"{self._label} {progress.message}" if progress.message else self._label
        self._bar.update(self._line, completed=progress.done, total=total, description=label)
