"""Connections for asyncio, to one server, through Sentinels, or to a cluster."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Protocol, cast

import redis.asyncio
from redis.asyncio import connection as asynchronous
from redis.asyncio.cluster import ClusterNode, PipelineCommand, RedisCluster
from redis.asyncio.connection import BlockingConnectionPool
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.cluster import PRIMARY
from redis.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MovedError, RedisClusterException, RedisError, ResponseError, TryAgainError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.sentinel import SentinelManagedConnection, SentinelManagedSSLConnection

from .cluster import REPEATED, TRY_AGAIN, Trip, address_of, key_of, node_of, nodes_to_ask, note_failed, pass_over_failed
from .looking import AsyncSentinels, MasterLook
from .scripts import for_cluster
from .topology import Cluster

_AT_ONCE = 16
"""Connections a client may open to one server: more coroutines than that take turns."""
_CONNECTIONS: dict[Any, Any] = {
    Connection: asynchronous.Connection,
    SSLConnection: asynchronous.SSLConnection,
    UnixDomainSocketConnection: asynchronous.UnixDomainSocketConnection,
}
_MANAGED: dict[Any, bool] = {SentinelManagedConnection: False, SentinelManagedSSLConnection: True}
"""Connections to the master that Sentinels name, and whether they use TLS."""


_ONLY_SYNC = ("ssl_ocsp_context", "ssl_ocsp_expected_cert", "ssl_validate_ocsp", "ssl_validate_ocsp_stapled")
"""Settings that asyncio connections do not have. A client that redis-py has made has them, mostly without a value."""
_NOT_OF_A_CLUSTER = (*_ONLY_SYNC, "ssl_ca_path", "ssl_password")


class AsyncClient(Protocol):
    """What we use of a client."""

    async def execute_command(self, *args: Any) -> Any: ...

    async def execute_together(self, key: str, commands: Sequence[Sequence[Any]]) -> list[Any]:
        """Run commands about a key on one connection, all of them again if it breaks. Returns their replies, among them
        errors."""
        ...

    def master_of(self, key: str) -> str:
        """Which server has a key, as far as is known; empty if it is not."""
        ...

    async def drop_idle(self) -> None:
        """Close the idle connections; the next command connects again."""
        ...

    async def aclose(self) -> None: ...


async def _undisturbed(closing: Coroutine[Any, Any, None]) -> None:
    """Wait until connections are closed. A caller that is cancelled meanwhile leaves that to the loop: asyncio would
    cancel all others that wait for the same connection to close."""
    closed = asyncio.ensure_future(closing)
    closed.add_done_callback(lambda done: done.cancelled() or done.exception())  # they are closed all the same
    await asyncio.wait([closed])


def _turns() -> defaultdict[str, asyncio.Semaphore]:
    """By server: calls to one that hangs hold up no others."""
    return defaultdict(lambda: asyncio.Semaphore(_AT_ONCE))


class _Single:
    """A client of one server."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self._client = client
        self.execute_command = client.execute_command

    async def execute_together(self, key: str, commands: Sequence[Sequence[Any]]) -> list[Any]:  # noqa: ARG002
        pipeline = self._client.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        return await pipeline.execute(raise_on_error=False)

    def master_of(self, key: str) -> str:  # noqa: ARG002
        return ""

    async def drop_idle(self) -> None:
        await _undisturbed(self._client.connection_pool.disconnect(inuse_connections=False))

    async def aclose(self) -> None:
        await self._client.aclose(close_connection_pool=True)


class _WatchedPool(SentinelConnectionPool):
    """Connections to the master. One that was in use when another became the master is closed when it comes back:
    redis-py closes the idle ones alone, and would go on to write to a server that is about to drop it all."""

    async def release(self, connection: asynchronous.AbstractConnection) -> None:
        leads_to = getattr(connection, "host", None), getattr(connection, "port", None)
        if self.master_address is not None and leads_to != self.master_address:
            await connection.disconnect()
        await super().release(connection)


class _Watched(_Single):
    """A client of the master that Sentinels name."""

    def __init__(self, pool: SentinelConnectionPool, look: MasterLook) -> None:
        super().__init__(redis.asyncio.Redis(connection_pool=pool))
        self._pool = pool
        self._turns = _turns()
        self._look = look
        self.execute_command = self._execute

    async def _execute(self, *args: Any) -> Any:
        async with self._turns[self.master_of("")]:
            await self._follow()
            return await self._client.execute_command(*args)

    async def execute_together(self, key: str, commands: Sequence[Sequence[Any]]) -> list[Any]:
        async with self._turns[self.master_of(key)]:
            await self._follow()
            return await super().execute_together(key, commands)

    def master_of(self, key: str) -> str:  # noqa: ARG002
        place = self._look.place
        return "" if place is None else f"{place[0]}:{place[1]}"

    async def _follow(self) -> None:
        """Leave a server that is the master no longer. The Sentinels are asked when that is due."""
        if self._look.is_due():
            with self._look.asking():
                await self._pool.get_master_address()
        if self._look.place not in (None, self._pool.master_address):
            self._pool.master_address = self._look.place
            await self._pool.disconnect(inuse_connections=False)

    async def aclose(self) -> None:
        await super().aclose()
        for sentinel in self._pool.sentinel_manager.sentinels:
            await sentinel.aclose(close_connection_pool=True)


class _NoTable:
    """Instead of the table of all commands. redis-py asks one node for it, and could not connect while it is away."""

    async def initialize(self, _node: object) -> None:
        pass

    async def get_keys(self, *_args: object) -> None:
        return None


