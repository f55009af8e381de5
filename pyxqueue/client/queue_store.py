"""The store of one queue, opened once in each process that uses it."""

from __future__ import annotations

import os
import threading
from typing import Any

from attrs import define, field

from ..core import QueueCore
from ..eager.session import EagerSession
from ..errors import ConfigurationError
from ..model.message import evolve
from ..protocols import Backend, ResultStore
from ..stores import OpenStore, StoreSource, find_store


@define(eq=False)
class QueueStore:
    """The store of a queue. It connects on first use."""

    core: QueueCore
    _given: Any = field(repr=False)  # it may contain a password
    broker: Backend | None = field(default=None, repr=False)
    """A backend that the application made; with `results`, a separate store for results."""
    results: ResultStore | None = field(default=None, repr=False)
    _eager: EagerSession | None = None
    _found: StoreSource | None = field(default=None, init=False, repr=False)
    _open: OpenStore | None = field(default=None, init=False, repr=False)
    _lock: threading.Lock = field(factory=threading.Lock, init=False, repr=False)

    @property
    def given(self) -> Any:
        """The store or broker that the application gave, or None for ``PYXQUEUE_URL``."""
        return self._given if self.broker is None else self.broker

    @property
    def eager(self) -> EagerSession | None:
        """The session that runs the tasks in this process; None if the queue is not eager."""
        return EagerSession.override or self._eager

    def here(self) -> OpenStore:
        """Return the store, opened for this process. A forked child opens its own."""
        if (session := self.eager) is not None:
            return OpenStore.of(session.backend_for(self.core, self.given))
        if self._open is None or self._open.pid != os.getpid():
            with self._lock:
                if self._open is None or self._open.pid != os.getpid():
                    self._open = OpenStore.of(self.open())
        return self._open

    def source(self) -> StoreSource:
        """Return the source of the store. The first call finds it and logs where it is."""
        if self._found is None:
            self._found = find_store(self._given, self.core.options)
        return self._found

    def open(self) -> Backend:
        """Open a backend of the caller's own."""
        if self.broker is None:
            return self.source().open()
        if self.results is None:
            return self.broker
        from ..split import SplitBackend  # noqa: PLC0415 - few programs have two stores

        return SplitBackend(self.broker, self.results)

    def open_other(self, stream_key: str, group: str) -> Backend:
        """Open another queue or group of the store. Raises `ConfigurationError` if the application made the store."""
        if self.broker is not None or self.eager is not None:
            raise ConfigurationError(
                "pyxqueue cannot open other queues and groups of this store, since the application made it: open them "
                "in the application"
            )
        return evolve(
            self.source(), options=evolve(self.core.options, stream_key=stream_key, group=group, lease_ms=None)
        ).open()

    def close(self) -> None:
        """Close the connections of this process; in eager mode, stop the plugins."""
        if (session := self.eager) is not None:
            session.stop(self.core)
        with self._lock:
            if self._open is not None and self._open.pid == os.getpid():
                self._open.backend.close()
            self._open = None
