"""The client for a Redis Cluster, whose commands all go to the node that has the queue's slot.

redis-py looks up in a table of commands, or asks a node, where the keys of a command are. Here this is known: all keys
of a queue are in one slot, and the commands are few.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from attrs import define, field
from redis.client import PubSub, Redis
from redis.cluster import PRIMARY, ClusterNode, RedisCluster, get_node_name
from redis.crc import key_slot
from redis.exceptions import (
    AskError,
    ClusterDownError,
    MovedError,
    RedisClusterException,
    RedisError,
    SlotNotCoveredError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from .scripts import for_cluster
from .topology import Cluster

_SECOND = {"XINFO", "XGROUP", "OBJECT", "MEMORY"}
"""Commands whose first word is followed by another, and then by the key."""
_KEYLESS = {"INFO", "TIME", "PING", "CONFIG", "CLIENT", "SCRIPT", "PUBSUB", "ACL", "WAIT", "WAITAOF"}

_REDIRECTS = (AskError, MovedError, TryAgainError)
_REDIRECTIONS = 16
REPEATED: Any = (RedisConnectionError, ClusterDownError, SlotNotCoveredError)
"""Errors after which redis-py sends a command again. It would also do so after a timeout, whatever `Retry` says."""
TRY_AGAIN = 0.05
"""Seconds after which a slot is tried again that is being moved."""


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


def address_of(host: str | None, port: int | None, name: str | None) -> tuple[str, int] | None:
    """Host and port of a node, given these or its name; None if nothing is given."""
    if host and port:
        return host, port
    place, _, number = (name or "").rpartition(":")
    return (place, int(number)) if place and number.isdecimal() else None


def node_of(client: Any, key: str) -> str:
    """The node to which a cluster client would send a command about a key; empty if it has not connected yet."""
    try:
        return str(client.get_node_from_key(key).name)
    except (RedisError, RedisClusterException, AttributeError, KeyError):
        return ""


def _for_cluster(commands: Sequence[Sequence[Any]]) -> Sequence[Sequence[Any]]:
    return [for_cluster(one) for one in commands]


_FAILED_FOR = 10.0
"""For how many seconds a node that has failed is not asked which node has which slots, if there are others: it may
hang, and take as long again."""
_failed: dict[str, float] = {}
"""When nodes have failed in this process, whichever client has noticed it."""


def note_failed(node: Any) -> None:
    """Note that a command to a node of a cluster got no reply."""
    _failed[node.name] = time.monotonic()


def pass_over_failed(client: Any) -> list[Any]:
    """Have a client ask other nodes than those that have failed when it looks next. It then knows all again. Returns
    the nodes that it has forgotten."""
    startup, nodes = client.nodes_manager.startup_nodes, client.nodes_manager.nodes_cache
    failed = [name for name in startup if is_passed_over(name)][: len(startup) - 1]  # one at least stays
    forgotten = {name: startup.pop(name, None) for name in failed}
    return [node for name, node in forgotten.items() if node is not None and node is not nodes.get(name)]


def is_passed_over(name: str) -> bool:
    return time.monotonic() - _failed.get(name, -math.inf) < _FAILED_FOR


def nodes_to_ask(place: Cluster) -> list[tuple[str, int]]:
    """The nodes that a new client asks: those that it was given, except those that have failed, if there are others."""
    return [node for node in place.nodes if not is_passed_over(get_node_name(*node))] or list(place.nodes)


@define
class Trip:
    """Commands about one key that are executed together, and where they go: a node may send them to another."""

    key: str
    commands: Sequence[Sequence[Any]] = field(converter=_for_cluster)
    _asked: AskError | None = None
    _left: int = _REDIRECTIONS

    def node(self, client: Any) -> Any:
        """The node of a client to which the commands go next."""
        if self._asked is None:
            return client.get_node_from_key(self.key)
        return client.get_node(host=self._asked.host, port=self._asked.port)

    @property
    def sent(self) -> Sequence[Sequence[Any]]:
        """The commands for that node. One to which a slot is being moved must be told before each that we know it."""
        if self._asked is None:
            return self.commands
        return [one for command in self.commands for one in (("ASKING",), command)]

    def replies(self, found: list[Any]) -> list[Any]:
        """The replies to the commands, of all that were sent."""
        return found if self._asked is None else found[1::2]

    def redirected(self, replies: list[Any]) -> Exception | None:
        """Why the commands must be sent once more; None if they need not. Raises it if that was so too often."""
        found = next((one for one in replies if isinstance(one, _REDIRECTS)), None)
        self._asked = found if isinstance(found, AskError) else None
        self._left -= 1
        if found is not None and self._left == 0:
            raise found
        return found


class ClusterClient(RedisCluster):
    """A cluster client that leaves the replies of streams as they are, and knows where the keys of a command are."""

    ERRORS_ALLOW_RETRY = REPEATED

    def __init__(self, place: Cluster, **settings: Any) -> None:
        nodes = [ClusterNode(host, port) for host, port in nodes_to_ask(place)]
        self._must_look = False
        super().__init__(startup_nodes=nodes, **settings)

    def get_node(
        self, host: str | None = None, port: int | None = None, node_name: str | None = None
    ) -> ClusterNode | None:
        """The node of an address. A master to which the first slot is being moved is in no list that redis-py has."""
        found: ClusterNode | None = super().get_node(host, port, node_name)  # type: ignore[no-untyped-call] # of redis-py
        if found is None and (address := address_of(host, port, node_name)) is not None:
            found = ClusterNode(*address, PRIMARY)
            self.nodes_manager.nodes_cache[found.name] = found
        return found

    def command(self, **_options: Any) -> dict[str, Any]:
        """No table of all commands: redis-py asks one node for it, and could not connect while that is away."""
        return {}

    def execute_command(self, *args: Any, **options: Any) -> Any:
        self._look_if_told()
        return super().execute_command(*for_cluster(args), **options)  # type: ignore[no-untyped-call] # of redis-py

    def pubsub_near(self, key: str) -> PubSub:
        """What listens on the node that has this key. (redis-py's `ClusterPubSub` has no socket to wait on.)"""
        node = self.get_node_from_key(key)  # type: ignore[no-untyped-call] # of redis-py
        if node is None:
            raise SlotNotCoveredError(f"no node has the slot of {key}")
        found: PubSub = self.get_redis_connection(node).pubsub()
        return found

    def execute_near(self, key: str, *args: Any) -> Any:
        """Run a command that has no key, on the node that has this key."""
        node = self.get_node_from_key(key)  # type: ignore[no-untyped-call] # of redis-py
        return self.execute_command(*args, target_nodes=node)

    def master_of(self, key: str) -> str:
        """The node that has this key, as far as is known."""
        return node_of(self, key)

    def execute_together(self, key: str, commands: Sequence[Sequence[Any]]) -> list[Any]:
        """Run commands on one connection to the node that has this key, all of them again if it breaks or the slot is
        elsewhere. Returns their replies, among them errors."""
        self._look_if_told()
        return self.retry.call_with_retry(lambda: self._together(Trip(key, commands)), lambda _: self.look_again())

    def _together(self, trip: Trip) -> list[Any]:
        while True:
            node = trip.node(self)
            pipeline = self.get_redis_connection(node).pipeline(transaction=False)
            for command in trip.sent:
                pipeline.execute_command(*command)
            try:
                replies = trip.replies(pipeline.execute(raise_on_error=False))
            except (RedisConnectionError, RedisTimeoutError) as error:
                note_failed(node)
                if isinstance(error, RedisTimeoutError):  # nothing is sent again, and the next commands go elsewhere
                    self.look_again()
                raise
            why = trip.redirected(replies)
            if why is None:
                return replies
            if isinstance(why, MovedError):
                self.nodes_manager.move_slot(why)
            elif isinstance(why, TryAgainError):
                time.sleep(TRY_AGAIN)

    def drop_idle(self) -> None:
        """Close the idle connections; the next command connects again, to the node that has its slot then."""
        for node in self.get_nodes():  # type: ignore[no-untyped-call] # of redis-py
            if node.redis_connection is not None:
                node.redis_connection.connection_pool.disconnect(inuse_connections=False)
        self._must_look = True

    def _look_if_told(self) -> None:
        if self._must_look:
            self._must_look = False
            self.look_again()

    def look_again(self) -> None:
        """Read which node has which slots."""
        pass_over_failed(self)
        with suppress(RedisError, RedisClusterException, OSError):  # then the next attempt fails
            self.nodes_manager.initialize()

    def _execute_command(self, target_node: ClusterNode, *args: Any, **options: Any) -> Any:
        try:
            return super()._execute_command(target_node, *args, **options)  # type: ignore[no-untyped-call] # of redis-py
        except RedisTimeoutError:
            note_failed(target_node)
            raise

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
