"""Waiting for results without polling: one thread per client process, server and login serves all waits.

A client that finds no record leaves the name of its queue's channel in the task's key; what ends the task, or writes
its progress, publishes the id there. Messages published while the subscription is down are lost, so every waiter looks
again after each (re)subscription: nothing depends on a message arriving, only on the look after it.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol, TypeAlias

from ...clock import deadline_after, is_over
from ...model.message import Record, TaskInfo
from .commands import UNKNOWN, Unknown
from .keys import channel
from .listening import Channel
from .session import Session
from .steps import Inbox, Sleep, Steps

Found: TypeAlias = Sequence[Record | Unknown | None]
"""Of each id its record, `UNKNOWN` if none will come, None if one may come."""


class Notifier:
    """The waits of one queue. Listening starts with the first."""

    def __init__(self, session: Session, stream_key: str) -> None:
        self._session = session
        self._stream_key = stream_key
        self._renew()

    def _renew(self) -> None:
        self._channel = Channel(channel(self._stream_key, uuid.uuid4().hex))

    @property
    def channel(self) -> str:
        return self._channel.name

    @property
    def is_subscribed(self) -> bool:
        """Whether the server has confirmed the subscription."""
        return self._channel.subscribed.is_set()

    @contextmanager
    def watching(self, ids: Sequence[str]) -> Iterator[Inbox]:
        """Yields an inbox, which while inside is told of every id among `ids` that is worth a look."""
        if self._channel.is_foreign:  # forked: what its lock protects stayed with the parent
            self._renew()
        ours, inbox = self._channel, Inbox()
        with ours.watching(ids, inbox.put):
            self._session.link.listener.add(ours)
            yield inbox

    def wake_all(self) -> None:
        """Have every waiter look again."""
        self._channel.tell(None)

    def close(self) -> None:
        """Give up the subscription; the next wait makes another. Waits that still run end at their timeout."""
        self._renew()


class Look(Protocol):
    """One look at the records of some ids: None for one that may still come, which then tells `channel`."""

    def __call__(self, ids: Sequence[str], channel: str, deadline: float | None, /) -> Steps[Found]: ...


def wait_for(
    notifier: Notifier, look: Look, ids: Sequence[str], timeout_ms: int | None, least: int | None
) -> Steps[Sequence[Record | None]]:
    """Wait up to `timeout_ms` for the records of all `ids`, or of `least` of them."""
    deadline = deadline_after(timeout_ms)
    found = dict(zip(ids, (yield from look(ids, "", deadline)), strict=True))
    if timeout_ms != 0 and not _is_enough(found.values(), least):
        yield from _fill_in(notifier, look, found, deadline, least)
    return [None if isinstance(record := found[task_id], Unknown) else record for task_id in ids]


def _fill_in(
    notifier: Notifier, look: Look, found: dict[str, Record | Unknown | None], deadline: float | None, least: int | None
) -> Steps[None]:
    """Fill in the records that are missing, as they come, until there are enough."""
    missing = wanted = [task_id for task_id, record in found.items() if record is None]
    with notifier.watching(missing) as inbox:
        over = yield from _subscribed(notifier, inbox, deadline)
        while True:
            found.update(zip(wanted, (yield from look(wanted, notifier.channel, deadline)), strict=True))
            if over or _is_enough(found.values(), least):
                return
            news = yield Sleep(inbox, deadline)
            over = is_over(deadline)  # a last look: does it still answer?
            wanted = [i for i, record in found.items() if record is None and (None in news or i in news)]


class Observe(Protocol):
    """One look at a task, which then tells `channel` of its progress and its end."""

    def __call__(self, task_id: str, channel: str, deadline: float | None, /) -> Steps[TaskInfo | None]: ...


def watch_for(
    notifier: Notifier, observe: Observe, task_id: str, seen: TaskInfo | None, timeout_ms: int | None
) -> Steps[TaskInfo | None]:
    """Wait up to `timeout_ms` until a task's status or progress differ from what was seen."""
    deadline = deadline_after(timeout_ms)
    with notifier.watching([task_id]) as inbox:
        over = yield from _subscribed(notifier, inbox, deadline)
        while True:
            info = yield from observe(task_id, notifier.channel, deadline)
            if over or info is None or info.differs(seen):
                return info
            yield Sleep(inbox, deadline)
            over = is_over(deadline)  # a last look: what would wake no waiter is seen all the same


def _subscribed(notifier: Notifier, inbox: Inbox, deadline: float | None) -> Steps[bool]:
    """Wait for the subscription, which tells the inbox; returns whether the time is up."""
    if not notifier.is_subscribed:
        yield Sleep(inbox, deadline)
    return is_over(deadline)


def _is_enough(found: Collection[object], least: int | None) -> bool:
    """Whether the wait can end: all are there, or `least` of them, or one never comes."""
    missing = sum(record is None for record in found)
    if missing == 0 or UNKNOWN in found:
        return True
    return least is not None and len(found) - missing >= least
