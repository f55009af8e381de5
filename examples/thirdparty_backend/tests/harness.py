"""How the kit handles this backend: a fresh folder, and a clock that only `advance` moves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pyxqueue_files import FilesBackend

from pyxqueue.locked import Entry
from pyxqueue.model.wire import message_from_fields
from pyxqueue.protocols import StoreOptions
from pyxqueue.testing import FakeClock


class FilesHarness:
    lease = 30_000

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = FakeClock()

    def open(self, group: str = "cg", *, history: int = 100, lease: int | None = None) -> FilesBackend:
        options = StoreOptions("kit", group, self.lease if lease is None else lease, history)
        return FilesBackend(self.folder, options, self.clock)

    def advance(self, ms: int) -> None:
        self.clock.advance(ms)

    def inject(self, fields: Mapping[bytes, bytes], group: str = "cg") -> str:
        with self.open(group)._look() as home:  # noqa: SLF001 - there is no other way in for what is no message
            message = message_from_fields(dict(fields), f"raw-{home.change.ticket()}")
            home.take_foreign(Entry(message.id, message), home.now)
            return message.id

    def footprint(self) -> int:
        counted = ("tasks", "new", "came_back", "in_flight", "delayed", "remembered", "consumers")
        return sum(file.parent.name in counted for file in self.folder.rglob("*") if file.is_file())
