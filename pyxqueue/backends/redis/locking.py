"""`HasLocks` and `HasMaxLength` on Redis, as steps.

A conflict is looked at twice. The script can read the task of a holder only if its key was given, so the caller learns
the holder first, and then asks again: another program may have removed the task, and then nobody gives back its lock.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ...batching import batches
from ...model.locks import LockKind, LockTerms, Placed, Placement, lock_of
from ...model.message import Message
from ...model.wire import message_size
from ...protocols import TakenIn
from . import commands
from .commands import Command
from .reading import Groups
from .registration import Registration, stored
from .steps import Steps

_CHECKS = 3


def enqueue_unique(registration: Registration, messages: Sequence[Message], terms: LockTerms) -> Steps[list[Placed]]:
    found = yield from enqueue_within(registration, messages, terms, None)
    return list(found.placed)


def enqueue_within(
    registration: Registration, messages: Sequence[Message], terms: LockTerms, max_length: int | None
) -> Steps[TakenIn]:
    """`max_length`: None for no bound."""
    placed: list[Placed] = []
    registration.use(messages)
    for batch in batches(messages, message_size):
        found = yield from _enqueue(registration, batch, terms, max_length)
        placed += found.placed
        if found.length:
            return TakenIn(placed, found.length)
    return TakenIn(placed)


def _enqueue(
    registration: Registration, messages: Sequence[Message], terms: LockTerms, max_length: int | None
) -> Steps[TakenIn]:
    first, length = yield from _first(registration, messages, terms, max_length)
    found = list(first)
    seen: dict[int, str] = {}
    for _ in range(_CHECKS):
        news = {
            number: placed.id
            for number, (message, placed) in enumerate(zip(messages, found, strict=False))  # up to one without room
            if placed.placement is Placement.HELD and seen.get(number) != placed.id and _is_checked(message, terms)
        }
        if not news:
            break
        seen |= news
        asked = [messages[number] for number in news]
        again, full = yield from _call(registration, asked, terms, dict(enumerate(news.values())), max_length)
        for number, placed in zip(news, again, strict=False):
            if placed.placement is not Placement.KNOWN:  # its id is that of a later message of this batch
                found[number] = placed
        if full:  # for one whose lock was free, since its holder was removed by hand
            return TakenIn(found[: list(news)[len(again)]], full)
    return TakenIn(found, length)


def _first(
    registration: Registration, messages: Sequence[Message], terms: LockTerms, max_length: int | None
) -> Steps[TakenIn]:
    """Usual messages within a bound have a script of their own, which is much shorter. It stops where Redis refuses
    one."""
    if max_length is None:
        return (yield from _call(registration, messages, terms, {}, None))

    def build(groups: Groups) -> Command[TakenIn]:
        if commands.are_usual(registration.few(groups), messages):
            return commands.enqueue_within(stream_key, groups, messages, max_length)
        return commands.enqueue_unique(stream_key, groups, messages, terms, {}, max_length)

    stream_key = registration.options.stream_key
    found = yield from stored(registration, build, messages, _ids_of)
    if found.length or len(found.placed) == len(messages):
        return found
    rest = yield from _call(registration, messages[len(found.placed) :], terms, {}, max_length)
    return TakenIn([*found.placed, *rest.placed], rest.length)


def _is_checked(message: Message, terms: LockTerms) -> bool:
    """Whether a conflict is looked at again. A window ends by time; a debounced call comes again under the id of the
    holder."""
    lock = lock_of(message)
    return lock is not None and (lock.kind.lasts or (lock.kind is LockKind.DEBOUNCE and terms.keep_first))


def _call(
    registration: Registration,
    messages: Sequence[Message],
    terms: LockTerms,
    seen: Mapping[int, str],
    max_length: int | None,
) -> Steps[TakenIn]:
    stream_key = registration.options.stream_key
    return stored(
        registration,
        lambda groups: commands.enqueue_unique(stream_key, registration.few(groups), messages, terms, seen, max_length),
        messages,
        _ids_of,
    )


def _ids_of(found: TakenIn) -> Iterator[str]:
    return (one.id for one in found.placed)


def lock_holders(registration: Registration, names: Sequence[str]) -> Steps[list[str]]:
    return registration.each(names, commands.lock_holders)
