"""What structlog logs inside a task names the task: ``pip install 'pyxqueue[structlog]'``."""

from __future__ import annotations

from contextlib import AbstractContextManager

from ..context import TaskContext
from ..plugin import Plugin

try:
    from structlog.contextvars import bound_contextvars
except ImportError as error:
    raise ImportError("pyxqueue.plugins.structlog needs structlog: pip install 'pyxqueue[structlog]'") from error


class BindTask(Plugin):
    """Binds `task_id`, `task_name`, `attempt`, `queue` and `worker` for all that is logged inside a task. The processor
    ``structlog.contextvars.merge_contextvars``, which is in structlog's default configuration, writes them."""

    def around(self, context: TaskContext) -> AbstractContextManager[object]:
        return bound_contextvars(**context.log_fields)
