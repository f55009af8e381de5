"""The thread that listens for wake-ups: one for each server and login that a process has queues on.

Messages published while the subscription is down are lost, so all waiters are woken after each (re)subscription.
"""

from __future__ import annotations

import os
import select
import socket
import threading
import weakref
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from redis.exceptions import RedisClusterException, RedisError

from ...errors import PyxqueueError
from ...log import get_logger
from ...waking import start_thread
from .connect import Backoff, ConnectionConfig
from .subscribing import PING_EVERY, Subscriptions

Notify = Callable[[str | None, bytes], None]
"""Called in the listening thread with an id to look at, or None for all, and what was published about it."""

log = get_logger("pyxqueue")

_POLL = 0.05
"""Seconds between looks at a connection that has no socket: only fakeredis has such."""
_BACKOFF = Backoff(cap=2.0)


class Channel:
    """One queue's channel, and who waits there for what."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._waits: dict[str, list[Notify]] = {}

    @property
    def is_foreign(self) -> bool:
        """Whether it was made by the process that this one was forked from."""
        return self._pid != os.getpid()

    @contextmanager
    def watching(self, ids: Sequence[str], notify: Notify) -> Iterator[None]:
        """While inside, `notify` is called with every id among `ids` that is worth a look."""
        with self._lock:
            for task_id in ids:
                self._waits.setdefault(task_id, []).append(notify)
        try:
            yield
        finally:
            with self._lock:
                for task_id in ids:
                    left = self._waits[task_id]
                    left.remove(notify)
                    if not left:
                        del self._waits[task_id]

    def tell(self, task_id: str | None, value: bytes = b"") -> None:
        """Wake those who wait for that id, or for any. If one callback raises, the others are called all the same."""
        with self._lock:
            if task_id is None:
                notifies = [notify for waits in self._waits.values() for notify in waits]
            else:
                notifies = list(self._waits.get(task_id, ()))
        for notify in notifies:
            try:
                notify(task_id, value)
            except Exception:
                log.exception("a waiter's callback failed; the others are woken all the same")


class Listener:
    """Has a thread while there are channels. No error ends the thread, only `stop` or the end of the last channel."""

    def __init__(self, config: ConnectionConfig) -> None:
        self._config = config
        self._lock = threading.Lock()
        self._channels: MutableMapping[str, Channel] = weakref.WeakValueDictionary()
        self._stopped = False
        self._failures = 0
        self._bell: socket.socket | None = None
        self.thread: threading.Thread | None = None
        """It says itself that it listens: who starts it may be interrupted meanwhile."""

    def add(self, channel: Channel) -> None:
        """Subscribe to a channel, for as long as the caller keeps it."""
        with self._lock:
            is_new = channel.name not in self._channels
            if self._stopped or (not is_new and self.thread is not None):
                return
            self._channels[channel.name] = channel
            if self.thread is None:
                start_thread(self._listen, "pyxqueue-notifier")
                return
        self._ring()

    def stop(self) -> None:
        """End the thread. Waits that still run end at their timeout."""
        self._stopped = True
        self._ring()

    def _ring(self) -> None:
        if (bell := self._bell) is not None:
            with suppress(OSError):  # it is full, so it has rung; or it is closed, because the thread has ended
                bell.send(b".")

    def _listen(self) -> None:
        told = ""
        bell, heard = socket.socketpair()
        with bell, heard:
            bell.setblocking(False)
            heard.setblocking(False)
            while not self._is_over(bell):
                try:
                    self._subscription(heard)
                except (RedisError, RedisClusterException, PyxqueueError, OSError):
                    pass  # the store cannot be reached: those who wait report it
                except Exception as error:  # noqa: BLE001 - all waits of the process need this thread
                    if told != (told := type(error).__name__):
                        log.warning("the thread that waits for results connects again after a %s", told)
                if not self._stopped:
                    self._failures += 1
                    _Ears(heard, ()).wait(_BACKOFF.compute(self._failures))

    def _is_over(self, bell: socket.socket) -> bool:
        """Whether this thread is to end: there is nothing to listen to, or another one listens."""
        with self._lock:
            if self.thread is None:
                self.thread, self._bell = threading.current_thread(), bell
            if self.thread is not threading.current_thread():
                return True
            if self._stopped or not self._channels:
                self.thread = self._bell = None
                return True
            return False

    def _all(self) -> list[Channel]:
        with self._lock:
            return list(self._channels.values())

    def _subscription(self, heard: socket.socket) -> None:
        """Subscriptions, until a connection of theirs breaks or there are no channels left."""
        client = self._config.open(timeout=PING_EVERY, retries=0)
        try:
            subscriptions = Subscriptions(client)
            try:
                self._serve(subscriptions, heard)
            finally:
                subscriptions.close()
        finally:
            client.close()

    def _serve(self, subscriptions: Subscriptions, heard: socket.socket) -> None:
        """A server that does not answer a PING within one period counts as gone."""
        ears, look = None, True
        while not self._stopped:
            if look or ears is None:
                wanted = {channel.name for channel in self._all()}
                if not wanted:
                    return
                subscriptions.follow(wanted)
                ears = _Ears(heard, subscriptions.sockets)
            messages = subscriptions.messages()
            for message in messages:
                self._failures = 0
                self._dispatch(message)
            if messages:
                look = False
                continue
            if not subscriptions.are_alive():
                return
            if not ears.hear(subscriptions.sockets):  # the driver has connected again by itself: look for the node
                look = True
                continue
            look = ears.wait(subscriptions.seconds_to_act() if ears.has_sockets else _POLL) is not False

    def _dispatch(self, message: Any) -> None:
        if message["type"] not in ("subscribe", "message"):
            return
        with self._lock:
            channel = self._channels.get(message["channel"].decode())
        if channel is None:
            return
        if message["type"] == "subscribe":
            channel.tell(None)
        else:
            task_id, _, value = message["data"].partition(b" ")
            channel.tell(task_id.decode(errors="replace"), value)


class _Ears:
    """Waits for a bell and connections."""

    def __init__(self, heard: socket.socket, connections: Sequence[socket.socket]) -> None:
        self._heard = heard
        self._fds = [one.fileno() for one in connections]
        self.has_sockets = bool(connections)
        self._poll = select.poll()
        for one in (heard, *connections):
            self._poll.register(one, select.POLLIN)

    def hear(self, connections: Sequence[socket.socket]) -> bool:
        """Return whether these are the connections that it waits for."""
        return self._fds == [one.fileno() for one in connections]

    def wait(self, seconds: float) -> bool | None:
        """Wait until the bell has rung (True) or a connection has something to read (False); None for neither."""
        ready = [fd for fd, _ in self._poll.poll(seconds * 1000)]
        if self._heard.fileno() not in ready:
            return False if ready else None
        with suppress(BlockingIOError):
            while self._heard.recv(4096):
                pass
        return True
