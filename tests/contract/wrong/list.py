"""Backends that break I4, each in one small way."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TypeAlias

from .prelude import PAGE, Entry, Group, MemoryBackend, Place, breaks, m

State: TypeAlias = m.TaskStatus | None
Page: TypeAlias = tuple[Sequence[m.TaskInfo], str]


@breaks("I4")
class PagesOverlap(MemoryBackend):
    def tasks(self, state: State = None, cursor: str = "", count: int = 100) -> Page:
        page, more = super().tasks(state, cursor, count)
        return page, str(int(more) + 1) if more and count > 1 else more


@breaks("I4")
class PagesLeaveGaps(MemoryBackend):
    def tasks(self, state: State = None, cursor: str = "", count: int = 100) -> Page:
        page, more = super().tasks(state, cursor, count + 1)
        return page[:count], more


@breaks("I4")
class OldestFirst(MemoryBackend):
    def tasks(self, state: State = None, cursor: str = "", count: int = 100) -> Page:
        page, more = super().tasks(state, cursor, count)
        return list(reversed(page)), more


@breaks("I4")
class OneLineAfterTheOther(Group):
    """New tasks are newer than what came back."""

    def move(self, entry: Entry, place: Place, now: int) -> None:
        super().move(entry, place, now)
        if place is Place.NEW:
            entry.order += 1_000


@breaks("I4")
class StateIgnored(MemoryBackend):
    def tasks(self, state: State = None, cursor: str = "", count: int = 100) -> Page:
        return super().tasks(None, cursor, count)


@breaks("I4")
class HistoryGoesWithTheRecords(MemoryBackend):
    def tasks(self, state: State = None, cursor: str = "", count: int = 100) -> Page:
        page, more = super().tasks(state, cursor, count)
        return [task for task in page if task.record is not None or not task.status.ended], more


@breaks("I4")
class AnyCursorWillDo(MemoryBackend):
    def tasks(self, state: State = None, cursor: str = "", count: int = 100) -> Page:
        return super().tasks(state, cursor if cursor.isdigit() else "", count)


@breaks("I4")
class CursorIsANumberOfAnyLength(MemoryBackend):
    def tasks(self, state: State = None, cursor: str = "", count: int = 100) -> Page:
        return super().tasks(state, cursor if len(cursor) < 1_000 or not cursor.isdigit() else "1", count)


@breaks("I4")
class BadCursorRaisesItsOwnError(MemoryBackend):
    def tasks(self, state: State = None, cursor: str = "", count: int = 100) -> Page:
        if cursor:
            int(cursor)
        return super().tasks(state, cursor, count)


@breaks("I4")
class DeepCursorEndsTheStack(MemoryBackend):
    def tasks(self, state: State = None, cursor: str = "", count: int = 100) -> Page:
        if cursor.startswith("["):
            json.loads(cursor)
        return super().tasks(state, cursor, count)


@breaks("I4")
class CursorIsEncodedUnchecked(MemoryBackend):
    def tasks(self, state: State = None, cursor: str = "", count: int = 100) -> Page:
        cursor.encode()
        return super().tasks(state, cursor, count)


@breaks("I4")
class CursorIsJSON(MemoryBackend):
    """Whatever stands in it."""

    def tasks(self, state: State = None, cursor: str = "", count: int = 100) -> Page:
        return super().tasks(state, "" if cursor.startswith("{") else cursor, count)


@breaks("I4")
class CursorCountsFromTheEnd(MemoryBackend):
    def tasks(self, state: State = None, cursor: str = "", count: int = 100) -> Page:
        return super().tasks(state, cursor.removeprefix("-"), count)


@breaks("I4")
class PagesByOffset(MemoryBackend):
    def tasks(self, state: State = None, cursor: str = "", count: int = 100) -> Page:
        super().tasks(state, cursor, 1)  # a made-up cursor is refused
        start = int(cursor or 0)
        everything, _ = super().tasks(state, "", 10**6)
        more = start + count < len(everything)
        return everything[start : start + count], str(start + count) if more else ""


@breaks("I4")
class PlaceAfterPlace(MemoryBackend):
    def tasks(self, state: State = None, cursor: str = "", count: int = 100) -> Page:
        super().tasks(state, cursor, 1)
        everything, _ = super().tasks(state, "", 10**6)
        ordered = sorted(everything, key=lambda task: not task.status.ended)
        start = int(cursor or 0)
        return ordered[start : start + count], str(start + count) if start + count < len(ordered) else ""


@breaks("I4")
class ListsAPage(MemoryBackend):
    _shown = 0

    def tasks(self, state: State = None, cursor: str = "", count: int = 100) -> Page:
        page, following = super().tasks(state, cursor, count)
        self._shown = len(page) + (self._shown if cursor else 0)
        return page, following if self._shown < PAGE else ""


@breaks("I4")
class HiddenFilesAreNotListed(MemoryBackend):
    def tasks(self, state: State = None, cursor: str = "", count: int = 100) -> Page:
        page, following = super().tasks(state, cursor, count)
        return [task for task in page if not task.id.startswith(".")], following


@breaks("I4")
class ListedByTimeAndId(MemoryBackend):
    """What was put in its place within one millisecond is in the order of the ids."""

    def tasks(self, state: State = None, cursor: str = "", count: int = 100) -> Page:
        page, following = super().tasks(state, cursor, count)
        return sorted(page, key=lambda task: (task.updated_ms, task.id), reverse=True), following


@breaks("I4")
class EveryDelayIsDue(MemoryBackend):
    def depth(self) -> m.Depth:
        depth = super().depth()
        return m.evolve(depth, due=depth.delayed)


@breaks("I4")
class NothingIsDue(MemoryBackend):
    def depth(self) -> m.Depth:
        return m.evolve(super().depth(), due=0)
