"""Servers that form one store: a master with a replica and Sentinels, or a cluster."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import Any

import redis
from attrs import frozen
from redis.crc import key_slot

from pyxqueue.testing.servers import FIRST_PORT, LAST_PORT, Server, ServerKind
from tests.support.until import until

SLOTS = 16_384
_BUS = 10_000
"""How much greater the port is on which the nodes of a cluster talk to each other."""
_AT_ONCE = ("--repl-diskless-sync-delay", "0")
"""A replica is not kept waiting for others that may come."""
MASTER = "mymaster"


def ask(server: Server, *args: Any) -> Any:
    """Run one command on a server."""
    with redis.Redis(port=server.port, decode_responses=True, protocol=2) as client:
        return client.execute_command(*args)


@frozen
class Watched:
    """Servers of which all but one replicate that one, and the Sentinels that watch them."""

    servers: Sequence[Server]
    sentinels: Sequence[Server]

    @property
    def url(self) -> str:
        return f"redis+sentinel://{','.join(f'127.0.0.1:{one.port}' for one in self.sentinels)}/{MASTER}/0"

    @property
    def master(self) -> Server:
        """The server that the Sentinels name."""
        port = int(ask(self.sentinels[0], "SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER)[1])
        return next(server for server in self.servers if server.port == port)

    @property
    def replica(self) -> Server:
        """The first of the others."""
        return self.replicas[0]

    @property
    def replicas(self) -> Sequence[Server]:
        master = self.master
        return [server for server in self.servers if server is not master]

    def wait_replicated(self) -> None:
        """Wait until the others follow the master."""
        until(lambda: all(map(follows, self.replicas)), "the others follow the master", 60)


def follow(server: Server, master: Server) -> None:
    """Have a server replicate another, from now on. (Redis 6.2 does not start with that in its arguments.)"""
    ask(server, "REPLICAOF", "127.0.0.1", master.port)


def follows(server: Server) -> bool:
    role = ask(server, "ROLE")
    return bool(role[0] == "slave" and role[3] == "connected")


def leads(server: Server) -> bool:
    return bool(ask(server, "ROLE")[0] == "master")


@contextmanager
def replicated(kind: ServerKind, args: Sequence[str] = (), replicas: int = 1) -> Iterator[Sequence[Server]]:
    """Start a master and replicas that follow it."""
    with ExitStack() as stack:
        servers = [stack.enter_context(Server(kind, args=(*_AT_ONCE, *args))) for _ in range(1 + replicas)]
        master, *others = servers
        for one in others:
            follow(one, master)
        until(lambda: ask(master, "WAIT", replicas, 100) == replicas, "the others follow the master")
        yield servers


@contextmanager
def watched(kind: ServerKind, sentinels: int = 1, args: Sequence[str] = (), replicas: int = 1) -> Iterator[Watched]:
    """Start a master, replicas, and Sentinels that fail over after 500 ms of silence."""
    with ExitStack() as stack:
        servers = stack.enter_context(replicated(kind, args, replicas))
        master = servers[0]
        watchers = [stack.enter_context(Server(kind, args=("--sentinel",))) for _ in range(sentinels)]
        for one in watchers:
            ask(one, "SENTINEL", "MONITOR", MASTER, "127.0.0.1", master.port, sentinels // 2 + 1)
            for name, value in {"down-after-milliseconds": 500, "failover-timeout": 2_000}.items():
                ask(one, "SENTINEL", "SET", MASTER, name, value)
        found = Watched(servers, watchers)
        found.wait_replicated()
        for one in watchers:
            until(partial(_sees, one, sentinels, replicas), "the Sentinels see the replicas and each other")
        yield found


def _sees(sentinel: Server, sentinels: int, replicas: int) -> bool:
    flat = ask(sentinel, "SENTINEL", "MASTER", MASTER)
    facts = flat if isinstance(flat, dict) else dict(zip(flat[::2], flat[1::2], strict=True))
    return int(facts["num-slaves"]) == replicas and int(facts["num-other-sentinels"]) == sentinels - 1


@frozen
class Nodes:
    """The masters of a cluster; each may have a replica."""

    masters: Sequence[Server]
    replicas: Sequence[Server]
    tls_ports: Sequence[int] = ()

    @property
    def url(self) -> str:
        return f"redis+cluster://{','.join(f'127.0.0.1:{one.port}' for one in self.masters)}"

    def owner(self, key: str) -> Server:
        """The server that has the slot of a key."""
        slot = key_slot(key.encode())
        for first, last, (_, port, *_), *_ in ask(self.masters[0], "CLUSTER", "SLOTS"):
            if int(first) <= slot <= int(last):
                return next(one for one in (*self.masters, *self.replicas) if one.port == int(port))
        raise AssertionError(f"no node has the slot {slot}")

    def move(self, key: str, there: Server) -> None:
        """Move the slot of a key, with all that it has, to another master."""
        self.move_slot(key_slot(key.encode()), self.owner(key), there)

    def begin_move(self, slot: int, here: Server, there: Server) -> None:
        """What is not in the slot yet goes to the other master from now on."""
        ask(there, "CLUSTER", "SETSLOT", slot, "IMPORTING", ask(here, "CLUSTER", "MYID"))
        ask(here, "CLUSTER", "SETSLOT", slot, "MIGRATING", ask(there, "CLUSTER", "MYID"))

    def move_slot(self, slot: int, here: Server, there: Server) -> None:
        """Move a slot, with all that it has, to another master."""
        self.begin_move(slot, here, there)
        there_id = ask(there, "CLUSTER", "MYID")
        while keys := ask(here, "CLUSTER", "GETKEYSINSLOT", slot, 100):
            ask(here, "MIGRATE", "127.0.0.1", there.port, "", 0, 5_000, "KEYS", *keys)
        for server in (there, here, *self.masters):
            ask(server, "CLUSTER", "SETSLOT", slot, "NODE", there_id)

    def meet(self, new: Server) -> None:
        """Have a server join as a master without slots."""
        ask(new, "CLUSTER", "SET-CONFIG-EPOCH", 1_000)  # all believe it about its slots
        ask(new, "CLUSTER", "MEET", "127.0.0.1", self.masters[0].port)
        total = len(self.masters) + len(self.replicas) + 1
        for one in (new, *self.masters):
            until(lambda one=one: _knows(one, total), "the nodes know the new one")  # type: ignore[misc]
        until(lambda: "cluster_state:ok" in info(new), "it takes part")

    def joined(self, new: Server) -> Nodes:
        """Have a server join, and give it an equal part of the slots of each master. Returns the cluster with it."""
        self.meet(new)
        for number, here in enumerate(self.masters):
            first, last = number * SLOTS // len(self.masters), (number + 1) * SLOTS // len(self.masters)
            slots = range(first, first + (last - first) // (len(self.masters) + 1))
            for slot in self._give(slots, here, new):
                self.move_slot(slot, here, new)
        return Nodes([*self.masters, new], self.replicas)

    def _give(self, slots: Sequence[int], here: Server, new: Server) -> list[int]:
        """Give away the slots that have no keys, all at once. Returns the others."""
        new_id = ask(new, "CLUSTER", "MYID")
        refused: list[int] = []
        for server in (here, new):
            with redis.Redis(port=server.port, protocol=2) as client, client.pipeline(transaction=False) as pipeline:
                for slot in slots:
                    pipeline.execute_command("CLUSTER SETSLOT", slot, "NODE", new_id)
                replies = pipeline.execute(raise_on_error=False)
            refused += [slot for slot, reply in zip(slots, replies, strict=True) if isinstance(reply, Exception)]
            slots = [slot for slot in slots if slot not in refused]
        return refused


def free_port() -> int:
    """Return a port that nobody has at the moment, nor that of a cluster's bus, for what `Server` does not choose by
    itself."""
    for _ in range(100):
        port = FIRST_PORT + secrets.randbelow(LAST_PORT - _BUS - FIRST_PORT)
        with socket.socket() as probe, socket.socket() as bus, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            bus.bind(("127.0.0.1", port + _BUS))
            return port
    raise RuntimeError("no port is free")


@contextmanager
def cluster(
    kind: ServerKind,
    masters: int = 3,
    replicas: int = 0,
    args: Sequence[str] = (),
    tls: Callable[[int], Sequence[str]] | None = None,
) -> Iterator[Nodes]:
    """Start a cluster whose nodes count as failed after a second of silence. `tls`: the arguments of a node that talks
    to others on this port only, with TLS."""
    args = ("--cluster-enabled", "yes", "--cluster-node-timeout", "1000", *_AT_ONCE, *args)
    tls_ports = [] if tls is None else [free_port() for _ in range(masters + replicas)]
    each = [() if tls is None else tls(port) for port in tls_ports] or [()] * (masters + replicas)
    with ExitStack() as stack:
        nodes = [stack.enter_context(Server(kind, args=(*args, *own))) for own in each]
        for number, node in enumerate(nodes[:masters]):
            first, last = number * SLOTS // masters, (number + 1) * SLOTS // masters
            ask(node, "CLUSTER", "ADDSLOTS", *range(first, last))
            ask(node, "CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for node in nodes[1:]:
            ask(node, "CLUSTER", "MEET", "127.0.0.1", tls_ports[0] if tls_ports else nodes[0].port)
        for node in nodes:
            until(lambda node=node: _knows(node, len(nodes)), "the nodes know each other")  # type: ignore[misc]
        for master, replica in zip(nodes, nodes[masters:], strict=False):
            ask(replica, "CLUSTER", "REPLICATE", ask(master, "CLUSTER", "MYID"))
        for node in nodes:
            until(lambda node=node: "cluster_state:ok" in info(node), "the cluster is up")  # type: ignore[misc]
        for replica in nodes[masters:]:
            until(lambda replica=replica: follows(replica), "the replica follows")  # type: ignore[misc]
        yield Nodes(nodes[:masters], nodes[masters:], tls_ports)


def info(node: Server) -> str:
    facts = ask(node, "CLUSTER", "INFO")
    return " ".join(f"{name}:{value}" for name, value in facts.items()) if isinstance(facts, dict) else str(facts)


def _knows(node: Server, nodes: int) -> bool:
    return f"cluster_known_nodes:{nodes}" in info(node)
