"""Connections of our own, made from the program's client or URL.

The program's client says where the server is and how to log in. Timeouts, retries, decoding and the protocol version
are ours, because the laws depend on them: a client that decodes replies would change bodies, and one that repeats
XREADGROUP after a timeout, as redis-py does by default, would leave messages with a holder that never saw them.
"""

from __future__ import annotations

import copy
import random
import re
import socket
from collections.abc import Callable, Hashable, Iterator
from contextlib import suppress
from typing import Any, Protocol, TypeAlias, cast
from urllib.parse import parse_qsl

import redis
import redis.asyncio
from attrs import field, frozen
from redis.asyncio import connection as asynchronous
from redis.asyncio.connection import BlockingConnectionPool as AsyncConnectionPool
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import AbstractBackoff, NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.connection import Connection, ConnectionPool, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelConnectionPool

from ...errors import ConfigurationError
from ...printable import quoted
from ...urls import HOW, is_readable, scheme_of, shown
from .direct import DirectClient
from .redacting import Told, redacted

GivenClient: TypeAlias = "redis.Redis | RedisCluster"


class Client(Protocol):
    """What we use of any redis-py client."""

    def execute_command(self, *args: Any) -> Any: ...

    def set_response_callback(self, command: str, callback: Callable[..., Any]) -> None: ...

    def pubsub(self) -> Any: ...

    def scan_iter(self, match: str, count: int) -> Iterator[bytes]: ...

    def hscan_iter(self, name: str, match: str, count: int) -> Iterator[tuple[bytes, bytes]]: ...

    def close(self) -> None: ...


_OURS = {
    "cache", "cache_config", "decode_responses", "driver_info", "encoding", "encoding_errors", "event_dispatcher",
    "health_check_interval", "himport_registry", "legacy_responses", "maint_notifications_config",
    "maint_notifications_pool_handler", "orig_host_address", "orig_socket_connect_timeout", "orig_socket_timeout",
    "protocol", "retry", "retry_on_error", "retry_on_timeout", "single_connection_client", "socket_connect_timeout",
    "socket_keepalive", "socket_timeout",
}  # fmt: skip
_CONNECT_TIMEOUT = 5.0
_JITTER = random.Random()  # noqa: S311 - our own: the program's random numbers are not to be disturbed
_POOL = 10_000
"""Connections a synchronous client may open: one for each thread that uses it at the same time."""
_ASYNC_POOL = 16
"""Connections an asyncio client may open: more coroutines than that take turns."""
_SECRETS = ("password", "ssl_password", "sentinel_password")
_HOST = re.compile(r"[\w.-]+|\[?[0-9A-Fa-f:.]+(%[\w.-]+)?\]?")
"""A name, or an address of either version."""
_KEEPALIVE = {
    number: value
    for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3), ("TCP_USER_TIMEOUT", 3_000))
    if (number := getattr(socket, name, None)) is not None
}
"""A probe every 30 s keeps firewalls from forgetting an idle connection. If one forgets it all the same, what is sent
stays unacknowledged: after 3,000 ms the kernel gives up, and the command is sent on a new connection."""
_ASYNC_CONNECTIONS: dict[Any, Any] = {
    Connection: asynchronous.Connection,
    SSLConnection: asynchronous.SSLConnection,
    UnixDomainSocketConnection: asynchronous.UnixDomainSocketConnection,
}


class Backoff(AbstractBackoff):
    """Pauses between attempts: random, up to a limit that doubles from 40 ms to `cap` seconds."""

    def __init__(self, cap: float) -> None:
        self._cap = cap

    def compute(self, failures: int) -> float:
        """Seconds to wait after so many failures in a row."""
        return _JITTER.uniform(0, min(self._cap, 0.02 * 2 ** min(failures, 30)))


