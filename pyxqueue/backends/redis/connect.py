"""Connections of our own, made from the program's client or URL.

The program's client says where the server is and how to log in. Timeouts, retries, decoding and the protocol version
are ours, because the laws depend on them: a client that decodes replies would change bodies, and one that repeats
XREADGROUP after a timeout, as redis-py does by default, would leave messages with a holder that never saw them.
"""

from __future__ import annotations

import random
import re
import socket
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import Any, Protocol, TypeAlias, cast
from urllib.parse import parse_qsl

import redis
import redis.asyncio
from attrs import evolve, field, frozen
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import AbstractBackoff, NoBackoff
from redis.cluster import RedisCluster
from redis.connection import ConnectionPool, SSLConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelConnectionPool

from ...errors import ConfigurationError
from ...printable import quoted
from ...urls import HOW, is_readable, scheme_of, shown
from .cluster import ClusterClient, leave_streams
from .connect_async import AsyncClient, can_open, can_open_cluster, open_cluster, open_pool, open_watched, plain_client
from .direct import DirectClient
from .durability import NORMAL, Durability, durability_of
from .looking import AsyncSentinels, Sentinels, forced_host, look_of
from .redacting import Told, redacted
from .topology import Cluster, client_of

GivenClient: TypeAlias = "redis.Redis | RedisCluster"
Place: TypeAlias = "redis.Redis | Cluster"
"""Where the servers are. A client of redis-py stands for its server, or for the Sentinels that it asks."""
_EXAMPLES = {
    "unix": "user:password@/path/of/socket?db=0",
    "sentinel": "user:password@host:26379,host2:26379/mymaster/0",
    "cluster": "user:password@host:6379,host2:6379",
}
"""What follows ``://`` in a URL of a scheme, or of one that ends with it."""


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
_SENTINEL_TIMEOUT = 1.0
"""Seconds until the next Sentinel is asked. A command waits for as many as do not answer."""
_JITTER = random.Random()  # noqa: S311 - our own: the program's random numbers are not to be disturbed
_POOL = 10_000
"""Connections a synchronous client may open: one for each thread that uses it at the same time."""
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


class Backoff(AbstractBackoff):
    """Pauses between attempts: random, up to a limit that doubles from 40 ms to `cap` seconds."""

    def __init__(self, cap: float) -> None:
        self._cap = cap

    def compute(self, failures: int) -> float:
        """Seconds to wait after so many failures in a row."""
        return _JITTER.uniform(0, min(self._cap, 0.02 * 2 ** min(failures, 30)))


