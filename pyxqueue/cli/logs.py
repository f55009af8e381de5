"""The logging of ``pyxqueue worker``: text or JSON lines on stderr."""

from __future__ import annotations

import json
import logging
import os
from datetime import UTC, datetime

from ..context import TASK_FIELDS, TaskLogFilter
from ..worker.logs import LINE, log_successes, log_to_stderr

LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("text", "json")


_STANDARD = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"}
"""The attributes that every log record has. All others come from `extra`, such as the task's id, name and attempt."""


class JSONFormatter(logging.Formatter):
    """Formats each record as one JSON object on one line."""

    def format(self, record: logging.LogRecord) -> str:
        hidden = {*_STANDARD, *(name for name in TASK_FIELDS if vars(record).get(name) == "")}
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "pid": record.process,
            "message": record.getMessage(),
            **{name: value for name, value in vars(record).items() if name not in hidden},
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        elif record.exc_text:  # the record comes from another process
            line["exception"] = record.exc_text
        return json.dumps(line, default=str)


def set_up_logging(level: str | None, form: str, *, tasks: bool = False) -> None:
    """Log to stderr, unless the root logger has handlers already; then `level` applies to the logger of pyxqueue only.
    `tasks`: log successes at level INFO.

    If the module has set handlers on other loggers only, records of all loggers are logged to stderr too.
    """
    if tasks:
        log_successes()
    root = logging.getLogger()
    if root.handlers:
        if level is not None:
            logging.getLogger("pyxqueue").setLevel(level.upper())
        return
    formatter = JSONFormatter() if form == "json" else logging.Formatter(LINE)
    log_to_stderr(formatter, (level or "info").upper()).addFilter(TaskLogFilter())


def inherit_logging(form: str, *, tasks: bool) -> None:
    """Have worker processes that are started as new interpreters log as this one does."""
    os.environ["PYXQUEUE_LOG_FORMAT"] = form
    os.environ["PYXQUEUE_LOG_TASKS"] = str(int(tasks))
