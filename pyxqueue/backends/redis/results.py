"""Records: those of a backend's tasks, and the result half of a `SplitBackend`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from ...batching import batches, record_size
from ...clock import seconds_left
from ...errors import ConfigurationError
from ...model.message import Record
from ...protocols import StoreOptions
from . import commands
from .connect import ConnectionConfig
from .keys import GroupKeys, check_names, later_stream, with_results
from .registration import Registration, flags
from .session import Session
from .steps import Steps, call
from .watch import Notifier, wait_for


class RedisRecords:
    """The `Results` protocol."""

    def __init__(self, registration: Registration, notifier: Notifier) -> None:
        self._registration = registration
        self._session = registration.session
        self._notifier = notifier

    def wait(self, ids: Sequence[str], timeout_ms: int | None, least: int | None = None) -> Sequence[Record | None]:
        return self._session.run(wait(self._registration, self._notifier, ids, timeout_ms, least))

    def forget(self, ids: Sequence[str]) -> None:
        self._session.run(forget(self._registration, ids))


def wait(
    registration: Registration, notifier: Notifier, ids: Sequence[str], timeout_ms: int | None, least: int | None
) -> Steps[Sequence[Record | None]]:
    return wait_for(notifier, partial(look, registration), ids, timeout_ms, least)


def look(
    registration: Registration, ids: Sequence[str], channel: str, deadline: float | None
) -> Steps[list[commands.Look]]:
    """One look of `wait` and `watch`. A task that has not ended then wakes `channel`."""
    return registration.each(
        ids, lambda keys, batch: commands.get(keys, batch, channel), seconds=seconds_left(deadline)
    )


def forget(registration: Registration, ids: Sequence[str]) -> Steps[list[bool]]:
    """R4: the records go; the tasks, and the knowledge of their ids, stay."""
    return flags(registration, "forget", ids)


class RedisResults:
    """A `ResultStore` for the tasks of another broker, on Redis 6.2 or newer, or Valkey.

    Parameters and errors are those of `RedisBackend`. No group is registered. The server may also be the broker's.
    """

    def __init__(self, config: ConnectionConfig, options: StoreOptions) -> None:
        check_names(options.stream_key, options.group)
        if config.durability.word != "normal":
            raise ConfigurationError("records are not waited for: durability= belongs to the URL of the broker")
        self._session = Session(config)
        self._notifier = Notifier(self._session, options.stream_key)
        self._keys = GroupKeys.of(options.stream_key, options.group, later_stream(options.stream_key, options.group))

    def put(self, records: Sequence[Record]) -> None:
        for batch in batches(records, record_size):
            self._session.run(call(commands.put(self._keys, batch)))

    def wait(self, ids: Sequence[str], timeout_ms: int | None, least: int | None = None) -> Sequence[Record | None]:
        return self._session.run(wait_for(self._notifier, self._look, ids, timeout_ms, least))

    def _look(self, ids: Sequence[str], channel: str, deadline: float | None) -> Steps[list[commands.Look]]:
        found: list[commands.Look] = []
        for batch in batches(ids):
            found += yield from call(commands.read(self._keys, batch, channel), seconds_left(deadline))
        return found

    def forget(self, ids: Sequence[str]) -> None:
        for batch in batches(ids):
            self._session.execute("DEL", *with_results(self._keys, batch)[len(self._keys.own) :])

    def close(self) -> None:
        self._notifier.close()
        self._session.close()
