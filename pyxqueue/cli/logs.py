"""How a worker that the command runs logs."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime

from ..worker.events import LINE, log_to_stderr

LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("text", "json")


_STANDARD = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"}
"""What every record has; the rest was said with `extra`, such as the task's id, name and attempt."""


class JSONFormatter(logging.Formatter):
    """One object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "pid": record.process,
            "message": record.getMessage(),
            **{name: value for name, value in vars(record).items() if name not in _STANDARD},
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        elif record.exc_text:  # it comes from another process
            line["exception"] = record.exc_text
        return json.dumps(line, default=str)


def set_up_logging(level: str | None, form: str) -> None:
    """Log to stderr, unless the tasks' module has set logging up by itself; `level` then is that of pyxqueue only.

    A module that has handlers of its own, but none on the root logger, has the lines of all other loggers shown too.
    """
    root = logging.getLogger()
    if root.handlers:
        if level is not None:
            logging.getLogger("pyxqueue").setLevel(level.upper())
        return
    log_to_stderr(JSONFormatter() if form == "json" else logging.Formatter(LINE), (level or "info").upper())
