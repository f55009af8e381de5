"""Waiting for what tasks become, without polling: one thread per client process, server and login serves all waits.

A look that finds no record leaves the name of its queue's channel in the task's notes; what ends the task, or writes
its progress, publishes the id there, and a small record with it, which then needs no other look. Messages published
while the subscription is down are lost, so every waiter looks again after each (re)subscription: nothing depends on a
message arriving, nor on what it has beside the id.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

from ...clock import deadline_after, is_over
from ...model.message import Record
from . import commands
from .commands import UNKNOWN, Pending
from .keys import channel
from .listening import Channel
from .session import Session
from .steps import Inbox, News, Sleep, Steps


class Notifier:
    """The waits of one queue."""

    def __init__(self, session: Session, stream_key: str) -> None:
        self._session = session
        self._stream_key = stream_key
        self._renew()

    def _renew(self) -> None:
        self._channel = Channel(channel(self._stream_key, os.urandom(16).hex()))

    @contextmanager
    def watching(self, ids: Sequence[str]) -> Iterator[tuple[Inbox, Channel]]:
        """Yields an inbox that gets every id among `ids` that is worth a look, and the channel that a look leaves in
        their keys."""
        if self._channel.is_foreign:  # forked: what its lock protects stayed with the parent
            self._renew()
        ours, inbox = self._channel, Inbox()
        with ours.watching(ids, inbox.put):
            yield inbox, ours

    def sleep(self, inbox: Inbox, ours: Channel, deadline: float | None) -> Sleep:
        """The request to sleep until there is news. It subscribes the channel; each (re)subscription is news to all."""
        self._session.link.listener.add(ours)
        return Sleep(inbox, deadline)

    def close(self) -> None:
        """Give up the subscription; the next wait makes another. Waits that still run end at their timeout."""
        self._renew()


class Look(Protocol):
    """One look at the records of some ids: one that may still come then tells `channel`."""

    def __call__(self, ids: Sequence[str], channel: str, deadline: float | None, /) -> Steps[list[commands.Look]]: ...


def wait_for(
    notifier: Notifier, look: Look, ids: Sequence[str], timeout_ms: int | None, least: int | None
) -> Steps[Sequence[Record | None]]:
    """Wait up to `timeout_ms` for the records of all `ids`, or of `least` of them."""
    deadline = deadline_after(timeout_ms)
    if timeout_ms == 0:
        return [_known(record) for record in (yield from look(ids, "", deadline))]
    found: dict[str, commands.Look] = dict.fromkeys(ids, Pending())
    wanted, over = list(found), False
    with notifier.watching(wanted) as (inbox, channel):
        while True:
            if wanted:
                found.update(zip(wanted, (yield from look(wanted, channel.name, deadline)), strict=True))
            if over or _is_enough(found.values(), least):
                return [_known(found[task_id]) for task_id in ids]
            news = yield notifier.sleep(inbox, channel, deadline)
            over = is_over(deadline)  # a last look, which raises an error if the server is gone
            found.update(_published(news, found))
            wanted = [i for i, one in found.items() if isinstance(one, Pending) and (None in news or i in news)]


def _published(news: News, found: Mapping[str, commands.Look]) -> Iterator[tuple[str, Record]]:
    """The records in the news. One that was stored before the last look is of an earlier life of the task."""
    for task_id, value in news.items():
        before = found.get(task_id or "")
        if value and task_id is not None and isinstance(before, Pending):
            record = commands.published(task_id, value)
            if record is not None and record.ended_ms >= before.since_ms:
                yield task_id, record


def _is_enough(found: Collection[commands.Look], least: int | None) -> bool:
    """Whether the wait can end: all are there, or `least` of them, or one never comes."""
    missing = sum(isinstance(one, Pending) for one in found)
    if missing == 0 or UNKNOWN in found:
        return True
    return least is not None and len(found) - missing >= least


def _known(found: commands.Look) -> Record | None:
    return found if isinstance(found, Record) else None
