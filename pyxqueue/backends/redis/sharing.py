"""What the queues of one process share: the connections and the listening thread for a server and a login.

A link lives as long as a session uses it: it ends when the last one is closed or collected.
"""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import Hashable, MutableMapping
from contextlib import suppress
from typing import Any

from attrs import define, field

from .connect import Client, ConnectionConfig, drop_idle
from .listening import Listener
from .replicas import Replicas


class Link:
    """The connections to one server, and the listener there. `join` makes it. Threads may share it."""

    def __init__(self, config: ConnectionConfig, key: Hashable) -> None:
        self.pid = os.getpid()
        self.listener = Listener(config)
        self.loops: dict[asyncio.AbstractEventLoop, Any] = {}
        """The client of each event loop; `aio` fills it."""
        self.replicas = Replicas()
        self.drops = 0
        """How often idle connections were closed; each event loop then closes its own."""
        self.key = key
        self.users: weakref.WeakSet[object] = weakref.WeakSet()
        self._config = config
        self._lock = threading.Lock()
        self._clients: dict[float, Client] = {}
        self.end = weakref.finalize(self, _end, self.pid, self._clients, self.loops, self.listener)
        self.end.atexit = False

    def client(self, patience: float) -> Client:
        """The client that waits `patience` seconds for a reply; its commands may be repeated without harm."""
        with self._lock:
            if patience not in self._clients:
                self._clients[patience] = self._config.open(timeout=patience, retries=3)
            return self._clients[patience]

    def drop_idle(self) -> None:
        """Close the idle connections, so that the next command connects again: they may be as dead as the one that
        failed, or lead to a replica."""
        with self._lock:
            self.drops += 1
            clients = list(self._clients.values())
        for client in clients:
            drop_idle(client)


@define
class _Registry:
    """The links of one process."""

    lock: threading.Lock = field(factory=threading.Lock)
    links: MutableMapping[Hashable, Link] = field(factory=weakref.WeakValueDictionary)


_REGISTRIES: dict[int, _Registry] = {}
"""By process: a fork may happen while another thread holds the lock."""


def _registry() -> _Registry:
    return _REGISTRIES.setdefault(os.getpid(), _Registry())


def join(config: ConnectionConfig, user: object) -> Link:
    """This process's link to a server, for `user`, which must keep a reference to it."""
    key, registry = config.identity, _registry()
    with registry.lock:
        link = registry.links.get(key)
        if link is None:
            link = registry.links[key] = Link(config, key)
        link.users.add(user)
        return link


def leave(link: Link, user: object) -> None:
    """`user` no longer needs the link; when the last user leaves, its connections are closed."""
    registry = _registry()
    with registry.lock:
        link.users.discard(user)
        if link.users:
            return
        if registry.links.get(link.key) is link:
            del registry.links[link.key]
    link.end()


def _end(pid: int, clients: dict[float, Client], loops: dict[Any, Any], listener: Listener) -> None:
    """Must not block: it may run in any thread, when the last queue is collected."""
    if pid != os.getpid():
        return  # forked: the connections are the parent's
    listener.stop()
    for client in list(clients.values()):
        with suppress(Exception):
            client.close()
    clients.clear()
    for loop in list(loops):
        if loop.is_running():  # another closes its client when it ends
            loops.pop(loop, None)
