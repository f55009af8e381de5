"""Sets up logging in a program that runs workers."""

from __future__ import annotations

import logging
from logging.handlers import QueueHandler

from .events import done, log


def enable_logs() -> None:
    """Enable the loggers of pyxqueue in a process of workers: `logging.config` has disabled them, unless the program
    says otherwise. If logging was not set up at all, warnings go to stderr, with their time and level."""
    ours = [logging.getLogger("pyxqueue"), *logging.Logger.manager.loggerDict.values()]
    for logger in ours:
        if isinstance(logger, logging.Logger) and (logger.name == "pyxqueue" or logger.name.startswith("pyxqueue.")):
            logger.disabled = False
    if not log.hasHandlers():
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter(LINE))
        handler.setLevel(logging.WARNING)
        logging.getLogger("pyxqueue").addHandler(handler)


class NotYetShown(logging.Filter):
    """For a handler of the root logger: passes the records that no handler of a logger below it has shown."""

    def filter(self, record: logging.LogRecord) -> bool:
        logger: logging.Logger | None = logging.getLogger(record.name)
        while logger is not None and logger.parent is not None:
            if any(not isinstance(one, logging.NullHandler | QueueHandler) for one in logger.handlers):
                return False
            logger = logger.parent
        return True


class _AtInfo(logging.Filter):
    """Raises the level of the records of a logger to INFO."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.levelno, record.levelname = logging.INFO, logging.getLevelName(logging.INFO)
        return True


_AT_INFO = _AtInfo()


def log_successes() -> None:
    """Log each success at level INFO, instead of DEBUG."""
    done.setLevel(logging.DEBUG)
    done.addFilter(_AT_INFO)  # adding it again has no effect


def log_to_stderr(formatter: logging.Formatter, level: str | int) -> logging.Handler:
    """Write what this program logs to stderr, except records that the handler of a logger below the root shows. Returns
    the handler."""
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    handler.addFilter(NotYetShown())
    logging.getLogger().addHandler(handler)
    logging.getLogger().setLevel(level)
    return handler


LINE = "%(asctime)s %(levelname)s %(name)s: %(message)s"
"""The format of a log line if the program has not set up logging."""