@contextmanager
def _closed_by_others() -> Iterator[None]:
    """Say that a connection has been closed. While a cluster is down, redis-py closes all of a client for one command,
    and the others under way then find nothing to write to."""
    try:
        yield
    except AttributeError as error:
        raise RedisConnectionError("the connection was closed by another command") from error


class _Cluster(RedisCluster):
    """A client of a cluster that knows where the keys of a command are."""

    ERRORS_ALLOW_RETRY = REPEATED

    def __init__(self, place: Cluster, settings: dict[str, Any]) -> None:
        nodes = [ClusterNode(host, port) for host, port in nodes_to_ask(place)]
        super().__init__(startup_nodes=nodes, **settings)
        self.commands_parser = cast(Any, _NoTable())
        self._turns = _turns()

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        async with self._turns[node_of(self, str(key_of(args)))]:
            with _closed_by_others():
                return await super().execute_command(*for_cluster(args), **options)

    async def _execute_command(self, target_node: ClusterNode, *args: Any, **options: Any) -> Any:
        try:
            return await super()._execute_command(target_node, *args, **options)
        except (RedisConnectionError, RedisTimeoutError):
            note_failed(target_node)
            await self._pass_over_failed()
            raise

    async def execute_together(self, key: str, commands: Sequence[Sequence[Any]]) -> list[Any]:
        async with self._turns[node_of(self, key)]:
            found: list[Any] = await self.retry.call_with_retry(
                lambda: self._together(Trip(key, commands)), self._look_again
            )
            return found

    async def _together(self, trip: Trip) -> list[Any]:
        await self.initialize()
        while True:
            node = trip.node(self)
            try:
                replies = await _sent(node, trip)
            except (RedisConnectionError, RedisTimeoutError) as error:
                note_failed(node)
                if isinstance(error, RedisTimeoutError):  # nothing is sent again, and the next commands go elsewhere
                    await self._look_again()
                raise
            why = trip.redirected(replies)
            if why is None:
                return replies
            if isinstance(why, MovedError):
                await self.nodes_manager.move_slot(why)
            elif isinstance(why, TryAgainError):
                await asyncio.sleep(TRY_AGAIN)

    def master_of(self, key: str) -> str:
        return node_of(self, key)

    def get_node(
        self, host: str | None = None, port: int | None = None, node_name: str | None = None
    ) -> ClusterNode | None:
        found = super().get_node(host, port, node_name)
        if found is None and (address := address_of(host, port, node_name)) is not None:
            found = ClusterNode(*address, PRIMARY, **self.nodes_manager.connection_kwargs)
            self.nodes_manager.nodes_cache[found.name] = found  # as `ClusterClient.get_node`
        return found

    async def _look_again(self, _: Exception | None = None) -> None:
        await self._pass_over_failed()
        with suppress(RedisError, RedisClusterException, OSError):  # then the next attempt fails
            await self.nodes_manager.initialize()

    async def _pass_over_failed(self) -> None:
        for node in pass_over_failed(self):
            await _undisturbed(node.disconnect())

    async def _determine_slot(self, command: str, *args: Any) -> int:
        key = key_of((command, *args))
        return await super()._determine_slot(command, *args) if key is None else self.keyslot(key)

    async def drop_idle(self) -> None:
        for node in self.get_nodes():
            await _undisturbed(node.disconnect_free_connections())
        if not self._initialize:
            await self._look_again()


async def _sent(node: ClusterNode, trip: Trip) -> list[Any]:
    """Send the commands of a trip, and return the replies. Raises what is no reply of the server."""
    sent = [PipelineCommand(number, *command) for number, command in enumerate(trip.sent)]
    with _closed_by_others():
        await node.execute_pipeline(sent)
    replies = trip.replies([one.result for one in sent])
    for reply in replies:
        if isinstance(reply, Exception) and not isinstance(reply, ResponseError):
            raise reply
    return replies


def can_open(connection_class: type, settings: Mapping[str, Any]) -> bool:
    """Return whether there are asyncio connections of this kind (not: those of fakeredis) with these settings."""
    is_known = connection_class in _CONNECTIONS or connection_class in _MANAGED
    return is_known and not any(settings.get(name) for name in _ONLY_SYNC)


def can_open_cluster(settings: Mapping[str, Any]) -> bool:
    """Return whether there is an asyncio client of a cluster with these settings."""
    return not any(settings.get(name) for name in _NOT_OF_A_CLUSTER)


def _without(settings: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name not in names}


def open_pool(connection_class: type, settings: dict[str, Any]) -> AsyncClient:
    """Return a client of one server."""
    return _Single(plain_client(connection_class, settings))


def plain_client(connection_class: type, settings: dict[str, Any]) -> redis.asyncio.Redis:
    """Return a client of one server, as redis-py has it."""
    kind = _CONNECTIONS[connection_class]
    pool = BlockingConnectionPool(_AT_ONCE, timeout=None, connection_class=kind, **_without(settings, _ONLY_SYNC))
    return redis.asyncio.Redis(connection_pool=pool)


def open_watched(connection_class: type, settings: dict[str, Any], name: str, manager: AsyncSentinels) -> AsyncClient:
    """Return a client of the master that Sentinels know by a name."""
    settings = _without(settings, _ONLY_SYNC)
    pool = _WatchedPool(name, manager, ssl=_MANAGED[connection_class], **settings)  # type: ignore[no-untyped-call] # of redis-py
    return _Watched(pool, manager.look)


def open_cluster(place: Cluster, settings: dict[str, Any]) -> AsyncClient:
    """Return a client of a cluster."""
    return _Cluster(place, _without(settings, _NOT_OF_A_CLUSTER))