@frozen
class ConnectionConfig:
    """How to reach one server, the master that Sentinels name, or a cluster; it opens nothing by itself."""

    client: Place = field(repr=False)
    url: str
    """For people, without the login."""
    durability: Durability = NORMAL
    """How durable what a program stores must be when its call returns. Connections are the same for all of them."""

    @classmethod
    def from_client(cls, client: GivenClient) -> ConnectionConfig:
        """Take a redis-py client of any kind as the description of where to connect.

        Raises `ConfigurationError` for something else, such as an asyncio client.
        """
        if isinstance(client, RedisCluster):
            return cls._of(Cluster.of(client))
        if not isinstance(client, redis.Redis):
            kind = f"{type(client).__module__}.{type(client).__qualname__}"
            raise ConfigurationError(f"cannot make connections from a {kind}: give a redis.Redis client, or a URL")
        return cls._of(client)

    @classmethod
    def from_url(cls, url: str) -> ConnectionConfig:
        """Take a URL with the scheme ``redis``, ``redis+sentinel``, ``redis+cluster``, or one of these with ``rediss``,
        or ``unix``. Raises `ConfigurationError` for one it cannot read."""
        place, (server, durability) = None, durability_of(url)
        if is_readable(url):
            with suppress(ValueError):  # its text, also as a cause, may hold a part of the password
                place = client_of(server)
        if place is None:
            options = ", ".join(name for name, _ in parse_qsl(url.partition("?")[2])) if is_readable(url) else ""
            example = _EXAMPLES.get(scheme_of(url).rpartition("+")[2], "user:password@host:port/0")
            raise ConfigurationError(
                f"the store's URL {shown(url)} cannot be read: write {scheme_of(url)}://{example}, and {HOW}"
                + (f"; it has the options {options}: is each value of the right kind?" if options else "")
            )
        return evolve(cls._of(place), durability=durability)

    @classmethod
    def _of(cls, place: Place) -> ConnectionConfig:
        if isinstance(place, Cluster):
            return cls(place, f"redis cluster at {', '.join(_place(host, port) for host, port in place.nodes)}")
        kwargs = place.connection_pool.connection_kwargs
        if not str(database := kwargs.get("db") or 0).isdecimal():
            raise ConfigurationError("the client's database, db=, is not a number")
        if "path" in kwargs:
            if "://" in (path := str(kwargs["path"])):
                raise ConfigurationError("unix_socket_path= was given a URL: use redis.Redis.from_url(...) for one")
            return cls(place, f"unix://{path}?db={database}")
        if isinstance(place.connection_pool, SentinelConnectionPool):
            for one in place.connection_pool.sentinel_manager.sentinels:
                cls._of(one)
            return cls(place, f"sentinel service {quoted(place.connection_pool.service_name)}")
        scheme = "rediss" if issubclass(place.connection_pool.connection_class, SSLConnection) else "redis"
        return cls(
            place, f"{scheme}://{_place(kwargs.get('host') or 'localhost', kwargs.get('port') or 6379)}/{database}"
        )

    @property
    def is_cluster(self) -> bool:
        return isinstance(self.client, Cluster)

    @property
    def may_fail_over(self) -> bool:
        """Whether another server may take the place of one, and clients follow it."""
        client = self.client
        return isinstance(client, Cluster) or isinstance(client.connection_pool, SentinelConnectionPool)

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
        if isinstance(self.client, Cluster):
            return cast(Client, ClusterClient(self.client, **_merged(self.client.settings, ours)))
        client = _opened(self.client, ours, self.identity)
        ours_of_it = cast(Client, DirectClient(client) if DirectClient.serves(client) else client)
        leave_streams(ours_of_it)
        return ours_of_it

    @property
    def can_open_async(self) -> bool:
        """Whether `open_async` knows this kind of connection (not: fakeredis)."""
        if isinstance(self.client, Cluster):
            return can_open_cluster(self.client.settings)
        pool = self.client.connection_pool
        return can_open(pool.connection_class, pool.connection_kwargs)

    def open_async(self, *, timeout: float, retries: int) -> AsyncClient:
        """`open` for asyncio, to be used on one event loop."""
        retry = AsyncRetry(Backoff(cap=0.3), retries, supported_errors=(RedisConnectionError,))
        ours = _ours(timeout, retry)
        if isinstance(self.client, Cluster):
            return open_cluster(self.client, _merged(self.client.settings, ours))
        pool = self.client.connection_pool
        settings = _merged(pool.connection_kwargs, ours)
        if not isinstance(pool, SentinelConnectionPool):
            return open_pool(pool.connection_class, settings)
        settings.pop("connection_pool", None)
        manager, once = pool.sentinel_manager, AsyncRetry(NoBackoff(), 0, supported_errors=(RedisConnectionError,))
        ask = [
            plain_client(
                one.connection_pool.connection_class,
                _merged(one.connection_pool.connection_kwargs, _of_sentinels(ours, once)),
            )
            for one in manager.sentinels
        ]
        asked = AsyncSentinels(ask, manager.min_other_sentinels, forced_host(manager), look_of(self.identity))
        return open_watched(pool.connection_class, settings, pool.service_name, asked)


def _opened(client: redis.Redis, ours: dict[str, Any], identity: Hashable = None) -> redis.Redis:
    """A redis-py client like `client`, with our settings. `identity`: equal for clients of the same master."""
    pool = client.connection_pool
    kwargs = _merged(pool.connection_kwargs, ours)
    if isinstance(pool, SentinelConnectionPool):
        kwargs.pop("connection_pool", None)
        opened: ConnectionPool = SentinelConnectionPool(
            pool.service_name,
            _asked_our_way(pool.sentinel_manager, ours, identity),
            connection_class=pool.connection_class,
            is_master=pool.is_master,
            check_connection=pool.check_connection,
            **kwargs,
        )
    else:
        opened = ConnectionPool(pool.connection_class, _POOL, **kwargs)
    return redis.Redis.from_pool(opened)  # which closes the pool with the client


