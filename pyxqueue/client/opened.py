"""The store of one queue, opened once in each process that uses it."""

from __future__ import annotations

import os
import threading
from typing import Any

from attrs import define, evolve, field

from ..core import QueueCore
from ..eager import EagerSession
from ..errors import ConfigurationError
from ..protocols import Backend, ResultStore
from ..stores import OpenStore, StoreSource, find_store, joined


@define(eq=False)
class QueueStore:
    """Where a queue keeps its tasks. Making one connects to nothing."""

    core: QueueCore
    _given: Any = field(repr=False)  # it may hold a password
    broker: Backend | None = field(default=None, repr=False)
    """A backend of the application's own making; with `results`, the store of the results."""
    results: ResultStore | None = field(default=None, repr=False)
    _eager: EagerSession | None = None
    _found: StoreSource | None = field(default=None, init=False, repr=False)
    _open: OpenStore | None = field(default=None, init=False, repr=False)
    _lock: threading.Lock = field(factory=threading.Lock, init=False, repr=False)

    @property
    def given(self) -> Any:
        """What the application said: a store, a broker of its own, or None for ``PYXQUEUE_URL``."""
        return self._given if self.broker is None else self.broker

    @property
    def eager(self) -> EagerSession | None:
        """The session that runs the tasks inside this process, if the queue is eager."""
        return EagerSession.override or self._eager

    def here(self) -> OpenStore:
        """The store, opened for this process; a forked child opens its own."""
        if (session := self.eager) is not None:
            return OpenStore.of(session.backend_for(self.core, self.given))
        if self._open is None or self._open.pid != os.getpid():
            with self._lock:
                if self._open is None or self._open.pid != os.getpid():
                    self._open = OpenStore.of(self.open())
        return self._open

    def source(self) -> StoreSource:
        """Where the store is; looked up, and said in the log, once."""
        if self._found is None:
            self._found = find_store(self._given, self.core.options)
        return self._found

    def open(self) -> Backend:
        """Another backend, for the caller alone."""
        return self.source().open() if self.broker is None else joined(self.broker, self.results)

    def open_other(self, stream_key: str, group: str) -> Backend:
        """Another queue or group of the same store. Raises `ConfigurationError` where only the application can."""
        if self.broker is not None or self.eager is not None:
            raise ConfigurationError("only the application can open other queues and groups of a store that it made")
        return evolve(
            self.source(), options=evolve(self.core.options, stream_key=stream_key, group=group, lease_ms=None)
        ).open()

    def close(self) -> None:
        """Close the connections of this process."""
        with self._lock:
            if self._open is not None and self._open.pid == os.getpid():
                self._open.backend.close()
            self._open = None
