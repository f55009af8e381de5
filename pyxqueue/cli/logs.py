"""How a worker that the command runs logs."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime

from ..worker.events import LINE

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
        return json.dumps(line, default=str)


def set_up_logging(level: str | None, form: str) -> None:
    """Log to stderr, unless the tasks' module has set logging up by itself; `level` then is that of pyxqueue only.

    A module that has handlers of its own, but none on the root logger, gets our lines beside its own, and its own once.
    """
    root = logging.getLogger()
    ours = logging.getLogger("pyxqueue")
    others = [one for one in root.manager.loggerDict.values() if isinstance(one, logging.Logger) and one.handlers]
    if root.handlers or ours.handlers:
        if level is not None:
            ours.setLevel(level.upper())
        return
    handler = logging.StreamHandler()
    handler.setFormatter(JSONFormatter() if form == "json" else logging.Formatter(LINE))
    place = ours if others else root
    place.addHandler(handler)
    place.setLevel((level or "info").upper())
