"""`HasLocks` on Redis, as steps.

A conflict is looked at twice. The script can read the task of a holder only if its key was given, so the caller learns
the holder first, and then asks again: another program may have removed the task, and then nobody gives back its lock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...batching import batches
from ...model.locks import LockKind, LockTerms, Placed, Placement, lock_of
from ...model.message import Message
from ...model.wire import message_size
from . import commands
from .registration import Registration, stored
from .steps import Steps

_CHECKS = 3


def enqueue_unique(registration: Registration, messages: Sequence[Message], terms: LockTerms) -> Steps[list[Placed]]:
    placed: list[Placed] = []
    registration.use(messages)
    for batch in batches(messages, message_size):
        placed += yield from _enqueue(registration, batch, terms)
    return placed


def _enqueue(registration: Registration, messages: Sequence[Message], terms: LockTerms) -> Steps[list[Placed]]:
    found = yield from _call(registration, messages, terms, {})
    seen: dict[int, str] = {}
    for _ in range(_CHECKS):
        news = {
            number: placed.id
            for number, (message, placed) in enumerate(zip(messages, found, strict=True))
            if placed.placement is Placement.HELD and seen.get(number) != placed.id and _is_checked(message, terms)
        }
        if not news:
            break
        seen |= news
        asked = [messages[number] for number in news]
        again = yield from _call(registration, asked, terms, dict(enumerate(news.values())))
        for number, placed in zip(news, again, strict=True):
            if placed.placement is not Placement.KNOWN:  # its id is that of a later message of this batch
                found[number] = placed
    return found


def _is_checked(message: Message, terms: LockTerms) -> bool:
    """Whether a conflict is looked at again. A window ends by time; a debounced call comes again under the id of the
    holder."""
    lock = lock_of(message)
    return lock is not None and (lock.kind.lasts or (lock.kind is LockKind.DEBOUNCE and terms.keep_first))


def _call(
    registration: Registration, messages: Sequence[Message], terms: LockTerms, seen: Mapping[int, str]
) -> Steps[list[Placed]]:
    stream_key = registration.options.stream_key
    return stored(
        registration,
        lambda groups: commands.enqueue_unique(stream_key, registration.few(groups), messages, terms, seen),
        (one.id for one in messages),
        lambda found: (one.id for one in found),
    )


def lock_holders(registration: Registration, names: Sequence[str]) -> Steps[list[str]]:
    return registration.each(names, commands.lock_holders)
