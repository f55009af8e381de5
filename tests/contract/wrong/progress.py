"""Backends that break B10, each in one small way."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence

from pyxqueue.model.message import evolve

from .prelude import WAITING, Entry, Group, MemoryBackend, Place, breaks, in_flight, m, records


@breaks("B10")
class ProgressUnfenced(Group):
    def extend(self, extension: m.Extension, now: int) -> m.LeaseStatus:
        entry = in_flight(self, extension.receipt)
        if entry is not None and extension.progress is not None:
            entry.progress = extension.progress
        return super().extend(extension, now)


@breaks("B10")
class ProgressAfterTheEnd(Group):
    def extend(self, extension: m.Extension, now: int) -> m.LeaseStatus:
        entry = self.tasks.get(extension.receipt.rpartition("@")[0])
        if entry is not None and entry.record is not None:
            entry.record = evolve(entry.record, progress=extension.progress)
        return super().extend(extension, now)


@breaks("B10")
class ProgressKeptOverARetry(Group):
    def _put_back(self, entry: Entry, delay: int, now: int) -> None:
        progress = entry.progress
        super()._put_back(entry, delay, now)
        entry.progress = progress


@breaks("B10")
class FirstProgressWins(Group):
    def extend(self, extension: m.Extension, now: int) -> m.LeaseStatus:
        entry = self.holding(extension.receipt)
        if entry is not None and entry.progress is not None:
            extension = evolve(extension, progress=entry.progress)
        return super().extend(extension, now)


@breaks("B10")
@records
def progress_not_in_the_record(record: m.Record) -> m.Record:
    return evolve(record, progress=None)


@breaks("B10")
class NothingOfNothingHasNoTotal(Group):
    def extend(self, extension: m.Extension, now: int) -> m.LeaseStatus:
        progress = extension.progress
        if progress is not None:
            progress = evolve(progress, total=progress.total or None)
        return super().extend(evolve(extension, progress=progress), now)


@breaks("B10")
class ProgressInSinglePrecision(Group):
    def extend(self, extension: m.Extension, now: int) -> m.LeaseStatus:
        progress = extension.progress
        if progress is not None:
            [done] = struct.unpack("f", struct.pack("f", progress.done))
            progress = m.Progress(done, progress.total, progress.message)
        return super().extend(evolve(extension, progress=progress), now)


@breaks("B10")
class FirstProgressOfABatch(MemoryBackend):
    def extend(self, extensions: Sequence[m.Extension]) -> Sequence[m.LeaseStatus]:
        firsts = {extension.receipt: extension for extension in reversed(extensions)}
        return super().extend([firsts[extension.receipt] for extension in extensions])


@breaks("B10")
class ProgressFencedByConsumer(Group):
    def __init__(self, changed: Callable[[], None], ticket: Callable[[], int]) -> None:
        super().__init__(changed, ticket)
        self.issued: dict[str, tuple[Entry, str]] = {}

    def lend(self, entry: Entry, consumer: str, now: int) -> m.Delivery:
        delivery = super().lend(entry, consumer, now)
        self.issued[delivery.receipt] = entry, consumer
        return delivery

    def extend(self, extension: m.Extension, now: int) -> m.LeaseStatus:
        entry, consumer = self.issued.get(extension.receipt, (None, ""))
        if entry is not None and entry.place is Place.IN_FLIGHT and entry.consumer == consumer:
            entry.progress = extension.progress
        return super().extend(extension, now)


@breaks("B10")
class TheCancelledTellsNothing(Group):
    def extend(self, extension: m.Extension, now: int) -> m.LeaseStatus:
        entry = self.holding(extension.receipt)
        return super().extend(evolve(extension, progress=None) if entry and entry.cancelled else extension, now)


@breaks("B10")
class OldProgressShowsWhileItWaits(Group):
    def _put_back(self, entry: Entry, delay: int, now: int) -> None:
        kept = entry.progress
        super()._put_back(entry, delay, now)
        if entry.place in WAITING:
            entry.progress = kept

    def lend(self, entry: Entry, consumer: str, now: int) -> m.Delivery:
        entry.progress = None
        return super().lend(entry, consumer, now)


@breaks("B10")
class WhatEndsInsteadHasNoProgress(Group):
    def _put_back(self, entry: Entry, delay: int, now: int) -> None:
        entry.progress = None
        super()._put_back(entry, delay, now)


@breaks("B10")
class ProgressAsJson(Group):
    def extend(self, extension: m.Extension, now: int) -> m.LeaseStatus:
        progress = extension.progress
        if progress is not None and not math.isfinite(progress.done):
            extension = evolve(extension, progress=None)
        return super().extend(extension, now)
