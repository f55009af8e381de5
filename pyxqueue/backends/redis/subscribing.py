"""Connections that listen to channels: one, or one for each node of a cluster that has some of them.

A cluster tells all its nodes what is published, except on shard channels, which have a slot as keys have. So in a
cluster each channel is subscribed twice, at the owner of its slot: as a shard channel, on which our scripts publish,
and as another one, for what an older program publishes. Redis 6.2 has the second kind alone.

redis-py's `ClusterPubSub` has no socket to wait on, and looks at its nodes in turn; its `PubSub`, on one node, does all
that is needed.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Set as AbstractSet
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisClusterException, RedisError, ResponseError

from .cluster import ClusterClient
from .connect import Client, master_of

PING_EVERY = 5.0
"""Seconds of silence after which a server is asked for a sign of life."""
_RETRY_EVERY = 1.0
"""Seconds between two attempts to subscribe on a node of several that is away."""
_LOOK_EVERY = 1.0
"""Seconds between two looks whether Sentinels name another master."""


class Subscription:
    """Some channels on one connection: in a cluster, to the node that has the slot of `near`, a channel."""

    def __init__(self, client: Client, near: str) -> None:
        self._is_cluster = isinstance(client, ClusterClient)
        self._pubsub = client.pubsub_near(near) if isinstance(client, ClusterClient) else client.pubsub()
        self._channels: set[str] = set()
        self._answered = True
        self.next_ping = time.monotonic() + PING_EVERY

    @property
    def socket(self) -> socket.socket | None:
        """The connection's socket, for which the driver has no public name; None with fakeredis."""
        found = getattr(self._pubsub.connection, "_sock", None)
        return found if isinstance(found, socket.socket) else None

    def subscribe(self, channel: str) -> None:
        """Its begin is a message of the type `subscribe`: it is heard by shard then, if that is possible."""
        self._channels.add(channel)
        if self._is_cluster:
            self._pubsub.ssubscribe(channel)
        self._pubsub.subscribe(channel)

    def unsubscribe(self, channel: str) -> None:
        self._channels.discard(channel)
        if self._is_cluster:
            self._pubsub.sunsubscribe(channel)
        self._pubsub.unsubscribe(channel)

    def get_message(self, timeout: float = 0) -> Any:
        """The next message, with the type `message` if it was published; None if there is none. Raises errors of the
        driver: also if the slot of a channel has moved, which ends its subscription."""
        while True:
            try:
                message = self._pubsub.get_message(timeout=timeout)
            except ResponseError as error:
                if not any(word in str(error).lower() for word in ("ssubscribe", "sunsubscribe")):
                    raise
                continue  # Redis 6.2, or an ACL: then the scripts publish to all nodes
            if message is None:
                return None
            self._answered, self.next_ping = True, time.monotonic() + PING_EVERY
            kind = message["type"]
            if kind == "smessage":
                return message | {"type": "message"}
            if kind == "sunsubscribe" and message["channel"].decode() in self._channels:
                raise RedisConnectionError("the slot of a channel has moved to another node")
            if kind not in ("ssubscribe", "sunsubscribe"):
                return message

    def is_alive(self) -> bool:
        """False if the server has not answered a ping for a while. Sends one after a time of silence."""
        now = time.monotonic()
        if now < self.next_ping:
            return True
        if self._answered:
            self._answered, self.next_ping = False, now + PING_EVERY
            self._pubsub.ping()
            return True
        return False

    def close(self) -> None:
        self._pubsub.close()


class Subscriptions:
    """All channels of a listener, on as many connections as they need."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._places: dict[str, str] = {}
        """Of each channel, the node on which it is subscribed."""
        self._by_node: dict[str, Subscription] = {}
        self._next_try = 0.0
        """When to try again what could not be subscribed; 0 if there is nothing."""
        self._master = ""
        """The server that was the master of a Sentinel when the first channel was subscribed."""

    @property
    def sockets(self) -> list[socket.socket]:
        return [found for one in self._by_node.values() if (found := one.socket) is not None]

    def follow(self, wanted: AbstractSet[str]) -> None:
        """Subscribe to what is new, unsubscribe from what is gone. Of several nodes, one that is away keeps nobody from
        hearing the others; it is tried again with a later call."""
        if time.monotonic() >= self._next_try:
            if self._next_try and isinstance(self._client, ClusterClient):
                self._client.look_again()
            self._next_try = 0.0
            failed = None
            for channel in sorted(wanted - self._places.keys()):
                failed = self._begin(channel) or failed
            if failed is not None and not self._by_node:
                raise failed
        for channel in self._places.keys() - wanted:
            node = self._places.pop(channel)
            self._by_node[node].unsubscribe(channel)
            if node not in self._places.values():
                self._by_node.pop(node).close()

    def _begin(self, channel: str) -> Exception | None:
        """Subscribe to a channel. Returns why its node cannot be reached; its other channels are given up then."""
        node = self._client.master_of(channel) if isinstance(self._client, ClusterClient) else ""
        self._master = self._master or master_of(self._client, channel)
        try:
            if node not in self._by_node:
                self._by_node[node] = Subscription(self._client, channel)
            self._by_node[node].subscribe(channel)
            self._places[channel] = node
        except (RedisError, RedisClusterException, OSError) as error:
            self._places = {one: place for one, place in self._places.items() if place != node}
            if (broken := self._by_node.pop(node, None)) is not None:
                broken.close()
            self._next_try = time.monotonic() + _RETRY_EVERY
            return error
        return None

    def messages(self) -> list[Any]:
        """One message of each node that has one. An empty list says that none has any."""
        found = (one.get_message() for one in self._by_node.values())
        return [message for message in found if message is not None]

    def are_alive(self) -> bool:
        """False if a server has not answered a ping for a while, or is not the master any more that the Sentinels name:
        it would tell nothing. Sends a ping to each that has been silent for long."""
        if self._is_watched and master_of(self._client, "") != self._master:
            return False
        return all(one.is_alive() for one in self._by_node.values())

    @property
    def _is_watched(self) -> bool:
        return bool(self._master) and not isinstance(self._client, ClusterClient)

    def seconds_to_act(self) -> float:
        """Seconds until a server is to be pinged, or tried again."""
        times = [one.next_ping for one in self._by_node.values()]
        if self._next_try:
            times.append(self._next_try)
        seconds = max(0.0, min(times) - time.monotonic())
        return min(seconds, _LOOK_EVERY) if self._is_watched else seconds

    def close(self) -> None:
        for one in self._by_node.values():
            one.close()
