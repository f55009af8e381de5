"""The stores of one queue, opened once in each process that uses them."""

from __future__ import annotations

import os
import threading
from typing import Any

from attrs import define, field

from .core import QueueCore
from .eager import EagerSession
from .protocols import Broker, ResultStore
from .stores import OpenStores, StoreSource, find_store


@define(eq=False)
class QueueStores:
    """Where a queue keeps its tasks. Making one connects to nothing."""

    core: QueueCore
    _given: Any = field(repr=False)  # it may hold a password
    broker: Broker | None = field(default=None, repr=False)
    """A store of the application's own making, with `results`."""
    results: ResultStore | None = field(default=None, repr=False)
    _eager: EagerSession | None = None
    _found: StoreSource | None = field(default=None, init=False, repr=False)
    _open: OpenStores | None = field(default=None, init=False, repr=False)
    _lock: threading.Lock = field(factory=threading.Lock, init=False, repr=False)

    @property
    def given(self) -> Any:
        """What the application said: a store, a broker of its own, or None for ``PYXQUEUE_URL``."""
        return self._given if self.broker is None else self.broker

    @property
    def eager(self) -> EagerSession | None:
        """The session that runs the tasks inside this process, if the queue is eager."""
        return EagerSession.override or self._eager

    def here(self) -> OpenStores:
        """The stores, opened for this process; a forked child opens its own."""
        if (session := self.eager) is not None:
            return OpenStores.of(session.backend_for(self.core, self.given))
        if self._open is None or self._open.pid != os.getpid():
            with self._lock:
                if self._open is None or self._open.pid != os.getpid():
                    self._open = self.open()
        return self._open

    def source(self) -> StoreSource:
        """Where the store is; looked up, and said in the log, once."""
        if self._found is None:
            self._found = find_store(self._given, self.core.options)
        return self._found

    def open(self) -> OpenStores:
        """Further ones, for the caller alone."""
        return OpenStores.of(self.source().open() if self.broker is None else self.broker, self.results)

    def close(self) -> None:
        """Close the connections of this process."""
        with self._lock:
            if self._open is not None and self._open.pid == os.getpid():
                self._open.broker.close()
            self._open = None
