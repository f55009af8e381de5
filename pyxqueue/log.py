"""The loggers of pyxqueue: whatever a line is about, it is fit to be shown, and no longer than it should be."""

from __future__ import annotations

import logging

from .printable import LONGEST_LINE, Lines, indented, printable, text_of, traceback_of


class _Shown(logging.Filter):
    """Changes a record before any handler has it: what it is about becomes text that is one printable line of bounded
    length, and an exception the traceback that stands below it."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(map(_shown, record.args))
        if record.exc_info and (error := record.exc_info[1]) is not None:
            record.exc_text = indented(traceback_of(error))
            record.exc_info = None  # a handler would make text of it by itself
        return True


_SHOWN = _Shown()


def get_logger(name: str) -> logging.Logger:
    """The logger of that name, for lines of ours."""
    logger = logging.getLogger(name)
    logger.addFilter(_SHOWN)  # once, however often
    return logger


def _shown(value: object) -> object:
    if type(value) in (int, float, bool, Lines):
        return value
    return printable(text_of(value), LONGEST_LINE)
