"""Waiting for results without polling: one thread per client process, subscribed to one channel, serves all waits.

A client that finds no record leaves the name of its channel in the task's key; whoever ends the task, or writes its
progress, publishes the id there. Messages published while the subscription is down are lost, so every waiter looks
again after each (re)subscription: nothing depends on a message arriving, only on the look after it.
"""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from redis.exceptions import RedisError

from ...clock import seconds_left
from ...errors import BrokerError
from .commands import UNKNOWN
from .connect import Backoff, Recipe
from .keys import channel

Notify = Callable[[str | None], None]
"""Called in the listening thread with an id to look at, or None for all."""

RECHECK = 30.0
"""Seconds after which a waiter looks again by itself: a store that has lost its data tells nobody."""
_PING_EVERY = 5.0
_BACKOFF = Backoff(cap=2.0)


class Waker:
    """The listening thread and the waits it serves. It starts with the first wait."""

    def __init__(self, recipe: Recipe, stream_key: str) -> None:
        self._recipe = recipe
        self._stream_key = stream_key
        self._start_anew()

    def _start_anew(self) -> None:
        self.channel = channel(self._stream_key, uuid.uuid4().hex)
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._waits: dict[str, list[Notify]] = {}
        self._subscribed = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @contextmanager
    def watching(self, ids: Iterable[str], notify: Notify) -> Iterator[None]:
        """While inside, `notify` is told of every id among `ids` that is worth a look."""
        ids = list(ids)
        if self._pid != os.getpid():  # forked: the thread, and what the lock protects, stayed with the parent
            self._start_anew()
        with self._lock:
            for task_id in ids:
                self._waits.setdefault(task_id, []).append(notify)
            if self._thread is None:
                self._stop = threading.Event()
                self._thread = threading.Thread(
                    target=self._listen, args=(self._stop,), name="pyxqueue-waker", daemon=True
                )
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                for task_id in ids:
                    left = self._waits[task_id]
                    left.remove(notify)
                    if not left:
                        del self._waits[task_id]

    def subscribed(self, timeout: float | None) -> bool:
        """Wait up to `timeout` seconds until the server confirmed the subscription."""
        return self._subscribed.wait(timeout)

    def close(self) -> None:
        """Stop the thread; the next wait starts another. Waits that still run end at their timeout."""
        with self._lock:
            self._stop.set()
            self._subscribed.clear()
            self._thread = None

    def _tell(self, task_id: str | None) -> None:
        with self._lock:
            if task_id is None:
                notifies = [notify for waits in self._waits.values() for notify in waits]
            else:
                notifies = list(self._waits.get(task_id, ()))
        for notify in notifies:
            notify(task_id)

    def _listen(self, stop: threading.Event) -> None:
        failures = 0
        while not stop.is_set():
            try:
                client = self._recipe.open(timeout=_PING_EVERY, retries=0)
                try:
                    failures = self._serve(client.pubsub(), stop)
                finally:
                    client.close()
            except (RedisError, BrokerError, OSError, ValueError):
                pass
            if stop.is_set():
                return
            self._subscribed.clear()
            failures += 1
            stop.wait(_BACKOFF.compute(failures))

    def _serve(self, subscription: Any, stop: threading.Event) -> int:
        """Listen until the connection breaks. A server that answers no PING for one period counts as gone."""
        subscription.subscribe(self.channel)
        answered = True
        try:
            while not stop.is_set():
                message = subscription.get_message(timeout=_PING_EVERY)
                if message is None:
                    if not answered:
                        return 0
                    subscription.ping()
                    answered = False
                    continue
                answered = True
                if message["type"] == "subscribe":
                    self._subscribed.set()
                    self._tell(None)
                elif message["type"] == "message":
                    self._tell(message["data"].decode())
        finally:
            subscription.close()
        return 0


def is_enough(found: Collection[object], least: int | None) -> bool:
    """Whether who waits for these has waited enough: all are there, or `least` of them, or one never comes."""
    missing = sum(record is None for record in found)
    if missing == 0 or UNKNOWN in found:
        return True
    return least is not None and len(found) - missing >= least


def until_look(deadline: float | None) -> float:
    """Seconds that a waiter sleeps at the most."""
    left = seconds_left(deadline)
    return RECHECK if left is None else min(RECHECK, left)
