"""The client for a Redis Cluster, whose commands all go to the node that has the queue's slot.

redis-py looks up in a table of commands, or asks a node, where the keys of a command are. Here this is known: all keys
of a queue are in one slot, and the commands are few.
"""

from __future__ import annotations

from typing import Any

from redis.client import Redis
from redis.cluster import ClusterNode, RedisCluster
from redis.crc import key_slot

from .topology import Cluster

_SECOND = {"XINFO", "XGROUP", "OBJECT", "MEMORY"}
"""Commands whose first word is followed by another, and then by the key."""
_KEYLESS = {"INFO", "TIME", "PING", "CONFIG", "CLIENT", "SCRIPT", "PUBSUB", "ACL", "WAIT", "WAITAOF"}


def key_of(args: tuple[Any, ...]) -> str | bytes | None:
    """Return the first key of a command of ours; None if it has none."""
    name = str(args[0]).partition(" ")[0].upper()
    if name in _KEYLESS:
        return None
    if name in ("EVALSHA", "EVAL"):
        place = 3
    elif name == "XREADGROUP":
        place = args.index("STREAMS") + 1
    else:
        place = 2 if name in _SECOND else 1
    key = args[place]
    return key if isinstance(key, str | bytes) else str(key)


class ClusterClient(RedisCluster):
    """A cluster client that leaves the replies of streams as they are, and knows where the keys of a command are."""

    def __init__(self, place: Cluster, **settings: Any) -> None:
        nodes = [ClusterNode(host, port) for host, port in place.nodes]
        super().__init__(startup_nodes=nodes, **settings)

    def execute_near(self, key: str, *args: Any) -> Any:
        """Run a command that has no key, on the node that has this key."""
        node = self.get_node_from_key(key)  # type: ignore[no-untyped-call] # of redis-py
        return self.execute_command(*args, target_nodes=node)  # type: ignore[no-untyped-call] # of redis-py

    def determine_slot(self, *args: Any) -> int | None:
        key = key_of(args)
        return None if key is None else key_slot(self.encoder.encode(key))

    def get_redis_connection(self, node: ClusterNode) -> Redis:
        client: Redis = super().get_redis_connection(node)
        leave_streams(client)
        return client


def leave_streams(client: Any) -> None:
    """Stop redis-py from reshaping the replies that `commands` reads."""
    for command in ("XREADGROUP", "XPENDING", "XRANGE", "XREVRANGE", "XCLAIM", "XINFO CONSUMERS", "XINFO GROUPS"):
        client.set_response_callback(command, lambda reply, **_options: reply)
