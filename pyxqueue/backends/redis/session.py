"""One store connection: runs commands, knows the groups, and turns the driver's errors into ours.

Errors are told apart by class name and text together: redis-py strips the code from errors it recognises, and Redis
6.2 wraps an error raised inside a script so that it recognises nothing and the code stands somewhere in the text.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from redis.exceptions import ClusterError, NoScriptError, RedisClusterException
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from ...batching import batches
from ...errors import BrokerError, BrokerUnavailableError, PyxqueueError, StoreFullError
from ...protocols import DEFAULT_LEASE_MS, StoreOptions
from . import commands
from .commands import Command
from .connect import Client, ConnectionConfig
from .keys import LAYOUT, GroupKeys, check_names, meta
from .reading import MAX_FIELDS, Groups, other_layout, read_groups, read_lease
from .scripts import SCRIPTS
from .sharing import Link, join, leave

T = TypeVar("T")
Item = TypeVar("Item")

REPLY_TIMEOUT = 5.0
"""Seconds until a command that does not block counts as lost."""
_PATIENCES = (1.0, 2.5, REPLY_TIMEOUT)
"""For how many seconds a reply is awaited: the first that is enough for the time the caller has."""

_PASSING = (
    "READONLY", "ReadOnlyError", "UNBLOCKED", "LOADING", "MASTERDOWN", "MasterDownError", "CLUSTERDOWN", "TRYAGAIN",
    "ClusterDownError", "TryAgainError", "MISCONF", "NOREPLICAS", "BUSY ", "MOVED", "MovedError", "ASK ", "AskError",
    "No master found",
)  # fmt: skip


class StaleGroups(BrokerUnavailableError):  # noqa: N818 - a signal between two modules
    """The stream or the consumer group is gone, or the list of groups has changed: register, then repeat."""


_NO_SERVER = (RedisConnectionError, RedisTimeoutError, RedisClusterException, ClusterError, OSError)


def translate(error: Exception, config: ConnectionConfig) -> Exception:
    """Our exception for whatever the driver has raised, with its cause; its text names the store. To be raised outside
    of the handler, where the driver's error would become its context."""
    text = f"{type(error).__name__}: {error}"
    redacted = config.redacted(error)
    told, where = redacted.text, config.url
    ours: Exception
    if "NOGROUP" in text or "no longer exists" in text or "no such key" in text.lower():
        ours = StaleGroups(told)
    elif "OOM " in text or "OutOfMemoryError" in text:
        ours = StoreFullError(f"the store at {where} is out of memory: raise its maxmemory or delete tasks ({told})")
    elif isinstance(error, _NO_SERVER) or any(mark in text for mark in _PASSING):
        hint = "is it running, and is the address right?" if "onnect" in text else "it may recover by itself"
        ours = BrokerUnavailableError(f"the store at {where} does not serve now ({told}); {hint}")
    else:
        ours = BrokerError(f"the store at {where} refused: {told}")
    ours.__cause__ = redacted.cause
    return ours


def is_of_connections(error: Exception) -> bool:
    """Whether the other open connections are likely to end the same way: they lead to a server that was the master
    before a failover, or through a firewall that has forgotten them."""
    return isinstance(error, RedisTimeoutError) or "READONLY" in str(error) or type(error).__name__ == "ReadOnlyError"


def has_died(error: BaseException) -> bool:
    """Whether the kernel has given up an open connection because nothing was acknowledged. The driver tells that like
    a server that does not answer, which is not asked again."""
    found: BaseException | None = error
    while found is not None and "connecting" not in str(found):
        if isinstance(found, OSError) and found.errno == errno.ETIMEDOUT:
            return True
        found = found.__cause__ or found.__context__
    return False


