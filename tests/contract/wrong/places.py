"""Backends that break I8, each in one small way."""

from __future__ import annotations

from msgspec.structs import replace

from pyxqueue.model.places import Listed, PlacePage
from pyxqueue.model.places import Place as Where

from .prelude import MemoryBackend, breaks, m


@breaks("I8")
class PlacesAreIgnored(MemoryBackend):
    def page(self, place: Where, cursor: str, count: int, peek: int) -> PlacePage:
        other = Where.DELAYED if place is Where.BLOCKED else place
        return super().page(other, cursor, count, peek)


@breaks("I8")
class PagesAreTooLarge(MemoryBackend):
    def page(self, place: Where, cursor: str, count: int, peek: int) -> PlacePage:
        return super().page(place, cursor, count + 1, peek)


@breaks("I8")
class PagesOfAPlaceOverlap(MemoryBackend):
    def page(self, place: Where, cursor: str, count: int, peek: int) -> PlacePage:
        found = super().page(place, cursor, count, peek)
        if not found.next or count < 2:
            return found
        return replace(found, next=super().page(place, cursor, count - 1, peek).next)


@breaks("I8")
class PagesOfAPlaceLeaveGaps(MemoryBackend):
    def page(self, place: Where, cursor: str, count: int, peek: int) -> PlacePage:
        found = super().page(place, cursor, count + 1, peek)
        return replace(found, tasks=found.tasks[:count])


@breaks("I8")
class CursorIsANumberOfTasks(MemoryBackend):
    """What goes between two pages moves all behind it."""

    def page(self, place: Where, cursor: str, count: int, peek: int) -> PlacePage:
        done = int(cursor) if cursor.isdigit() and len(cursor) < 9 else 0
        if cursor and not done:
            return super().page(place, cursor, count, peek)
        whole = super().page(place, "", 100_000, peek).tasks
        more = done + count < len(whole)
        return PlacePage(whole[done : done + count], str(done + count) if more else "")


@breaks("I8")
class OldestEndFirst(MemoryBackend):
    def page(self, place: Where, cursor: str, count: int, peek: int) -> PlacePage:
        found = super().page(place, cursor, count, peek)
        return replace(found, tasks=found.tasks[::-1]) if place in (Where.FAILED, Where.HISTORY) else found


@breaks("I8")
class NewestDelayFirst(MemoryBackend):
    def page(self, place: Where, cursor: str, count: int, peek: int) -> PlacePage:
        found = super().page(place, cursor, count, peek)
        return replace(found, tasks=found.tasks[::-1]) if place is Where.DELAYED else found


@breaks("I8")
class ClassesAreMixed(MemoryBackend):
    def page(self, place: Where, cursor: str, count: int, peek: int) -> PlacePage:
        found = super().page(place, cursor, count, peek)
        if place is not Where.READY:
            return found
        return replace(found, tasks=sorted(found.tasks, key=lambda one: one.info.id))


@breaks("I8")
class SentWhole(MemoryBackend):
    def page(self, place: Where, cursor: str, count: int, peek: int) -> PlacePage:
        return super().page(place, cursor, count, 1_000_000)


@breaks("I8")
class SizeIsThatOfTheBeginning(MemoryBackend):
    def page(self, place: Where, cursor: str, count: int, peek: int) -> PlacePage:
        found = super().page(place, cursor, count, peek)
        return replace(found, tasks=[replace(one, body_bytes=min(one.body_bytes, peek)) for one in found.tasks])


@breaks("I8")
class RecordsAreLeftOut(MemoryBackend):
    def page(self, place: Where, cursor: str, count: int, peek: int) -> PlacePage:
        found = super().page(place, cursor, count, peek)
        return replace(found, tasks=[_without_record(one) for one in found.tasks])


def _without_record(one: Listed) -> Listed:
    return replace(one, info=m.evolve(one.info, record=None))


@breaks("I8")
class AnyCursorOfAPlaceWillDo(MemoryBackend):
    def page(self, place: Where, cursor: str, count: int, peek: int) -> PlacePage:
        return super().page(
            place, cursor if cursor.replace(",", "").isdigit() and len(cursor) < 40 else "", count, peek
        )


@breaks("I8")
class BlockedTasksAreNotListed(MemoryBackend):
    def page(self, place: Where, cursor: str, count: int, peek: int) -> PlacePage:
        return PlacePage([], "") if place is Where.BLOCKED else super().page(place, cursor, count, peek)


@breaks("I8")
class DependentTasksAreNotListed(MemoryBackend):
    def page(self, place: Where, cursor: str, count: int, peek: int) -> PlacePage:
        return PlacePage([], "") if place is Where.DEPENDENT else super().page(place, cursor, count, peek)


@breaks("I8")
class FairLinesAreNotListed(MemoryBackend):
    def page(self, place: Where, cursor: str, count: int, peek: int) -> PlacePage:
        found = super().page(place, cursor, count, peek)
        kept = [one for one in found.tasks if place is not Where.READY or not one.info.line]
        return replace(found, tasks=kept)


@breaks("I8")
class OnePageIsAll(MemoryBackend):
    def page(self, place: Where, cursor: str, count: int, peek: int) -> PlacePage:
        return replace(super().page(place, cursor, count, peek), next="")
