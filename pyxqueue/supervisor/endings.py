"""What plugins and resources do when a worker process begins, and before it ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from attrs import define, field

from ..resources import Resources
from ..worker.events import log
from ..worker.worker import Worker

_LAST = 5.0
"""How many seconds the resources and plugins of a process have together when it ends."""
_BEFORE_KILL = 2.0
"""Seconds before the end of the grace period at which plugins are stopped, although tasks run; less for a short one."""
_LOOK_EVERY = 0.25


@define(eq=False)
class Endings:
    """Calls `started` and `stopping` of the plugins of a worker, and closes resources.

    Nothing that hangs there keeps the process alive: each call runs in a thread of its own, and is not waited for when
    its time is up.
    """

    worker: Worker
    _asked: float | None = field(default=None, init=False)
    """When the worker was told to stop, by `time.monotonic`."""
    _ended: threading.Event = field(factory=threading.Event, init=False)
    _once: threading.Lock = field(factory=threading.Lock, init=False)
    _stopped: bool = field(default=False, init=False)

    @property
    def _resources(self) -> Sequence[Resources]:
        return [resources for parts in self.worker.parts for resources in parts.resources]

    def begin(self) -> None:
        """Tell the plugins that the process has started."""
        plugins = self.worker.plugins
        if plugins is None:
            return
        plugins.start(self.worker.consumer)
        if plugins.have_stopping:
            threading.Thread(target=self._stop_in_time, name="pyxqueue-stopping", daemon=True).start()

    def asked(self) -> None:
        """Note that the worker was told to stop. It may be called from a signal handler."""
        if self._asked is None:
            self._asked = time.monotonic()

    def end(self) -> None:
        """Close the resources, then stop the plugins. No task runs any more."""
        end = time.monotonic() + self._seconds()
        if resources := self._resources:
            _within(max(0.1, end - time.monotonic()), "resources are closed", lambda: _close(resources))
        self.stop_plugins(end)
        self._ended.set()

    def stop_plugins(self, end: float | None = None) -> None:
        """Stop the plugins, once. `end`: when it must be done, by `time.monotonic`."""
        with self._once:
            if self._stopped:
                return
            self._stopped = True
            stops = [] if self.worker.plugins is None else list(self.worker.plugins.stops())
            end = time.monotonic() + self._seconds() if end is None else end
            for number, (name, stop) in enumerate(stops):
                seconds = max(0.1, (end - time.monotonic()) / (len(stops) - number))
                _within(seconds, f"the plugin {name} stops", lambda: stop(seconds))  # noqa: B023 - it is called in this round

    def _seconds(self) -> float:
        """Return how long the end may take: the supervisor kills the process when the grace is over."""
        if self._asked is None:
            return _LAST
        return min(_LAST, max(0.0, self._asked + self.worker.grace - time.monotonic()))

    def _stop_in_time(self) -> None:
        """Stop the plugins before the end of the grace period, if tasks then still run."""
        before = min(_BEFORE_KILL, self.worker.grace / 2)
        while not self._ended.wait(_LOOK_EVERY):
            if self._asked is not None and time.monotonic() >= self._asked + self.worker.grace - before:
                self.stop_plugins()
                return


def _close(several: Sequence[Resources]) -> None:
    for resources in reversed(several):
        resources.close()


def _within(seconds: float, what: str, body: Callable[[], None]) -> None:
    """Run `body`, which does not raise, and wait for it at most `seconds`."""
    thread = threading.Thread(target=body, name="pyxqueue-ending", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        log.warning("this process ends while %s, which takes longer than %.1f s", what, seconds)
