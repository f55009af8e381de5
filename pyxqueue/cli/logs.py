"""How a worker that the command runs logs."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime

LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("text", "json")


class JSONFormatter(logging.Formatter):
    """One object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "pid": record.process,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def set_up_logging(level: str | None, form: str) -> None:
    """Log to stderr, unless the tasks' module has set logging up by itself; `level` then is that of pyxqueue only."""
    root = logging.getLogger()
    if root.handlers:
        if level is not None:
            logging.getLogger("pyxqueue").setLevel(level.upper())
        return
    handler = logging.StreamHandler()
    handler.setFormatter(
        JSONFormatter() if form == "json" else logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    )
    root.addHandler(handler)
    root.setLevel((level or "info").upper())