@frozen
class ConnectionConfig:
    """How to reach one server; it opens nothing by itself."""

    client: GivenClient = field(repr=False)
    url: str
    """For people, without the login."""

    @classmethod
    def from_client(cls, client: GivenClient) -> ConnectionConfig:
        """Take a redis-py client of any kind as the description of where to connect.

        Raises `ConfigurationError` for something else, such as an asyncio client.
        """
        if isinstance(client, RedisCluster):
            nodes = client.nodes_manager.startup_nodes
            return cls(client, f"redis cluster at {', '.join(sorted(_place(*one.rsplit(':', 1)) for one in nodes))}")
        if not isinstance(client, redis.Redis):
            kind = f"{type(client).__module__}.{type(client).__qualname__}"
            raise ConfigurationError(f"cannot make connections from a {kind}: give a redis.Redis client, or a URL")
        kwargs = client.connection_pool.connection_kwargs
        if not str(database := kwargs.get("db") or 0).isdecimal():
            raise ConfigurationError("the client's database, db=, is not a number")
        if "path" in kwargs:
            if "://" in (path := str(kwargs["path"])):
                raise ConfigurationError("unix_socket_path= was given a URL: use redis.Redis.from_url(...) for one")
            return cls(client, f"unix://{path}?db={database}")
        if isinstance(client.connection_pool, SentinelConnectionPool):
            for one in client.connection_pool.sentinel_manager.sentinels:
                cls.from_client(one)
            return cls(client, f"sentinel service {quoted(client.connection_pool.service_name)}")
        scheme = "rediss" if issubclass(client.connection_pool.connection_class, SSLConnection) else "redis"
        place = _place(kwargs.get("host") or "localhost", kwargs.get("port") or 6379)
        return cls(client, f"{scheme}://{place}/{database}")

    @classmethod
    def from_url(cls, url: str) -> ConnectionConfig:
        """Take a ``redis://``, ``rediss://`` or ``unix://`` URL. Raises `ConfigurationError` for one it cannot read."""
        client = None
        if is_readable(url):
            with suppress(ValueError):  # its text, also as a cause, may hold a part of the password
                client = redis.Redis.from_url(url)
        if client is None:
            options = ", ".join(name for name, _ in parse_qsl(url.partition("?")[2])) if is_readable(url) else ""
            raise ConfigurationError(
                f"the store's URL {shown(url)} cannot be read: write {scheme_of(url)}://"
                f"{'user:password@/path/of/socket?db=0' if scheme_of(url) == 'unix' else 'user:password@host:port/0'}, "
                f"and {HOW}" + (f"; it has the options {options}: is each value of the right kind?" if options else "")
            )
        return cls.from_client(client)

    @property
    def identity(self) -> Hashable:
        """Equal for two that lead to the same server with the same login and settings."""
        parts = _identity(self.client)
        try:
            hash(parts)
        except TypeError:  # a setting of a kind that cannot be compared
            return id(self.client)
        return parts

    def redacted(self, error: Exception) -> Told:
        """What may be shown of an error of the driver."""
        return redacted(error, _secrets(self.client))

    def open(self, *, timeout: float, retries: int) -> Client:
        """A client of our own. `timeout` (seconds) bounds one reply; `retries` is how often a command that failed on
        its connection is sent again."""
        backoff = Backoff(cap=0.3) if retries else NoBackoff()
        ours = _ours(timeout, Retry(backoff, retries, supported_errors=(RedisConnectionError,)))
        if isinstance(self.client, RedisCluster):
            return self._open_cluster(self.client, ours)
        client = _opened(self.client, ours)
        return _raw(DirectClient(client) if DirectClient.serves(client) else client)

    @property
    def can_open_async(self) -> bool:
        """Whether `open_async` knows this kind of connection (not: Sentinel, cluster, fakeredis)."""
        return (
            not isinstance(self.client, RedisCluster)
            and type(self.client.connection_pool) is ConnectionPool
            and (self.client.connection_pool.connection_class in _ASYNC_CONNECTIONS)
        )

    def open_async(self, *, timeout: float, retries: int) -> Any:
        """`open` for asyncio, to be used on one event loop."""
        assert isinstance(self.client, redis.Redis)
        pool = self.client.connection_pool
        retry = AsyncRetry(Backoff(cap=0.3), retries, supported_errors=(RedisConnectionError,))
        kwargs = _merged(pool.connection_kwargs, _ours(timeout, retry))
        kind = _ASYNC_CONNECTIONS[pool.connection_class]
        return redis.asyncio.Redis(
            connection_pool=AsyncConnectionPool(_ASYNC_POOL, timeout=None, connection_class=kind, **kwargs)
        )

    @staticmethod
    def _open_cluster(client: RedisCluster, ours: dict[str, Any]) -> Client:
        manager = client.nodes_manager
        kwargs = _merged(manager.connection_kwargs, ours)
        kwargs.pop("redis_connect_func", None)
        nodes = [ClusterNode(node.host, node.port) for node in manager.startup_nodes.values()]
        return cast(Client, _RawCluster(startup_nodes=nodes, **kwargs))


def _opened(client: redis.Redis, ours: dict[str, Any]) -> redis.Redis:
    """A redis-py client like `client`, with our settings."""
    pool = client.connection_pool
    kwargs = _merged(pool.connection_kwargs, ours)
    if isinstance(pool, SentinelConnectionPool):
        kwargs.pop("connection_pool", None)
        opened: ConnectionPool = SentinelConnectionPool(
            pool.service_name,
            _asked_our_way(pool.sentinel_manager, ours),
            is_master=pool.is_master,
            check_connection=pool.check_connection,
            **kwargs,
        )
    else:
        opened = ConnectionPool(pool.connection_class, _POOL, **kwargs)
    return redis.Redis.from_pool(opened)  # which closes the pool with the client


