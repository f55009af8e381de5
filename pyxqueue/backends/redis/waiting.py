"""Waiting for results without polling: one thread per client process, server and login serves all waits.

A client that finds no record leaves the name of its queue's channel in the task's key; whoever ends the task, or writes
its progress, publishes the id there. Messages published while the subscription is down are lost, so every waiter looks
again after each (re)subscription: nothing depends on a message arriving, only on the look after it.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol, TypeAlias

from ...clock import deadline_after, is_over, seconds_left
from ...model.message import Record
from .commands import UNKNOWN, Unknown
from .keys import channel
from .listening import Channel, Notify
from .session import Session

Found: TypeAlias = Sequence[Record | Unknown | None]
"""Of each id its record, `UNKNOWN` if none will come, None if one may come."""

RECHECK = 30.0
"""Seconds after which a waiter looks again by itself: a store that has lost its data tells nobody."""


class Notifier:
    """The waits of one queue. Listening starts with the first."""

    def __init__(self, session: Session, stream_key: str) -> None:
        self._session = session
        self._stream_key = stream_key
        self._start_anew()

    def _start_anew(self) -> None:
        self._channel = Channel(channel(self._stream_key, uuid.uuid4().hex))

    @property
    def channel(self) -> str:
        return self._channel.name

    @contextmanager
    def watching(self, ids: Iterable[str], notify: Notify) -> Iterator[None]:
        """While inside, `notify` is told of every id among `ids` that is worth a look."""
        if self._channel.is_foreign:  # forked: what its lock protects stayed with the parent
            self._start_anew()
        ours = self._channel
        with ours.watching(list(ids), notify):
            self._session.link.listener.add(ours)
            yield

    def subscribed(self, timeout: float | None) -> bool:
        """Wait up to `timeout` seconds until the server confirmed the subscription."""
        return self._channel.subscribed.wait(timeout)

    def wake_all(self) -> None:
        """Have everybody look again."""
        self._channel.tell(None)

    def close(self) -> None:
        """Give up the subscription; the next wait makes another. Waits that still run end at their timeout."""
        self._start_anew()


class Inbox:
    """What one waiter is told of: each id once, however often somebody publishes it."""

    def __init__(self) -> None:
        self._ids: set[str | None] = set()
        self._news = threading.Condition()

    def put(self, task_id: str | None) -> None:
        with self._news:
            self._ids.add(task_id)
            self._news.notify()

    def take(self, deadline: float | None) -> Collection[str | None]:
        """Wait for ids to look at; None among them, as after a while without any and at the deadline, is all."""
        with self._news:
            self._news.wait_for(lambda: self._ids, until_look(deadline))
            ids, self._ids = self._ids, set()
        return ids if ids and not is_over(deadline) else (None,)


class Look(Protocol):
    """One look at the records of some ids: None for one that may still come, which then tells `channel`."""

    def __call__(self, ids: Sequence[str], channel: str = ..., deadline: float | None = ...) -> Found: ...


def wait_for(
    notifier: Notifier, look: Look, ids: Sequence[str], timeout: int | None, least: int | None
) -> Sequence[Record | None]:
    """Wait up to `timeout` ms for the records of all `ids`, or of `least` of them."""
    deadline = deadline_after(timeout)
    found = dict(zip(ids, look(ids, "", deadline), strict=True))
    if timeout != 0 and not is_enough(found.values(), least):
        _await(notifier, look, found, deadline, least)
    return [None if isinstance(record := found[task_id], Unknown) else record for task_id in ids]


def _await(
    notifier: Notifier, look: Look, found: dict[str, Record | Unknown | None], deadline: float | None, least: int | None
) -> None:
    """Fill in the records that are missing, as they come, until there are enough."""
    inbox, over = Inbox(), False
    missing = wanted = [task_id for task_id, record in found.items() if record is None]
    with notifier.watching(missing, inbox.put):
        notifier.subscribed(until_look(deadline))
        while True:
            found.update(zip(wanted, look(wanted, notifier.channel, deadline), strict=True))
            if over or is_enough(found.values(), least):
                return
            woken = inbox.take(deadline)
            over = is_over(deadline)  # a last look: does it still answer?
            wanted = [i for i, record in found.items() if record is None and (None in woken or i in woken)]


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
