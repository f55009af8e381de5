"""The announcements of a supervisor: facts about itself and its workers."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial

from attrs import define, field

from ..hosts import host_name
from ..ids import new_id
from ..model.presence import MAX_RUNS, Announcement, Process, some_names, some_parameters
from ..worker.lifetime import memory_of
from .children import Child, Children


@define(eq=False)
class Presence:
    """Makes the announcements of a supervisor."""

    children: Children
    slots: int = 1
    """How many tasks a worker runs at once."""
    draining: bool = False
    name: str = field(factory=lambda: f"supervisor-{os.getpid()}-{new_id()}", init=False)
    """A unique name for the supervisor."""
    _host: str = field(factory=host_name, init=False)

    def text(self, queue: int, tasks: Mapping[str, str], serializers: Sequence[str]) -> str:
        """Return the announcement for a queue. `tasks`: for each task that the workers can run, its
        `Signature.text`."""
        now = time.monotonic()
        names, more = some_names(tasks)
        workers = {child.consumer: self._process(child, queue, now) for child in self.children.alive()}
        announcement = Announcement(
            host=self._host,
            pid=os.getpid(),
            pyxqueue=_version(),
            python=platform.python_version(),
            tasks=names,
            more_tasks=more,
            draining=self.draining,
            workers=workers,
            parameters=some_parameters(tasks.get(name, "") for name in names),
            serializers=serializers,
        )
        return announcement.text()

    def _process(self, child: Child, queue: int, now: float) -> Process:
        age = partial(_ms, now)
        runs = sorted((since, task_id) for number, since, task_id in child.table.runs_since() if number == queue)
        first = [(task_id, age(since)) for since, task_id in runs[:MAX_RUNS]]
        return Process(child.pid, age(child.born), self.slots, memory_of(child.pid), first)


def _version() -> str:
    """Return the version of pyxqueue. The package is loaded already; importing it here would go up a layer."""
    return str(sys.modules[__name__.partition(".")[0]].__version__)


def _ms(now: float, then: float) -> int:
    return max(0, round((now - then) * 1000))