def _asked_our_way(manager: Sentinel, ours: dict[str, Any]) -> Sentinel:
    """The same sentinels, with our timeouts and without retries: there are several, and a failed command asks again."""
    asked, once = copy.copy(manager), Retry(NoBackoff(), 0, supported_errors=(RedisConnectionError,))
    asked.sentinels = [_opened(sentinel, ours | {"retry": once}) for sentinel in manager.sentinels]
    return asked


class _RawCluster(RedisCluster):
    """A cluster client that keeps the clients of its nodes, which come and go, from reshaping replies."""

    def get_redis_connection(self, node: ClusterNode) -> redis.Redis:
        client: redis.Redis = super().get_redis_connection(node)
        _raw(client)
        return client


def _raw(client: redis.Redis | DirectClient) -> Client:
    """Stop redis-py from reshaping the replies that `commands` reads."""
    ours = cast(Client, client)
    for command in ("XREADGROUP", "XPENDING", "XRANGE", "XREVRANGE", "XCLAIM", "XINFO CONSUMERS", "XINFO GROUPS"):
        ours.set_response_callback(command, lambda reply, **_options: reply)
    return ours


def drop_idle(client: Client) -> None:
    """Close the idle connections; the next command connects again."""
    if isinstance(client, DirectClient):
        client.drop_idle()
        return
    nodes = [node.redis_connection for node in client.get_nodes()] if isinstance(client, RedisCluster) else [client]
    for node in nodes:
        if isinstance(node, redis.Redis):
            node.connection_pool.disconnect(inuse_connections=False)


def _ours(timeout: float, retry: object) -> dict[str, Any]:
    """Our settings. `retry` must not apply to timeouts: each call would last several of them."""
    return {
        "decode_responses": False,
        "protocol": 2,
        "socket_timeout": timeout,
        "socket_connect_timeout": min(_CONNECT_TIMEOUT, timeout),
        "health_check_interval": 0,
        "retry": retry,
    }


def _merged(theirs: dict[str, Any], ours: dict[str, Any]) -> dict[str, Any]:
    """Settings of the program's client, with ours in their place."""
    merged = _theirs(theirs) | ours
    return merged if "path" in merged else merged | _keepalive(merged)


def _theirs(kwargs: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in kwargs.items() if name not in _OURS}


def _keepalive(kwargs: dict[str, Any]) -> dict[str, Any]:
    given = kwargs.get("socket_keepalive_options")
    return {
        "socket_keepalive": True,
        "socket_keepalive_options": given if isinstance(given, dict) and given else dict(_KEEPALIVE),
    }


def _identity(client: GivenClient) -> Hashable:
    if isinstance(client, RedisCluster):
        manager = client.nodes_manager
        return frozenset(manager.startup_nodes), _settings(manager.connection_kwargs)
    pool = client.connection_pool
    parts = (type(pool), pool.connection_class, _settings(pool.connection_kwargs))
    if isinstance(pool, SentinelConnectionPool):
        return *parts, pool.service_name, pool.is_master, tuple(map(_identity, pool.sentinel_manager.sentinels))
    return parts


def _settings(kwargs: dict[str, Any]) -> Hashable:
    left_out = {"connection_pool", "socket_keepalive_options"}
    return frozenset((name, value) for name, value in _theirs(kwargs).items() if name not in left_out)


def _place(host: object, port: object) -> str:
    """Host and port, for people. Raises `ConfigurationError`, which does not quote them, if they cannot be ones."""
    if not _HOST.fullmatch(str(host)) or not str(port).isdecimal():
        raise ConfigurationError(
            "the client's host= or port= is not one: give redis.Redis a name or an address as host, and a number as "
            "port, or make it by redis.Redis.from_url(...)"
        )
    return f"{host}:{port}"


def _secrets(client: GivenClient) -> Iterator[str]:
    if isinstance(client, RedisCluster):
        kwargs = client.nodes_manager.connection_kwargs
    else:
        kwargs = client.connection_pool.connection_kwargs
        if isinstance(client.connection_pool, SentinelConnectionPool):
            for one in client.connection_pool.sentinel_manager.sentinels:
                yield from _secrets(one)
    given = [kwargs.get(name) for name in _SECRETS]
    given.append(getattr(kwargs.get("credential_provider"), "password", None))
    if not kwargs.get("password"):
        given.append(kwargs.get("username"))  # it may be a password in the wrong place
    for value in given:
        if value:
            yield value.decode(errors="replace") if isinstance(value, bytes) else str(value)
