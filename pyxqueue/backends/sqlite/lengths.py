"""How long the groups of a queue are (B15).

SQLite has to read each task to count them. So a handle counts when the queue may be full, and else knows enough: each
task that came after a count has drawn a ticket of its own, so there are at most as many more as tickets were drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ...model.locks import LockTerms, Placed, Placement
from ...protocols import TakenIn
from . import locking
from .group import Group, Packed, length_of
from .opening import inode_of
from .queue import Groups, Queue


class _Count(NamedTuple):
    inode: tuple[int, int] | None = None
    """Of the file: another one may have taken its path."""
    ticket: int = 0
    """The last one then."""
    lengths: Mapping[int, int] = {}
    """By the key of the group."""


class Lengths:
    """What a handle knows of the lengths. Threads may share it."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._count = _Count()
        self._is_near = False
        """Whether the queue was nearly full at the last call, so that a count comes first."""

    def place(self, messages: Sequence[Packed], terms: LockTerms, max_length: int) -> TakenIn:
        """Enqueue a batch in one transaction, while there is room."""
        if self._is_near and (length := self._full(messages[0], max_length)):
            return TakenIn([], length)
        with self._queue.write(join=True, takes_in=True) as groups:
            copies, length = groups.copies(), self._most(groups)
            self._is_near = length + len(messages) > max_length
            if self._is_near:
                length = max(length_of(group, max_length) for group in copies)
            return _place(copies, messages, terms, length, max_length)

    def _full(self, first: Packed, max_length: int) -> int:
        """Count without keeping others from writing. Returns the length if the first message has no room; 0 if it has,
        or may not need it."""
        with self._queue.read() as groups:
            copies = groups.copies()
            lengths = {group.key: length_of(group, max_length) for group in copies}
            self._count = _Count(inode_of(self._queue.store.location.path), groups.tickets.last, lengths)
            length = max(lengths.values(), default=0)
            joins = first[0].lock or any(group.knows([first[0].id]) for group in copies)
        return length if length >= max_length and not joins else 0

    def _most(self, groups: Groups) -> int:
        """The length of the longest group, or more."""
        count, last = self._count, groups.tickets.last
        if count.inode != inode_of(self._queue.store.location.path) or last < count.ticket:
            return last
        return max(count.lengths.get(group.key, 0) for group in groups.copies()) + last - count.ticket


def _place(
    groups: Sequence[Group], messages: Sequence[Packed], terms: LockTerms, length: int, max_length: int
) -> TakenIn:
    room = max_length - length
    is_plain = len(groups) == 1 and not any(message.lock for message, _ in messages)
    if is_plain and len(messages) <= room and groups[0].add_unknown(messages):
        return TakenIn([Placed(Placement.NEW, message.id) for message, _ in messages])  # as nearly always
    placed = locking.place(groups, messages, terms, room)
    new = sum(one.placement is Placement.NEW for one in placed)
    return TakenIn(placed, length + new if len(placed) < len(messages) else 0)
