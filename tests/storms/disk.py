"""A disk under SQLite that remembers each write, and what a loss of power leaves of the files on it."""

from __future__ import annotations

import random
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import apsw
from attrs import frozen


@frozen
class Write:
    """One thing that SQLite has asked of a file."""

    file: str
    at: int = 0
    data: bytes = b""
    truncated: int | None = None
    """Cut to this length."""
    synced: bool = False


class _File(apsw.VFSFile):
    def __init__(self, disk: Disk, name: Any, flags: Any) -> None:
        self._disk = disk
        self._name = name.filename() if isinstance(name, apsw.URIFilename) else str(name)
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - as SQLite calls it
        super().xWrite(data, offset)
        self._disk.writes.append(Write(self._name, offset, bytes(data)))

    def xTruncate(self, newsize: int) -> None:  # noqa: N802 - the same
        super().xTruncate(newsize)
        self._disk.writes.append(Write(self._name, truncated=newsize))

    def xSync(self, flags: int) -> None:  # noqa: N802 - the same
        super().xSync(flags)
        self._disk.writes.append(Write(self._name, synced=True))


class Disk(apsw.VFS):
    """Passes everything on to the real file system, and notes it."""

    def __init__(self) -> None:
        self.name = f"disk-{uuid.uuid4().hex}"
        self.writes: list[Write] = []
        super().__init__(self.name, "")

    def xOpen(self, name: Any, flags: Any) -> Any:  # noqa: N802 - the same
        return _File(self, name, flags)

    def close(self) -> None:
        self.unregister()

    def restore(self, count: int, chance: random.Random, places: Mapping[str, Path]) -> None:
        """Make the files as they are if the power is lost after so many writes: of those that no sync has followed, any
        may be missing. `places`: where to put which file."""
        for name, place in places.items():
            done = [write for write in self.writes[:count] if write.file == name]
            synced = max((number for number, write in enumerate(done) if write.synced), default=-1)
            data = bytearray()
            for number, write in enumerate(done):
                if number > synced and chance.random() < 0.5:
                    continue
                if write.truncated is not None:
                    del data[write.truncated :]
                    data.extend(bytes(write.truncated - len(data)))
                elif write.data:
                    data.extend(bytes(max(0, write.at - len(data))))
                    data[write.at : write.at + len(write.data)] = write.data
            place.write_bytes(data)
