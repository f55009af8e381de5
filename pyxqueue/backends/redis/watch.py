"""Waiting for what tasks become, without polling: one thread per client process, server and login serves all waits.

A look that finds no record leaves the name of its queue's channel in the task's key; what ends the task, or writes its
progress, publishes the id there. Messages published while the subscription is down are lost, so every waiter looks
again after each (re)subscription: nothing depends on a message arriving, only on the look after it.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol, TypeAlias

from ...clock import deadline_after, is_over
from ...model.message import Record
from .commands import UNKNOWN, Unknown
from .keys import channel
from .listening import Channel
from .session import Session
from .steps import Inbox, Sleep, Steps

Found: TypeAlias = Sequence[Record | Unknown | None]
"""Of each id its record, `UNKNOWN` if none will come, None if one may come."""


class Notifier:
    """The waits of one queue."""

    def __init__(self, session: Session, stream_key: str) -> None:
        self._session = session
        self._stream_key = stream_key
        self._renew()

    def _renew(self) -> None:
        self._channel = Channel(channel(self._stream_key, uuid.uuid4().hex))

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
    """One look at the records of some ids: None for one that may still come, which then tells `channel`."""

    def __call__(self, ids: Sequence[str], channel: str, deadline: float | None, /) -> Steps[Found]: ...


def wait_for(
    notifier: Notifier, look: Look, ids: Sequence[str], timeout_ms: int | None, least: int | None
) -> Steps[Sequence[Record | None]]:
    """Wait up to `timeout_ms` for the records of all `ids`, or of `least` of them."""
    deadline = deadline_after(timeout_ms)
    if timeout_ms == 0:
        return [_known(record) for record in (yield from look(ids, "", deadline))]
    found: dict[str, Record | Unknown | None] = dict.fromkeys(ids)
    wanted, over = list(found), False
    with notifier.watching(wanted) as (inbox, channel):
        while True:
            found.update(zip(wanted, (yield from look(wanted, channel.name, deadline)), strict=True))
            if over or _is_enough(found.values(), least):
                return [_known(found[task_id]) for task_id in ids]
            news = yield notifier.sleep(inbox, channel, deadline)
            over = is_over(deadline)  # a last look, which raises an error if the server is gone
            wanted = [i for i, record in found.items() if record is None and (None in news or i in news)]


def _is_enough(found: Collection[object], least: int | None) -> bool:
    """Whether the wait can end: all are there, or `least` of them, or one never comes."""
    missing = sum(record is None for record in found)
    if missing == 0 or UNKNOWN in found:
        return True
    return least is not None and len(found) - missing >= least


def _known(record: Record | Unknown | None) -> Record | None:
    return None if isinstance(record, Unknown) else record
