"""A client for single commands, with less between them and the socket than redis-py has.

A redis-py client spends twice as much time on one call as packing, sending and reading takes. This client uses
redis-py's connections (which connect, log in, ask Sentinel, and read replies), but keeps those that are idle itself.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import redis
from hiredis import pack_command
from redis.backoff import NoBackoff
from redis.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import RedisError, ResponseError
from redis.retry import Retry
from redis.sentinel import SentinelConnectionPool, SentinelManagedConnection, SentinelManagedSSLConnection

from .looking import MasterLook, Sentinels

_KINDS = {
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
}
_LOOK_AFTER = 1.0
"""A connection that was idle for so many seconds may have been closed by the server: it is looked at before use."""


class DirectClient:
    """Runs commands like the redis-py client it is made from, and leaves everything else to it.

    Any number of threads may use it, each on a connection of its own, and a forked process too.
    """

    @staticmethod
    def serves(client: redis.Redis) -> bool:
        """Return whether it knows this kind of connection, whose login does not change while it is open."""
        pool = client.connection_pool
        return pool.connection_class in _KINDS and not pool.connection_kwargs.get("credential_provider")

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._pool = client.connection_pool
        self._callbacks = client.response_callbacks
        self._retry = self._pool.connection_kwargs["retry"]
        manager = self._pool.sentinel_manager if isinstance(self._pool, SentinelConnectionPool) else None
        self._look = manager.look if isinstance(manager, Sentinels) else None
        self._renew()

    def _renew(self) -> None:
        self._pid = os.getpid()
        self._idle = deque[tuple[Connection, float]]()

    def execute_command(self, *args: Any) -> Any:
        words = (*args[0].split(), *args[1:]) if " " in args[0] else args  # as redis-py does: "CONFIG GET"
        packed, connection = (pack_command(words),), self._take()
        try:
            reply = self._retry.call_with_retry(
                lambda: self._ask(connection, packed), lambda _: connection.disconnect()
            )
        finally:
            self._give_back(connection)
        callback = dict.get(self._callbacks, args[0])  # ours are all upper case: its own `get` is slower
        return reply if callback is None else callback(reply)

    def execute_together(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        """Run commands on one connection, all of them again if it breaks. Returns their replies, among them errors."""
        packed = (b"".join(pack_command(tuple(command)) for command in commands),)

        def reply_to(connection: Connection) -> Any:
            try:
                return connection.read_response()
            except ResponseError as error:
                return error

        def read(connection: Connection) -> list[Any]:
            return [reply_to(connection) for _ in commands]

        connection = self._take()
        try:
            found: list[Any] = self._retry.call_with_retry(
                lambda: self._ask(connection, packed, read), lambda _: connection.disconnect()
            )
        finally:
            self._give_back(connection)
        return found

    @property
    def master(self) -> str:
        """The server that the Sentinels name, asked when that is due; empty if none was named."""
        if self._look is None:
            return ""
        self._follow(self._look)
        return "" if self._look.place is None else f"{self._look.place[0]}:{self._look.place[1]}"

    def _ask(
        self, connection: Connection, packed: Sequence[bytes], read: Callable[[Connection], Any] | None = None
    ) -> Any:
        """Send commands and read their replies. A connection on which that was cut short is closed: the reply may still
        come, and would be taken for that of the next command."""
        try:
            if self._look is not None:
                connection.connect()  # to the master, if it is closed: sending would connect to the server it had
            connection.send_packed_command(packed, check_health=False)
            return connection.read_response() if read is None else read(connection)
        except ResponseError:  # this is the reply
            raise
        except BaseException:
            connection.disconnect()
            raise

    def _take(self) -> Connection:
        """An idle connection, which may have to connect again, or a new one."""
        if self._pid != os.getpid():  # forked: the sockets are the parent's
            self._renew()
        if self._look is not None:
            self._follow(self._look)
        try:
            connection, since = self._idle.pop()
        except IndexError:
            connection = self._pool.get_connection()  # which is tried as often as a command
            connection.retry = Retry(NoBackoff(), 0)  # from now on, the command alone is repeated
            return connection
        is_old = time.monotonic() - since > _LOOK_AFTER and _is_closed(connection)
        if is_old or not self._pool.owns_connection(connection):  # Sentinel has named another master since
            connection.disconnect()
        return connection

    def _follow(self, look: MasterLook) -> None:
        """Leave a server that is the master no longer. The Sentinels are asked when that is due."""
        assert isinstance(self._pool, SentinelConnectionPool)
        if look.is_due():
            with look.asking():
                self._pool.get_master_address()
        self._pool.proxy.master_address = look.place or self._pool.proxy.master_address

    def _give_back(self, connection: Connection) -> None:
        self._idle.append((connection, time.monotonic()))

    def drop_idle(self) -> None:
        """Close the connections that no thread is using; each connects again when it is used next."""
        dropped = []
        with suppress(IndexError):  # by popping: another thread may take one meanwhile
            while True:
                dropped.append(self._idle.pop())
        for connection, _ in dropped:
            connection.disconnect()
        self._idle.extendleft(dropped)

    def set_response_callback(self, command: str, callback: Callable[..., Any]) -> None:
        self._client.set_response_callback(command, callback)

    def pubsub(self) -> Any:
        return self._client.pubsub()

    def scan_iter(self, match: str, count: int) -> Iterator[bytes]:
        return self._client.scan_iter(match=match, count=count)

    def hscan_iter(self, name: str, match: str, count: int) -> Iterator[tuple[bytes, bytes]]:
        return self._client.hscan_iter(name, match=match, count=count)

    def close(self) -> None:
        self._renew()
        self._pool.disconnect()
        self._client.close()


def _is_closed(connection: Connection) -> bool:
    """Return whether the server has closed an idle connection, or has sent what no command asked for."""
    try:
        return connection.can_read()
    except (RedisError, OSError):
        return True