def _asked_our_way(manager: Sentinel, ours: dict[str, Any], identity: Hashable) -> Sentinel:
    """The same sentinels, with our settings."""
    once = Retry(NoBackoff(), 0, supported_errors=(RedisConnectionError,))
    clients = [_opened(sentinel, _of_sentinels(ours, once)) for sentinel in manager.sentinels]
    return Sentinels(clients, manager.min_other_sentinels, forced_host(manager), look_of(identity))


def _of_sentinels(ours: dict[str, Any], once: object) -> dict[str, Any]:
    """Our settings for clients of Sentinels, without retries: there are several, and a failed command asks again."""
    timeout = min(_SENTINEL_TIMEOUT, ours["socket_timeout"])
    return ours | {"retry": once, "socket_timeout": timeout, "socket_connect_timeout": timeout}


def as_text(words: Sequence[Any]) -> list[Any]:
    """The words of a command, with its numbers as text. A signal handler that raises while hiredis packs an `int`, as
    for a time limit or Ctrl-C, ends the process with SIGSEGV (hiredis 3.5). redis.asyncio packs without hiredis."""
    return [str(word) if type(word) is int else word for word in words]


def execute_together(client: Client, key: str, commands: Sequence[Sequence[Any]]) -> list[Any]:
    """Run commands about a key on one connection, all of them again if it breaks. Returns their replies, among them
    errors."""
    if isinstance(client, ClusterClient):
        return client.execute_together(key, commands)
    if isinstance(client, DirectClient):
        return client.execute_together(commands)
    assert isinstance(client, redis.Redis)
    pipeline = client.pipeline(transaction=False)
    for command in commands:
        pipeline.execute_command(*command)
    return pipeline.execute(raise_on_error=False)


def master_of(client: Client, key: str) -> str:
    """Which server has a key, as far as the client knows; empty if it does not."""
    if isinstance(client, ClusterClient):
        return client.master_of(key)
    return client.master if isinstance(client, DirectClient) else ""


def drop_idle(client: Client) -> None:
    """Close the idle connections; the next command connects again."""
    if isinstance(client, DirectClient | ClusterClient):
        client.drop_idle()
    elif isinstance(client, redis.Redis):
        client.connection_pool.disconnect(inuse_connections=False)


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


@cache
def _driver() -> dict[str, Any]:
    """What connections tell the server of the driver. A redis-py that has this class reads the driver's version from
    its files for each connection that is not given one, which takes longer than to connect."""
    kind = getattr(redis, "DriverInfo", None)
    return {} if kind is None else {"driver_info": kind()}


def _merged(theirs: Mapping[str, Any], ours: dict[str, Any]) -> dict[str, Any]:
    """Settings of the program's client, with ours in their place."""
    merged = _theirs(theirs) | ours
    if not {"lib_name", "lib_version"} & merged.keys():
        merged |= _driver()
    return merged if "path" in merged else merged | _keepalive(merged)


def _theirs(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in kwargs.items() if name not in _OURS}


def _keepalive(kwargs: dict[str, Any]) -> dict[str, Any]:
    given = kwargs.get("socket_keepalive_options")
    return {
        "socket_keepalive": True,
        "socket_keepalive_options": given if isinstance(given, dict) and given else dict(_KEEPALIVE),
    }


def _identity(client: Place) -> Hashable:
    if isinstance(client, Cluster):
        return frozenset(client.nodes), _settings(client.settings)
    pool = client.connection_pool
    parts = (type(pool), pool.connection_class, _settings(pool.connection_kwargs))
    if isinstance(pool, SentinelConnectionPool):
        return *parts, pool.service_name, pool.is_master, tuple(map(_identity, pool.sentinel_manager.sentinels))
    return parts


def _settings(kwargs: Mapping[str, Any]) -> Hashable:
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


def _secrets(client: Place) -> Iterator[str]:
    if isinstance(client, Cluster):
        kwargs = client.settings
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
