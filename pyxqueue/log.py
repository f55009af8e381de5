"""The loggers of pyxqueue. Their lines are printable and of limited length."""

from __future__ import annotations

import logging

from .printable import LONGEST_LINE, Lines, indented, printable, text_of, traceback_of


class _Shown(logging.Filter):
    """Makes a log record printable before a handler gets it: each argument becomes one line of limited length, and an
    exception becomes an indented traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(map(_shown, record.args))
        if record.exc_info and (error := record.exc_info[1]) is not None:
            record.exc_text = indented(traceback_of(error))
            record.exc_info = None  # a handler would format it again
        return True


_SHOWN = _Shown()


def get_logger(name: str) -> logging.Logger:
    """Return the logger of a name, with printable lines."""
    logger = logging.getLogger(name)
    logger.addFilter(_SHOWN)  # adding it again has no effect
    return logger


def _shown(value: object) -> object:
    if type(value) in (int, float, bool, Lines):
        return value
    return printable(text_of(value), LONGEST_LINE)