class Session:
    """A lazily opened client for one group of one queue. Threads may share it."""

    def __init__(self, config: ConnectionConfig, options: StoreOptions) -> None:
        check_names(options.stream_key, options.group)
        self.config = config
        self.options = options
        self._link: Link | None = None
        self._groups: Groups | None = None
        self._lock = threading.RLock()

    @property
    def link(self) -> Link:
        """What this process shares with its other queues on the same server."""
        link = self._link
        if link is None or link.pid != os.getpid():
            link = self._link = join(self.config, self)
        return link

    @property
    def client(self) -> Client:
        """The client for everything that does not block; its commands may be repeated without harm."""
        return self._client(None)

    def _client(self, seconds: float | None) -> Client:
        """A client like that whose patience fits a caller who has `seconds` left; None is as long as it takes."""
        patience = next((one for one in _PATIENCES if seconds is not None and seconds <= one), REPLY_TIMEOUT)
        return self.link.client(patience)

    @property
    def groups(self) -> Groups:
        """The registered groups; the first look registers ours."""
        with self._lock:
            if self._groups is None:
                options = self.options
                command = commands.register(options.stream_key, options.group, options.lease_ms, DEFAULT_LEASE_MS)
                self._groups = self.run(command)
            return self._groups

    @property
    def known_groups(self) -> Groups | None:
        """The groups, if they have been looked up already."""
        return self._groups

    @property
    def keys(self) -> GroupKeys:
        return self.groups.streams[self.options.group]

    @property
    def lease_ms(self) -> int:
        """The group's lease when its list was read."""
        return self.groups.leases[self.options.group]

    def read_lease(self) -> int:
        """The group's lease as it is stored now: somebody may have replaced it."""
        self.groups  # noqa: B018 - registers the group
        found = self.execute("HGET", meta(self.options.stream_key), f"lease:{self.options.group}")
        if found is None:
            raise StaleGroups("the group is gone")
        return read_lease(found)

    def look(self, *, any_layout: bool = False) -> Groups:
        """The groups that are registered now; looking registers none.

        Raises `BrokerError` if they are too many, `StoreLayoutError` if the queue is kept in another layout, unless
        `any_layout` will do.
        """
        name = self.options.stream_key
        number = int(self.execute("HLEN", meta(name)))
        found = read_groups(name, self.execute("HGETALL", meta(name)) if number <= MAX_FIELDS else {}, number)
        if found.layout != LAYOUT and not any_layout:
            raise other_layout(name, found.layout)
        return self.few(found)

    def few(self, groups: Groups) -> Groups:
        """The groups, if a message can go into so many; else raises `BrokerError`, and the next look reads again."""
        if groups.are_too_many:
            self.refresh()
            raise groups.crowd(self.options.stream_key)
        return groups

    def refresh(self) -> None:
        """Forget the list of groups; the next look registers again and repairs what is missing."""
        with self._lock:
            self._groups = None

    def guard(self, action: Callable[[], T]) -> T:
        """Run something on the driver and raise our exceptions instead of its own."""
        try:
            return action()
        except PyxqueueError:
            raise
        except Exception as error:  # noqa: BLE001 - not all that the driver raises is a RedisError
            if is_of_connections(error):
                self.link.drop_idle()
            translated = translate(error, self.config)
        raise translated

    def execute(self, *args: Any) -> Any:
        """A plain Redis command."""
        return self._guard_repeated(lambda: self.client.execute_command(*args))

    def _guard_repeated(self, call: Callable[[], T]) -> T:
        """`guard` for what may be repeated without harm: once more, on a new connection, where the first has died."""

        def twice() -> T:
            try:
                return call()
            except RedisTimeoutError as error:
                if not has_died(error):
                    raise
            self.link.drop_idle()
            return call()

        return self.guard(twice)

    def run(self, command: Command[T], seconds: float | None = None) -> T:
        """One script call; loads the script where the server does not have it. `seconds`: what the caller has left."""
        script = SCRIPTS[command.script]
        count = len(command.keys)

        def call() -> Any:
            client = self._client(seconds)
            with suppress(NoScriptError):
                return client.execute_command("EVALSHA", script.sha, count, *command.keys, *command.args)
            return client.execute_command("EVAL", script.text, count, *command.keys, *command.args)

        return command.parse(self._guard_repeated(call))

    def repaired(self, action: Callable[[], T]) -> T:
        """Do `action`; if the groups turn out to be stale, register and do it once more."""
        for _ in range(3):
            try:
                return action()
            except StaleGroups:
                self.refresh()
        try:
            return action()
        except StaleGroups as error:
            raise BrokerUnavailableError(f"the consumer group at {self.config.url} keeps vanishing: {error}") from error

    def batched(
        self,
        items: Sequence[Item],
        build: Callable[[GroupKeys, Sequence[Item]], Command[list[T]]],
        size: Callable[[Item], int] = lambda _: 0,
        seconds: float | None = None,
    ) -> list[T]:
        """Run one command per batch of `items`, against the group's keys, and put the answers together."""
        answers: list[T] = []
        for batch in batches(items, size):
            answers += self.repaired(lambda: self.run(build(self.keys, batch), seconds))  # noqa: B023 - runs at once
        return answers

    def close(self) -> None:
        link, self._link = self._link, None
        if link is not None and link.pid == os.getpid():
            leave(link, self)


class HealthClock:
    """How long we have been in touch with the server without a break: the condition for taking work from the dead.

    After an outage every live worker looks dead, because no lease could be renewed. So no message is reclaimed before
    this side has been in contact for one full lease: by then every live worker has renewed its leases.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._since = self._last = float("-inf")
        self._offset: float | None = None
        self.lost()

    def lost(self) -> None:
        """The server did not answer, or the last contact was too long ago."""
        self._since = self._last = self._monotonic()
        self._offset = None

    def seen(self, lease: int, server_ms: int | None = None) -> None:
        """The server answered. `server_ms` is its clock: a jump of half a lease counts as a break."""
        now = self._monotonic()
        if (now - self._last) * 1000 > lease / 2:
            self.lost()
        self._last = now
        if server_ms is not None:
            offset = server_ms - now * 1000
            if self._offset is not None and abs(offset - self._offset) > lease / 2:
                self.lost()
            self._offset = offset

    def unbroken_ms(self) -> float:
        """Milliseconds of unbroken contact."""
        return (self._last - self._since) * 1000
