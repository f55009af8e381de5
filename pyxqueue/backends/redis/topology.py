"""Where the servers are, if there are several: Sentinels that know the master, or the nodes of a cluster.

A URL names them all: ``redis+sentinel://user:password@host:26379,host2:26379/mymaster/0`` and
``redis+cluster://user:password@host:6379,host2:6379``, with ``rediss`` for TLS. The login is that of the servers; the
options `sentinel_username` and `sentinel_password` are that of the Sentinels.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from attrs import field, frozen
from redis import Redis
from redis.cluster import RedisCluster
from redis.connection import SSLConnection, parse_url
from redis.sentinel import Sentinel

from ...urls import scheme_of

_PLACE = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[\w.-]+)(?::(?P<port>\d{1,5}))?")
_KEPT = {"client_name", "credential_provider", "lib_name", "lib_version", "password", "username"}
"""What is taken from a program's cluster client, besides what is about TLS."""
_SENTINEL_PORT, _PORT = 26_379, 6_379


@frozen
class Cluster:
    """A cluster: some of its nodes, and the settings of the connections to all of them. It opens nothing."""

    nodes: Sequence[tuple[str, int]]
    settings: Mapping[str, Any] = field(repr=False)
    """Those of redis-py's `RedisCluster`."""

    @classmethod
    def of(cls, client: RedisCluster) -> Cluster:
        """Return the cluster of a program's client."""
        manager = client.nodes_manager
        given = manager.connection_kwargs.items()
        settings = {name: value for name, value in given if name in _KEPT or name.startswith("ssl")}
        if manager.address_remap is not None:
            settings["address_remap"] = manager.address_remap
        return cls(sorted((str(node.host), int(node.port)) for node in manager.startup_nodes.values()), settings)


def client_of(url: str) -> Redis | Cluster:
    """Return what a URL describes, without connecting. Raises `ValueError` for one that cannot be read."""
    scheme, rest = scheme_of(url), url.partition("://")[2]
    base, _, kind = scheme.partition("+")
    if not kind:
        return Redis.from_url(url)
    end = next((place for place, char in enumerate(rest) if char in "/?#"), len(rest))
    login, at, hosts = rest[:end].rpartition("@")
    path, _, query = rest[end:].partition("?")
    settings = parse_url(f"{base}://{login}{at}localhost?{query}")
    settings.pop("host")
    is_tls = settings.pop("connection_class", None) is SSLConnection
    if kind == "cluster":
        if path not in ("", "/", "/0"):
            raise ValueError("a cluster has the database 0 only")
        return Cluster(_places(hosts, _PORT), settings | ({"ssl": True} if is_tls else {}))
    return _through_sentinels(_places(hosts, _SENTINEL_PORT), path, settings, is_tls=is_tls)


def _through_sentinels(
    sentinels: Sequence[tuple[str, int]], path: str, settings: dict[str, Any], *, is_tls: bool
) -> Redis:
    _, name, database = (*path.split("/"), "", "")[:3]
    if not name:
        raise ValueError("the name of the master is missing")
    prefix = "sentinel_"
    theirs = {key[len(prefix) :]: settings.pop(key) for key in list(settings) if key.startswith(prefix)}
    if is_tls:
        settings["ssl"] = True
        theirs |= {key: value for key, value in settings.items() if key.startswith("ssl")}
    client: Redis = Sentinel(sentinels, sentinel_kwargs=theirs).master_for(
        unquote(name), **settings, db=int(database or settings.pop("db", 0))
    )
    return client


def _places(hosts: str, port: int) -> list[tuple[str, int]]:
    """Return the hosts of a URL, separated by commas, with their ports."""
    places = []
    for one in hosts.split(","):
        found = _PLACE.fullmatch(one)
        if found is None:
            raise ValueError("a host is not one")
        places.append((unquote(found["host"]).strip("[]"), int(found["port"] or port)))
    return places
